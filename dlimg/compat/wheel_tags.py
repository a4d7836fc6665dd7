"""Wheel tags and version specifiers, by `packaging`, for a Python and glibc that are not here."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import eq, ge, gt, le, lt, ne
from typing import Final, TypeAlias

from dlimg.document.versions import begins, numbers

Numbers: TypeAlias = tuple[int, ...]
_PART: Final = re.compile(r"\s*(<=|>=|==|!=|~=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?\s*")
_COMPARED: Final[Mapping[str, Callable[[Numbers, Numbers], bool]]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "==": eq,
    "!=": ne,
}


def admits_plain(pin: str, version: str) -> bool | None:
    """Whether a specifier takes a version; None where either is more than digits and dots."""
    parts = [_PART.fullmatch(part) for part in pin.split(",")]
    if not all(number.isdecimal() for number in version.split(".")):
        return None
    asked = tuple(map(int, version.split(".")))
    answers = [_admits(part, asked) if part else None for part in parts]
    return None if None in answers else all(answers)


def _admits(part: re.Match[str], asked: Numbers) -> bool | None:
    sign, text, star = part.groups()
    wanted = tuple(map(int, text.split(".")))
    if sign == "~=":
        if star or len(wanted) == 1:
            return None
        return _compared(ge, asked, wanted) and _compared(eq, asked[: len(wanted) - 1], wanted[:-1])
    if star:
        if sign not in {"==", "!="}:
            return None
        padded = asked + (0,) * (len(wanted) - len(asked))
        return _COMPARED[sign](padded[: len(wanted)], wanted)
    return _compared(_COMPARED[sign], asked, wanted)


def _compared(by: Callable[[Numbers, Numbers], bool], left: Numbers, right: Numbers) -> bool:
    """With as many parts on both sides: 13 is 13.0."""
    most = max(len(left), len(right))
    return by(left + (0,) * (most - len(left)), right + (0,) * (most - len(right)))


# What the names of the time before PEP 600 stand for.
_OLD: Final = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}


def glibc_floor_of(platform: str) -> str:
    """`2.28` of `manylinux_2_28` or `x86_64-manylinux_2_28`; empty where none is named.

    The name `manylinux1` is none: wheels have carried it that need far more than it says.
    """
    _, _, floor = platform.partition("manylinux_")
    return ".".join(floor.split("_")[:2]) if floor else ""


@cache
def _platforms(machine: str, glibc: str) -> tuple[str, ...]:
    """The platform tags that a Linux with this glibc takes, newest first."""
    known = numbers(glibc)
    newest = known[1] if len(known) > 1 else 0
    found = [f"manylinux_2_{number}_{machine}" for number in range(newest, 4, -1)]
    old = [f"{name}_{machine}" for name, floor in _OLD.items() if numbers(floor) <= known]
    return (*found, *old, f"linux_{machine}")


@cache
def _accepted(python: str, machine: str, glibc: str) -> frozenset[object]:
    from packaging.tags import compatible_tags, cpython_tags  # noqa: PLC0415 - costs 15 ms

    version = numbers(python)
    platforms = _platforms(machine, glibc)
    interpreter = f"cp{version[0]}{version[1]}"
    return frozenset(
        (
            *cpython_tags(version, platforms=platforms),
            *compatible_tags(version, interpreter, platforms),
        )
    )


def misfits(files: Sequence[str], python: str, machine: str, glibc: str) -> tuple[str, ...]:
    """The wheels among these that this Python on this machine would not install."""
    accepted = _accepted(python, machine, glibc)
    return tuple(file for file in files if accepted.isdisjoint(_tags(file)))


@lru_cache(maxsize=16384)
def _tags(file: str) -> frozenset[object]:
    """The tags of a wheel, which many locks hold."""
    from packaging.utils import parse_wheel_filename  # noqa: PLC0415 - costs 15 ms

    return parse_wheel_filename(file)[3]


@cache
def admits(pin: str, beginning: str) -> bool:
    """Whether a pin takes some version that begins like this.

    A bare version is exact; of a specifier, the ends of what begins so are tried, and its own
    versions: the ranges of real pins are whole.
    """
    if pin[0] not in "<>=~!":
        return begins(pin, beginning)
    return any(_takes(pin, version) for version in _tried(pin, beginning))


def _takes(pin: str, version: str) -> bool:
    plainly = admits_plain(pin, version)
    if plainly is not None:
        return plainly
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - costs 25 ms; no fact needs it

    return version in SpecifierSet(pin)


def _tried(pin: str, beginning: str) -> Iterator[str]:
    yield beginning
    yield f"{beginning}.9999"
    for part in pin.split(","):
        version = part.strip().lstrip("<>=~!")
        if begins(version, beginning):
            yield version
            yield f"{version}.1"
