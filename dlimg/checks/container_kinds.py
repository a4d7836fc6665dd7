"""Which checks share a container, and what each kind of container is like. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dlimg.checks.header import ANY_USER, AS_ROOT, EMPTY_HOME, NETWORK, READ_ONLY
from dlimg.checks.verdicts import SIGHT
from dlimg.model import Check

# One that no image has an entry for. Group 0, as platforms that choose the user's id give it.
SOME_USER: Final = "12345:0"
# Compilers put shared objects there and load them, so programs may run; it counts as memory.
SCRATCH: Final[Mapping[str, str]] = {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=1g"}  # noqa: S108
# A new volume over the home of the image's user, as clusters mount one.
HOME: Final[Mapping[str, str]] = {"/home/user": "rw,exec,nosuid,nodev,uid=1000,gid=100,size=1g"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerKind:
    """What checks have in common that share a container; `container` is empty for the ordinary."""

    container: str = ""
    has_network: bool = False


def kind_of(check: Check) -> ContainerKind:
    """The kind of container that this check asks for."""
    return ContainerKind(container=check.container, has_network=NETWORK in check.needs)


def groups(checks: Sequence[Check]) -> tuple[tuple[ContainerKind, tuple[Check, ...]], ...]:
    """The checks by the container they run in, the ordinary one first.

    The look at the GPU comes before all: what is kept of the others depends on it.
    """
    found: dict[ContainerKind, list[Check]] = {}
    for check in sorted(
        checks, key=lambda one: (one.name != SIGHT, kind_of(one) != ContainerKind())
    ):
        found.setdefault(kind_of(check), []).append(check)
    return tuple((kind, tuple(members)) for kind, members in found.items())


def options(kind: ContainerKind) -> Mapping[str, Any]:
    """How the engine is to make a container of this kind, beyond what all of them are like."""
    special: dict[str, Any] = {}
    if not kind.has_network:
        special["network_mode"] = "none"
    match kind.container:
        case container if container == READ_ONLY:
            special |= {"read_only": True, "tmpfs": dict(SCRATCH)}
        case container if container == ANY_USER:
            special["user"] = SOME_USER
        case container if container == AS_ROOT:
            special["user"] = "0:0"
        case container if container == EMPTY_HOME:
            special["tmpfs"] = dict(HOME)
        case _:
            pass
    return special
