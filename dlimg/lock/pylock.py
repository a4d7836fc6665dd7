"""Parsing of pylock.toml, uv's answer: the wheel to install of each package."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from dlimg.errors import BadInput, Negative

OLDEST_GLIBC: Final = {"x86_64": 5, "aarch64": 17}
# Names that wheels carried before the glibc version was spelled out (PEP 600).
LEGACY: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_PLATFORM: Final = re.compile(r"(x86_64|aarch64)-manylinux_2_(\d+)")
_PYTHON: Final = re.compile(r"3\.(\d+)")
_ESCAPE: Final = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedWheel:
    """A wheel that uv chose, with its URL, which is not part of a lock.

    `index` names the index of the matrix that the package is routed to, or is empty.
    """

    name: str
    version: str
    file: str
    sha256: str
    address: str
    index: str = ""

    @property
    def local(self) -> bool:
        """Return whether the wheel's file is in a local folder."""
        return self.address.startswith("file:")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelContents:
    """The size of a wheel's file in bytes and the text of its RECORD."""

    size: int
    record: str


ReadWheel = Callable[[ResolvedWheel], WheelContents]


def parse_pylock(text: str, *, python: str, platform: str) -> tuple[ResolvedWheel, ...]:
    """Return the wheels to install, by name.

    Raises Negative for an invalid pylock.toml, or a package without a compatible wheel.
    """
    try:
        answer = tomllib.loads(text)
        packages = answer["packages"]
        wheels = [_best_wheel(package, python, platform) for package in packages]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise Negative(f"uv's answer cannot be read: {error!r}") from error
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))


@lru_cache(maxsize=64)
def compatible_tag_ranks(python: str, platform: str) -> Mapping[Tag, int]:
    """Return every compatible tag with its rank; 0 is the most specific (PEP 425).

    Raises BadInput for an unknown Python or platform.
    """
    minor = _PYTHON.fullmatch(python)
    if minor is None:
        raise BadInput(f"python `{python}` is not a version like 3.13")
    version = (3, int(minor[1]))
    platforms = _platforms(platform)
    ordered = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, f"cp3{version[1]}", platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def file_name_of(address: str) -> str:
    """Return the file name at the end of a URL, without percent escapes."""
    name = address.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return _ESCAPE.sub(lambda run: bytes.fromhex(run[1].replace("%", "")).decode(), name)


def _best_wheel(package: Mapping[str, object], python: str, platform: str) -> ResolvedWheel:
    name, version = str(package["name"]), str(package["version"])
    wheels = package.get("wheels")
    choices = list(
        _ranked(wheels if isinstance(wheels, list) else [], compatible_tag_ranks(python, platform))
    )
    if not choices:
        raise Negative(
            f"{name} {version} has no wheel for Python {python} on {platform}",
            hint="choose another version, or exclude the cell with a `why`",
        )
    _, file, address, sha256 = min(choices)
    return ResolvedWheel(
        name=canonicalize_name(name), version=version, file=file, sha256=sha256, address=address
    )


def _ranked(
    wheels: Sequence[Mapping[str, object]], ranks: Mapping[Tag, int]
) -> Iterator[tuple[tuple[int, tuple[int, str]], str, str, str]]:
    """Yield compatible wheels with sort keys; an installer takes the wheel with the lowest."""
    for wheel in wheels:
        address = str(wheel.get("url") or wheel["path"])
        file = str(wheel.get("name") or file_name_of(address))
        hashes = wheel["hashes"]
        try:
            _, _, build, wheel_tags = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in wheel_tags if tag in ranks), default=None)
        if rank is not None and isinstance(hashes, dict):
            # A higher build number goes first (PEP 427).
            order = (-(build[0] if build else -1), build[1] if build else "")
            yield (rank, order), file, address, str(hashes["sha256"])


def _platforms(platform: str) -> list[str]:
    """Return the platform tags of compatible wheels, the newest glibc first (PEP 600)."""
    parts = _PLATFORM.fullmatch(platform)
    if parts is None:
        raise BadInput(
            f"platform `{platform}` is not known",
            hint="write one like x86_64-manylinux_2_28",
        )
    arch, newest = parts[1], int(parts[2])
    names: list[str] = []
    for glibc in range(newest, OLDEST_GLIBC[arch] - 1, -1):
        names.append(f"manylinux_2_{glibc}_{arch}")
        if glibc in LEGACY:
            names.append(f"{LEGACY[glibc]}_{arch}")
    return [*names, f"linux_{arch}"]
