"""How images are tested on this machine, for whoever publishes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlimg.model import BuiltImage, Check, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRunner:
    """The checks of today and what runs them.

    `checks` are those of an image in the engine, each with the sha256 that its verdict has to
    have; `test` runs them there and keeps the evidence. `known` is the evidence that this machine
    has of an image that is not in the engine, by its config at the registry; nothing where it has
    none of all the checks of today.
    """

    checks: Callable[[BuiltImage], Sequence[Check]]
    test: Callable[[BuiltImage], Evidence]
    known: Callable[[BuiltImage, Mapping[str, Any]], Evidence | None]
