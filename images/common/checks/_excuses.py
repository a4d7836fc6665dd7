"""What the matrix excepts from checks, and libraries that nothing loads as a package starts."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import _records
import _tag
import _verdict

LIBRARIES = "libraries_load"
NVIDIA = "nvidia-"


class Fault(NamedTuple):
    """A library's fault; `missing` are the libraries that it needs and that are not found."""

    text: str
    missing: frozenset[str] = frozenset()


class Sorted(NamedTuple):
    """The faults that count, and the excused ones, each with the reason."""

    faults: list[str]
    excepted: dict[str, str]
    unused: dict[str, str]


class Excepted(NamedTuple):
    """What the matrix excepts: a pattern of paths, and why.

    Paths of libraries begin in site-packages, those of other files at the root.
    """

    about: str
    why: str


def exceptions(check: str) -> list[Excepted]:
    """Return the exceptions for this check in DLIMG_EXCEPTIONS."""
    try:
        rows = json.loads(os.environ.get("DLIMG_EXCEPTIONS") or "[]")
        return [Excepted(row["about"], row["why"]) for row in rows if row["check"] == check]
    except (ValueError, KeyError, TypeError) as error:
        return _verdict.fail(f"DLIMG_EXCEPTIONS is no list of exceptions: {error!r}")


def sort(
    faults: Mapping[Path, Fault],
    libraries: Iterable[Path],
    cell: Mapping[str, str],
    starts: Callable[[list[str]], str],
) -> tuple[Sorted, list[str]]:
    """Return the faults with their excuses, and the exceptions that name no library.

    `starts` says why modules cannot be imported, if they cannot.
    """
    allowed = exceptions(LIBRARIES)
    result = Sorted([], {}, {})
    listed = _records.by_place() if faults or allowed else {}
    imports: dict[str, str] = {}
    for path, fault in faults.items():
        row = listed.get(path)
        package = _tag.normal(row.package) if row else ""
        if row is None or not cell or is_frameworks(package, cell):
            result.faults.append(fault.text)
            continue
        excepted = next((each for each in allowed if fnmatchcase(row.fields[0], each.about)), None)
        if excepted:
            result.excepted[fault.text] = excepted.why
        elif package.startswith(NVIDIA) or is_damaged(path, row, fault, listed):
            result.faults.append(fault.text)
        else:
            if package not in imports:
                imports[package] = starts(_records.modules(package, listed))
            trouble = imports[package]
            if trouble:
                result.faults.append(f"{fault.text}; and {package} cannot be imported: {trouble}")
            else:
                result.unused[fault.text] = f"{package} is imported without it"
    names = {row.fields[0] for path in libraries if (row := listed.get(path))}
    return result, [
        f"the matrix excepts {each.about}, and no library of this image is called so"
        for each in allowed
        if not any(fnmatchcase(name, each.about) for name in names)
    ]


def is_frameworks(package: str, cell: Mapping[str, str]) -> bool:
    return package in cell.get("framework_packages", cell.get("package", "")).split()


def is_damaged(path: Path, row: _records.Row, fault: Fault, listed: Iterable[Path]) -> bool:
    """Return whether the library, or one that it needs, is not as its package brought it."""
    gone = {place.name for place in listed if place.name in fault.missing and not place.exists()}
    return bool(gone) or not _records.is_whole(path, row.fields)
