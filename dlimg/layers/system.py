"""The system stage as layers: BuildKit builds it once, and the store keeps what came out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dlimg.draw.config import Config
from dlimg.engine.client import Engine
from dlimg.layers.index import Layer
from dlimg.layers.store import Store
from dlimg.model import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The layers of a system, lowest first, and the config that images on it inherit."""

    layers: tuple[Layer, ...]
    config: Config


def system(
    planned: Planned,
    engine: Engine,
    store: Store,
    *,
    secrets: Mapping[str, str],
    arguments: Mapping[str, str],
    say: Callable[[str], None],
) -> System:
    """The system of this image, from the store, or built now.

    `secrets` are files by secret id, `arguments` build arguments, as for a bake file.
    """
    raise NotImplementedError
