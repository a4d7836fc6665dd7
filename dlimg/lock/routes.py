"""Packages that are routed to an index, in the form of uv: explicit indexes and sources."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from dlimg.errors import NetworkFailure
from dlimg.lock.pylock import ResolvedWheel
from dlimg.lock.request import LockRequest, package_name
from dlimg.model import NamedIndex

PROJECT_FILE: Final = "pyproject.toml"
# No index of a matrix has this name, which has a capital letter.
FOLDERS: Final = "Folders"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAccess:
    """The address of an index here, maybe of a mirror, and why it does not answer.

    `shown` is the address without credentials; `obstacle` is empty for an index that answers.
    """

    address: str = field(repr=False)
    shown: str
    obstacle: str = ""


ReachIndex = Callable[[NamedIndex], IndexAccess]


def direct_access(index: NamedIndex) -> IndexAccess:
    """Return the index's own address, without asking whether it answers."""
    return IndexAccess(address=index.url, shown=index.url)


def routed_packages(request: LockRequest, further: Collection[str] = ()) -> frozenset[str]:
    """Return the routed packages among the requirements and these further ones."""
    names = {*map(package_name, request.requirements), *further}
    return frozenset(name for name in names if request.index_of(name))


def project_file(
    request: LockRequest,
    routed: Collection[str],
    tables: Mapping[str, str],
    from_folders: Collection[str] = (),
) -> str:
    """Return a pyproject.toml with the requirements and the index of each routed package.

    uv takes a routed package from its index alone, and only packages that are requirements have
    an index: so all of them are. `tables` are the lines of each index by name; packages that
    their index has no wheel of come from the one called FOLDERS.
    """
    named = set(map(package_name, request.requirements))
    requirements = [*request.requirements, *sorted(set(routed) - named)]
    sources = [
        f"{json.dumps(name)} = {{ index = {json.dumps(index)} }}"
        for name in sorted(routed)
        for index in (FOLDERS if name in from_folders else request.index_of(name),)
    ]
    lines = [
        "[project]",
        'name = "cell"',
        'version = "0"',
        f"dependencies = {json.dumps(requirements)}",
        "[tool.uv.sources]",
        *sources,
        *(f"[[tool.uv.index]]\nname = {json.dumps(name)}\n{tables[name]}" for name in tables),
    ]
    return "\n".join((*lines, ""))


def index_tables(
    request: LockRequest,
    routed: Collection[str],
    reach: ReachIndex,
    *,
    folders: Sequence[Path],
    scratch: Path,
) -> dict[str, str]:
    """Return the lines of each index of these packages in a pyproject.toml, by name.

    An index that does not answer is replaced by the folders' wheels of its packages. Raises
    NetworkFailure if they have none.
    """
    tables = {}
    for index in request.indexes:
        packages = index.packages.intersection(routed)
        if not packages:
            continue
        access = reach(index)
        if not access.obstacle:
            tables[index.name] = f"url = {json.dumps(access.address)}\nexplicit = true"
            continue
        flat = scratch / index.name
        if not _link_wheels(packages, folders, flat):
            raise unreachable(index.name, access, packages, where=request.where)
        tables[index.name] = flat_index(flat)
    return tables


def flat_index(folder: Path) -> str:
    """Return the lines of an index that is a folder of wheels."""
    return f'url = {json.dumps(str(folder))}\nformat = "flat"\nexplicit = true'


def with_index(wheel: ResolvedWheel, index: str, folders: Sequence[Path]) -> ResolvedWheel:
    """Return a wheel with its index, or none, at the path that a folder has it at, if one does."""
    address = wheel.address
    if wheel.local:
        paths = (folder / wheel.file for folder in folders)
        address = next((path.as_uri() for path in paths if path.is_file()), address)
    return replace(wheel, index=index, address=address)


def unreachable(
    name: str, access: IndexAccess, wanted: Iterable[str], *, where: str
) -> NetworkFailure:
    """Return the error for an index that does not answer and whose files no folder has."""
    return NetworkFailure(
        f"the index {name} ({access.shown}) cannot be used: {access.obstacle}, and no extra folder "
        f"has {', '.join(sorted(wanted))}",
        where=where,
        hint=remedy(name),
    )


def remedy(name: str) -> str:
    """Return the ways out when an index does not answer."""
    part = variable_part(name)
    return (
        f"name a mirror with UV_INDEX={name}=URL, a login with UV_INDEX_{part}_USERNAME and "
        f"UV_INDEX_{part}_PASSWORD, or a folder that has the wheel with --find-links"
    )


def variable_part(name: str) -> str:
    """Return an index's name as it stands in uv's variables: `pytorch-cpu` is PYTORCH_CPU."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _link_wheels(packages: Collection[str], folders: Sequence[Path], flat: Path) -> bool:
    """Link the folders' wheels of these packages into a folder; return whether each has one."""
    linked = set()
    flat.mkdir()
    for folder in folders:
        for wheel in sorted(folder.glob("*.whl")):
            name = wheel_name(wheel.name)
            if name in packages and not (flat / wheel.name).exists():
                (flat / wheel.name).symlink_to(wheel)
                linked.add(name)
    return linked == set(packages)


def wheel_name(file: str) -> str:
    """Return the package of a wheel's file name, or an empty text for another file."""
    try:
        return parse_wheel_filename(file)[0]
    except InvalidWheelFilename:
        return ""
