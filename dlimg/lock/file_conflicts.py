"""What wheels fill: their RECORDs come in, paths that two wheels fill differently come out.

No resolver looks at this: CUDA 12's and CUDA 13's cuDNN wheels have different names and own the
same `nvidia/cudnn/lib/libcudnn.so.9`; whichever is installed last wins.
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
    """Two wheels and the paths that they fill with different content."""

    first: str
    second: str
    paths: tuple[str, ...]


def find_file_conflicts(
    contents: Mapping[ResolvedWheel, WheelContents], *, python: str
) -> tuple[FileConflict, ...]:
    """Every pair of wheels that do not fit together; the same content is allowed."""
    owners: dict[str, tuple[ResolvedWheel, str]] = {}
    clashes: dict[tuple[ResolvedWheel, ResolvedWheel], list[str]] = {}
    for wheel, content in contents.items():
        for path, identity in installed_paths(
            content.record, name=wheel.name, python=python
        ).items():
            owner, other = owners.setdefault(path, (wheel, identity))
            if owner is not wheel and other != identity:
                clashes.setdefault((owner, wheel), []).append(path)
    return tuple(
        FileConflict(
            first=f"{first.name} {first.version}",
            second=f"{second.name} {second.version}",
            paths=tuple(sorted(paths)),
        )
        for (first, second), paths in clashes.items()
    )


def check_file_conflicts(
    contents: Mapping[ResolvedWheel, WheelContents], *, python: str, where: str
) -> None:
    """Raises BadInput with one problem for each pair of wheels that do not fit together."""
    problems = [
        Problem(
            message=_sentence(collision),
            where=where,
            hint="they cannot be in one image: change or exclude one of the packages that "
            "bring them",
        )
        for collision in find_file_conflicts(contents, python=python)
    ]
    if problems:
        raise BadInput.of(problems)


@lru_cache(maxsize=512)
def installed_paths(record: str, *, name: str, python: str) -> Mapping[str, str]:
    """Where an installer puts each file, below the environment, with the content's identity.

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


def _sentence(collision: FileConflict) -> str:
    path = collision.paths[0].partition("/site-packages/")[2] or collision.paths[0]
    others = len(collision.paths) - 1
    more = f", and {others} more {'path' if others == 1 else 'paths'}" if others else ""
    return (
        f"wheels {collision.first} and {collision.second} fill {path} with different content{more}"
    )
