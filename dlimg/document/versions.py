"""Versions that are digits and dots: drivers, CUDA, cuDNN, glibc, compute capabilities."""

from collections.abc import Iterable
from functools import lru_cache

ENDLESS = 10**9


@lru_cache(maxsize=4096)
def numbers(version: str) -> tuple[int, ...]:
    """`550.54.15` to compare; what is no number ends it (`2.0.0b1`: 2.0.0)."""
    found = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            found.append(int(digits))
        if digits != part:
            break
    return tuple(found)


def driver_numbers(driver: str) -> tuple[int, ...]:
    """A bare branch (`550`) stands for the newest driver of it."""
    found = numbers(driver)
    return (*found, ENDLESS) if len(found) == 1 else found


def major(version: str) -> str:
    """Return `12` of `12.5.1`."""
    return version.split(".", maxsplit=1)[0]


def minor(version: str) -> str:
    """`12.5` of `12.5.1`."""
    return ".".join(version.split(".")[:2])


def begins(version: str, beginning: str) -> bool:
    """Whether `9.1.0.70` is a `9`, a `9.1`; not part by part of a number (`9.10` is no `9.1`)."""
    wanted = beginning.split(".")
    return version.split(".")[: len(wanted)] == wanted


def newest(versions: Iterable[str]) -> str:
    """The highest of them, or an empty text."""
    return max(versions, key=numbers, default="")


def listed(words: Iterable[str]) -> str:
    """`a, b and c`."""
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
