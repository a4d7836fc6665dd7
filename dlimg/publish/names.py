"""The names of an image at a registry. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dlimg.errors import BadInput
from dlimg.model import PlannedImage
from dlimg.publish.policy import NOT_TESTED_ON_GPU, Standing
from dlimg.registry.reference import parse_reference

# An image that was never on a GPU must not take the immutable name of the one that was.
UNTESTED_SUFFIX: Final = "-not-gpu-tested"

_PREFIX: Final = re.compile(
    r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNames:
    """A repository with the one immutable tag and, in order, those that move."""

    repository: str
    tag: str
    moving: tuple[str, ...]

    def reference(self, tag: str) -> str:
        return f"{self.repository}:{tag}"


def check_destination(to: str) -> None:
    """Raises `BadInput` for a prefix that no registry could have."""
    if not _PREFIX.fullmatch(to):
        raise BadInput(
            f"{to!r} is no place at a registry",
            where="--to",
            hint="write host[:port][/path] in lower case, without https://",
        )


def names_at(to: str, planned: PlannedImage, standing: Standing) -> PublishedNames:
    """The names under a prefix such as `127.0.0.1:5000/team`; the full tag moves first.

    Raises `BadInput` for a prefix that no registry could have.
    """
    check_destination(to)
    image = planned.image
    suffix = UNTESTED_SUFFIX if standing == NOT_TESTED_ON_GPU else ""
    return PublishedNames(
        repository=f"{to}/{image.cell.family}",
        tag=f"{image.tag}-{planned.key[:12]}{suffix}",
        moving=(image.tag, *image.aliases),
    )


def siblings(to: str, families: Iterable[str]) -> tuple[str, ...]:
    """The repositories of all families under a prefix, as their registry knows them."""
    return tuple(parse_reference(f"{to}/{family}").name for family in sorted(set(families)))
