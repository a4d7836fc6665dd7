"""Conflicts between wheels: paths that two of them fill with different content.

Resolvers do not compare files: CUDA 12's and CUDA 13's cuDNN wheels have different names and
contain the same `nvidia/cudnn/lib/libcudnn.so.9`; the last one installed wins.
"""

import ast
import csv
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from dlimg.additions import PathException
from dlimg.errors import BadInput, Problem
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.model import SharedPath

# The reasons for a path whose files are the same program, or no program at all.
COMMENTS: Final = "the files differ in comments alone"
NAMESPACE: Final = "the files only declare a namespace package"
# Declarations of a namespace package of the time before PEP 420; in one folder they do nothing.
_DECLARATIONS: Final = frozenset(
    ast.dump(statement)
    for statement in ast.parse(
        """
import pkgutil
from pkgutil import extend_path
import pkg_resources
__path__ = __import__('pkgutil').extend_path(__path__, __name__)
__path__ = pkgutil.extend_path(__path__, __name__)
__path__ = extend_path(__path__, __name__)
__import__('pkg_resources').declare_namespace(__name__)
pkg_resources.declare_namespace(__name__)
"""
    ).body
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConflict:
    """Two wheels and the paths that both fill, with different content."""

    first: str
    second: str
    paths: tuple[str, ...]


def find_file_conflicts(
    contents: Mapping[ResolvedWheel, WheelContents],
    *,
    python: str,
    excused: Collection[str] = (),
) -> tuple[FileConflict, ...]:
    """Return each pair of wheels with conflicts; the same content is allowed.

    `excused` are paths in site-packages that are passed over.
    """
    library = _library(python)
    owners: dict[str, tuple[ResolvedWheel, str]] = {}
    conflicts: dict[tuple[ResolvedWheel, ResolvedWheel], list[str]] = {}
    for wheel, content in contents.items():
        for path, identity in installed_paths(
            content.record, name=wheel.name, python=python
        ).items():
            if path.removeprefix(f"{library}/") in excused:
                continue
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
    contents: Mapping[ResolvedWheel, WheelContents],
    *,
    python: str,
    where: str,
    shared: Sequence[SharedPath] = (),
) -> None:
    """Raise BadInput with a problem for each pair of conflicting wheels.

    `shared` are paths that the wheels may fill differently.
    """
    excused = {shared_path.path for shared_path in shared}
    problems = [
        Problem(
            message=_message(conflict),
            where=where,
            hint="they cannot be in one image: change or exclude one of the packages that "
            "bring them, or except the path with a reason under `path_exceptions` of the family",
        )
        for conflict in find_file_conflicts(contents, python=python, excused=excused)
    ]
    if problems:
        raise BadInput.of(problems)


@lru_cache(maxsize=512)
def installed_paths(record: str, *, name: str, python: str) -> Mapping[str, str]:
    """Return the installed path of each file in an environment, with its hash and size.

    The layout is that of a virtual environment (PEP 427, sysconfig's `venv` scheme).
    """
    library = _library(python)
    return {
        _place(path, library=library, name=name): f"{digest} {size}"
        for path, digest, size in _rows(record)
    }


def _library(python: str) -> str:
    return f"lib/python{python}/site-packages"


def shared_paths(
    contents: Mapping[ResolvedWheel, WheelContents],
    *,
    python: str,
    exceptions: Sequence[PathException],
    read_member: Callable[[ResolvedWheel, str], bytes] | None,
) -> tuple[SharedPath, ...]:
    """Return the paths in site-packages that wheels may fill differently, each with the reason.

    They are those that the matrix excepts, Python files that differ in comments alone, and ones
    that only mark a package; `read_member` reads them.
    """
    start = f"{_library(python)}/"
    filled: dict[str, dict[ResolvedWheel, str]] = {}
    for wheel, content in contents.items():
        paths = installed_paths(content.record, name=wheel.name, python=python)
        for path, identity in paths.items():
            if path.startswith(start):
                filled.setdefault(path.removeprefix(start), {})[wheel] = identity
    shared = []
    for path, identities in sorted(filled.items()):
        if len(set(identities.values())) > 1:
            why = _reason(path, list(identities), contents, exceptions, read_member)
            owner, *others = sorted(wheel.name for wheel in identities)
            if why:
                shared.append(SharedPath(path=path, owner=owner, replaced=tuple(others), why=why))
    return tuple(shared)


def _reason(
    path: str,
    wheels: Sequence[ResolvedWheel],
    contents: Mapping[ResolvedWheel, WheelContents],
    exceptions: Sequence[PathException],
    read_member: Callable[[ResolvedWheel, str], bytes] | None,
) -> str:
    """Return why these wheels may fill this path differently, or an empty text."""
    for exception in exceptions:
        if fnmatchcase(path, exception.path):
            return exception.why
    if not path.endswith(".py") or read_member is None:
        return ""
    sources = [read_member(wheel, _member(contents[wheel].record, path)) for wheel in wheels]
    programs = {_program(source) for source in sources}
    if "" in programs:
        return ""
    if len(programs) == 1:
        return COMMENTS
    bodies = [ast.parse(source).body for source in sources]
    return NAMESPACE if all(_only_declares_a_namespace(body) for body in bodies) else ""


def _member(record: str, path: str) -> str:
    """Return the path in the wheel of the file that is installed at this path."""
    names = (name for name, _, _ in _rows(record))
    schemes = (f"/{scheme}/{path}" for scheme in ("purelib", "platlib"))
    ends = (path, *schemes)
    return next(
        name
        for name in names
        if posixpath.normpath(name) == path or (".data/" in name and name.endswith(ends[1:]))
    )


def _program(source: bytes) -> str:
    """Return what Python compiles of a source, without comments; empty if it cannot."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _only_declares_a_namespace(body: Sequence[ast.stmt]) -> bool:
    """Return whether these statements are declarations of a namespace package, or none at all."""
    return all(
        _only_declares_a_namespace(
            [
                *statement.body,
                *(each for handler in statement.handlers for each in handler.body),
                *statement.orelse,
                *statement.finalbody,
            ]
        )
        if isinstance(statement, ast.Try)
        else ast.dump(statement) in _DECLARATIONS
        for statement in body
    )


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
