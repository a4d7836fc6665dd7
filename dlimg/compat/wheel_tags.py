"""Wheel tags and version specifiers, for a Python and glibc other than this process's own."""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from dlimg.document.versions import begins_with, numbers

# The glibc behind platform names from before PEP 600.
_OLD_NAMES: Final = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}


def glibc_floor_of(platform: str) -> str:
    """Return `2.28` of `manylinux_2_28` or `x86_64-manylinux_2_28`; empty if none is named.

    The name `manylinux1` is none: some of its wheels need a far newer glibc.
    """
    _, _, floor = platform.partition("manylinux_")
    return ".".join(floor.split("_")[:2]) if floor else ""


@cache
def _platforms(arch: str, glibc: str) -> tuple[str, ...]:
    """Return the platform tags that a Linux with this glibc takes, newest first."""
    version = numbers(glibc)
    newest = version[1] if len(version) > 1 else 0
    names = [f"manylinux_2_{number}_{arch}" for number in range(newest, 4, -1)]
    old = [f"{name}_{arch}" for name, floor in _OLD_NAMES.items() if numbers(floor) <= version]
    return (*names, *old, f"linux_{arch}")


@cache
def _accepted(python: str, arch: str, glibc: str) -> frozenset[Tag]:
    version = numbers(python)
    platforms = _platforms(arch, glibc)
    interpreter = f"cp{version[0]}{version[1]}"
    return frozenset(
        (
            *cpython_tags(version, platforms=platforms),
            *compatible_tags(version, interpreter, platforms),
        )
    )


def misfits(files: Sequence[str], python: str, arch: str, glibc: str) -> tuple[str, ...]:
    """Return the wheels that this Python on this architecture would not install."""
    accepted = _accepted(python, arch, glibc)
    return tuple(file for file in files if accepted.isdisjoint(_tags(file)))


@lru_cache(maxsize=16384)
def _tags(file: str) -> frozenset[Tag]:
    """Return the tags of a wheel; many locks hold the same wheel."""
    return parse_wheel_filename(file)[3]


@cache
def admits(pin: str, beginning: str) -> bool:
    """Return whether a pin takes some version that begins like this.

    A bare version is exact. Of a specifier, the ends of this beginning and the specifier's own
    versions are tried: the ranges of real pins have no gaps.
    """
    if pin[0] not in "<>=~!":
        return begins_with(pin, beginning)
    return any(version in _specifiers(pin) for version in _candidates(pin, beginning))


def contains(specifier: str, version: str) -> bool:
    """Return whether a specifier takes this version, which may be a pre-release."""
    return _specifiers(specifier).contains(version, prereleases=True)


@cache
def _specifiers(pin: str) -> SpecifierSet:
    return SpecifierSet(pin)


def _candidates(pin: str, beginning: str) -> Iterator[str]:
    yield beginning
    yield f"{beginning}.9999"
    for part in pin.split(","):
        version = part.strip().lstrip("<>=~!")
        if begins_with(version, beginning):
            yield version
            yield f"{version}.1"
