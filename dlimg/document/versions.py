"""Versions that are digits and dots: drivers, CUDA, cuDNN, glibc, compute capabilities."""

from collections.abc import Iterable
from functools import lru_cache

ENDLESS = 10**9


@lru_cache(maxsize=4096)
def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of `550.54.15`, to compare; `2.0.0b1` gives 2, 0, 0."""
    parts = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            parts.append(int(digits))
        if digits != part:
            break
    return tuple(parts)


def driver_numbers(driver: str) -> tuple[int, ...]:
    """Return a driver as numbers; a bare branch (`550`) is its newest driver."""
    version = numbers(driver)
    return (*version, ENDLESS) if len(version) == 1 else version


def major(version: str) -> str:
    """Return `12` of `12.5.1`."""
    return version.split(".", maxsplit=1)[0]


def minor(version: str) -> str:
    """Return `12.5` of `12.5.1`."""
    return ".".join(version.split(".")[:2])


def begins_with(version: str, beginning: str) -> bool:
    """Return whether the first parts are these: `9.1.0` begins with `9.1`, `9.10` does not."""
    wanted = beginning.split(".")
    return version.split(".")[: len(wanted)] == wanted


def newest(versions: Iterable[str]) -> str:
    """Return the highest of them, or an empty text."""
    return max(versions, key=numbers, default="")


def join_with_and(texts: Iterable[str]) -> str:
    """Return `a, b and c`."""
    items = list(texts)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)
