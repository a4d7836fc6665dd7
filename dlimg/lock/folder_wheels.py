"""Wheels in extra folders for packages that the index has no usable wheel of."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from dlimg.lock.built_wheels import fits_system
from dlimg.lock.pylock import compatible_tag_ranks
from dlimg.lock.request import LockRequest, package_name
from dlimg.lock.routes import wheel_name

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]")
_NO_WHEEL: Final = re.compile(
    r"(?P<name>[a-z0-9-]+)\S* (?:has|have) no (?:usable )?wheels"
    r"|versions of (?P<all>[a-z0-9-]+)\S* have no usable wheels"
)
_UNKNOWN: Final = re.compile(r"(?P<name>[a-z0-9-]+)\S* was not found in the package registry")


def folder_packages(request: LockRequest, folders: Sequence[Path]) -> frozenset[str]:
    """Return the packages that the folders have a public version of, for this Python and platform.

    A local version such as `2.13.0+cpu` is taken only where a requirement pins it: it would
    replace the index's 2.13.0 unseen.
    """
    ranks = compatible_tag_ranks(request.python, request.platform)
    names = set()
    for path in _wheels(folders, request.system):
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if not version.local and any(tag in ranks for tag in tags):
            names.add(str(name))
    return frozenset(names)


def requirement_of(request: LockRequest, name: str) -> str:
    """Return the request's requirement of a package, or the name alone."""
    return next((text for text in request.requirements if package_name(text) == name), name)


def link_packages(
    names: Collection[str], folders: Sequence[Path], target: Path, *, system: str
) -> None:
    """Link the folders' wheels of these packages, without local versions, into a new folder."""
    target.mkdir()
    for path in _wheels(folders, system):
        link = target / path.name
        if wheel_name(path.name) in names and "+" not in path.name and not link.exists():
            link.symlink_to(path)


def named_in(report: str, names: Collection[str]) -> frozenset[str]:
    """Return those of these packages that a report of uv names."""
    return frozenset(names) & frozenset(_WORD.findall(report))


def hint_without_wheel(report: str, cell: str) -> str:
    """Return the ways out if uv found no wheel of a package, or an empty text."""
    unknown = _UNKNOWN.search(report)
    if unknown:
        return (
            f"correct the name of {unknown['name']}, name an index that has it under `indexes`, "
            "or a folder that has its wheel with --find-links"
        )
    match = _NO_WHEEL.search(report)
    if not match:
        return ""
    name = match["all"] or match["name"]
    return (
        f"the index has no wheel of {name} for this cell: put one into a folder and name it with "
        f"--find-links, write `build: [{name}]` in its family (or build it once: "
        f"`dlimg wheel {name} --for {cell}`), or name an index that has one under `indexes`"
    )


def _wheels(folders: Sequence[Path], system: str) -> Iterator[Path]:
    for folder in folders:
        if fits_system(folder, system):
            yield from sorted(folder.glob("*.whl"))
