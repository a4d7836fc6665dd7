"""Conflicts between wheels: paths that two of them fill with different content.

Resolvers do not compare files: CUDA 12's and CUDA 13's cuDNN wheels have different names and
contain the same `nvidia/cudnn/lib/libcudnn.so.9`; the last one installed wins.
"""

import csv
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from dlimg.errors import BadInput, Problem
from dlimg.lock.pylock import ResolvedWheel, WheelContents


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConflict:
    """Two wheels and the paths that both fill, with different content."""

    first: str
    second: str
    paths: tuple[str, ...]


def find_file_conflicts(
    contents: Mapping[ResolvedWheel, WheelContents], *, python: str
) -> tuple[FileConflict, ...]:
    """Return each pair of wheels with conflicts; the same content is allowed."""
    owners: dict[str, tuple[ResolvedWheel, str]] = {}
    conflicts: dict[tuple[ResolvedWheel, ResolvedWheel], list[str]] = {}
    for wheel, content in contents.items():
        for path, identity in installed_paths(
            content.record, name=wheel.name, python=python
        ).items():
            owner, other = owners.setdefault(path, (wheel, identity))
            if owner is not wheel and other != identity:
                conflicts.setdefault((owner, wheel), []).append(path)
    return tuple(
        FileConflict(
            first=f"{first.name} {first.version}",
            second=f"{second.name} {second.version}",
            paths=tuple(sorted(paths)),
        )
        for (first, second), paths in conflicts.items()
    )


def check_file_conflicts(
    contents: Mapping[ResolvedWheel, WheelContents], *, python: str, where: str
) -> None:
    """Raise BadInput with a problem for each pair of conflicting wheels."""
    problems = [
        Problem(
            message=_message(conflict),
            where=where,
            hint="they cannot be in one image: change or exclude one of the packages that "
            "bring them",
        )
        for conflict in find_file_conflicts(contents, python=python)
    ]
    if problems:
        raise BadInput.of(problems)


@lru_cache(maxsize=512)
def installed_paths(record: str, *, name: str, python: str) -> Mapping[str, str]:
    """Return the installed path of each file in an environment, with its hash and size.

    The layout is that of a virtual environment (PEP 427, sysconfig's `venv` scheme).
    """
    library = f"lib/python{python}/site-packages"
    return {
        _place(path, library=library, name=name): f"{digest} {size}"
        for path, digest, size in _rows(record)
    }


def _rows(record: str) -> Iterator[tuple[str, str, str]]:
    for row in csv.reader(record.splitlines()):
        if len(row) == 3 and not row[0].endswith("/"):
            yield row[0], row[1], row[2]


def _place(path: str, *, library: str, name: str) -> str:
    top, _, rest = path.partition("/")
    if not top.endswith(".data"):
        return posixpath.normpath(f"{library}/{path}")
    scheme, _, inner = rest.partition("/")
    match scheme:
        case "scripts":
            return posixpath.normpath(f"bin/{inner}")
        case "data":
            return posixpath.normpath(inner)
        case "headers":
            version = library.split("/")[1]
            return posixpath.normpath(f"include/site/{version}/{name}/{inner}")
        case _:
            return posixpath.normpath(f"{library}/{inner}")


def _message(conflict: FileConflict) -> str:
    path = conflict.paths[0].partition("/site-packages/")[2] or conflict.paths[0]
    others = len(conflict.paths) - 1
    more = f", and {others} more {'path' if others == 1 else 'paths'}" if others else ""
    return f"wheels {conflict.first} and {conflict.second} fill {path} with different content{more}"
