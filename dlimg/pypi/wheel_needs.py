"""The system libraries that wheels need: those at an index by range requests, others in folders.

A cache by the wheel's sha256 keeps what was read.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, ZipFile

from dlimg.atomic_write import atomic_write
from dlimg.model import Wheel
from dlimg.pypi.cache import open_wheel
from dlimg.pypi.index import PackageIndex
from dlimg.pypi.simple_api import list_files
from dlimg.wheel.elf import WheelNeeds, is_library, needed_libraries

# A library is decompressed from its beginning; larger ones are the frameworks' own.
LARGEST: Final = 64 << 20
_AT_ONCE: Final = 4
_PURE: Final = "-none-any.whl"


def has_libraries(wheel: Wheel) -> bool:
    """Return whether a wheel may have shared libraries, by its file's name."""
    return not wheel.file.endswith(_PURE)


def cached_needs(folder: Path, wheels: Sequence[Wheel]) -> Mapping[str, WheelNeeds]:
    """Return what is known of these wheels without a network, by their sha256."""
    cached = {wheel.sha256: _read_cached(_path(folder, wheel)) for wheel in wheels}
    return {sha256: needs for sha256, needs in cached.items() if needs is not None}


def read_needs(
    index: PackageIndex, addresses: Sequence[str], wheels: Sequence[Wheel]
) -> Mapping[str, WheelNeeds]:
    """Return what these wheels need, by sha256; a wheel that no index has is left out.

    Raises NetworkFailure if an index does not answer.
    """
    needs = dict(cached_needs(index.cache, wheels))
    missing = {wheel.sha256: wheel for wheel in wheels if wheel.sha256 not in needs}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = pool.map(lambda wheel: _read(index, addresses, wheel), missing.values())
        for wheel, needs_of_wheel in zip(missing.values(), read, strict=True):
            if needs_of_wheel is not None:
                needs[wheel.sha256] = needs_of_wheel
    return needs


def _read(index: PackageIndex, addresses: Sequence[str], wheel: Wheel) -> WheelNeeds | None:
    offers = {file.file: file for file in list_files(index, addresses, wheel.name)}
    offer = offers.get(wheel.file)
    if offer is None or (offer.sha256 and offer.sha256 != wheel.sha256):
        return None
    with open_wheel(index, offer) as remote:
        needs = _needs(remote.archive)
    _write_cached(index.cache, wheel, needs)
    return needs


def read_local_needs(folder: Path, paths: Mapping[Wheel, Path]) -> Mapping[str, WheelNeeds]:
    """Return what wheels in folders need, by sha256; a file that is no wheel is left out.

    `folder` is the cache.
    """
    needs = dict(cached_needs(folder, list(paths)))
    for wheel, path in paths.items():
        if wheel.sha256 not in needs:
            with contextlib.suppress(OSError, BadZipFile), ZipFile(path) as archive:
                needs[wheel.sha256] = _needs(archive)
                _write_cached(folder, wheel, needs[wheel.sha256])
    return needs


def _write_cached(folder: Path, wheel: Wheel, needs: WheelNeeds) -> None:
    # A cache that cannot be written only costs time at the next run.
    with contextlib.suppress(OSError):
        content = {"needed": dict(needs.needed), "unread": needs.unread}
        atomic_write(_path(folder, wheel), json.dumps(content))


def _needs(archive: ZipFile) -> WheelNeeds:
    needed, unread = {}, []
    for member in archive.infolist():
        if is_library(member.filename):
            if member.compress_size > LARGEST:
                unread.append(member.filename)
            else:
                needed[member.filename] = needed_libraries(archive.read(member))
    return WheelNeeds(needed=needed, unread=tuple(unread))


def _path(folder: Path, wheel: Wheel) -> Path:
    return folder / f"{wheel.sha256}-needs.json"


def _read_cached(path: Path) -> WheelNeeds | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        needed = {str(name): tuple(map(str, names)) for name, names in content["needed"].items()}
        return WheelNeeds(needed=needed, unread=tuple(map(str, content["unread"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
