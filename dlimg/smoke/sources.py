"""The files that checks are: a project's under `images/`, and a user's own in a folder of his."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from dlimg.errors import BadInput, Problem, nearest

COMMON: Final = "common"
CHECKS: Final = "*.py"
OWN: Final = "own/checks"
# Names are printed, kept and written into reports; a module has to be imported by its own.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\.py")


def sources(family: str, images: Path, own: Path | None = None) -> tuple[Path, ...]:
    """The scripts of a family's checks, common ones first, a user's own last, each by name.

    Raises BadInput for missing folders and for names that are there twice.
    """
    folders = [images / COMMON / "checks", images / family / "checks"]
    problems = [
        Problem(message="missing check scripts: no such folder", where=str(folder))
        for folder in folders
        if not folder.is_dir()
    ]
    files = [file for folder in folders for file in sorted(folder.glob(CHECKS))]
    if own is not None:
        problems += _own_problems(images, own)
        files += _own(family, own)
    # A module that is common may be a family's, too: it is found by its folder.
    several = files if own is not None else [file for file in files if _is_check(file)]
    problems += _taken(several, set(folders))
    if problems:
        raise BadInput.of(problems)
    return tuple(file for file in files if _is_check(file))


def scripts(images: Path, family: str, own: Path | None = None) -> dict[str, bytes]:
    """Every script and module, common or the family's, by its path under `images`.

    A user's own lie in a folder beside theirs, which has the modules of both, too: so those are
    found by whoever imports them, and no variable has to name a folder to what a check starts.
    """
    found = {
        path.relative_to(images).as_posix(): path
        for folder in (COMMON, family)
        for path in sorted((images / folder / "checks").glob(CHECKS))
    }
    if own is not None:
        shared = {path.name: path for path in found.values() if not _is_check(path)}
        mine = shared | {path.name: path for path in _own(family, own)}
        found |= {f"{OWN}/{name}": path for name, path in mine.items()}
    try:
        return {name: path.read_bytes() for name, path in found.items()}
    except OSError as error:
        message = f"a script or module cannot be read: {error.strerror or error}"
        raise BadInput(message, where=str(error.filename)) from error


def place(path: Path, images: Path, found: Mapping[str, bytes]) -> str:
    """Where a script lies among those that `scripts` found."""
    under = (path.relative_to(images) if path.is_relative_to(images) else path).as_posix()
    mine = f"{OWN}/{path.name}"
    return mine if under not in found and mine in found else under


def modules(place: str, found: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the script at this place may import; what is a user's own, only his own may."""
    is_own = place.startswith(f"{OWN}/")
    return {
        name: content
        for name, content in found.items()
        if PurePosixPath(name).name.startswith("_") and name.startswith(f"{OWN}/") == is_own
    }


def _is_check(path: Path) -> bool:
    return not path.name.startswith("_")


def _own(family: str, own: Path) -> list[Path]:
    return [path for folder in (own, own / family) for path in sorted(folder.glob(CHECKS))]


def _own_problems(images: Path, own: Path) -> Iterator[Problem]:
    if not own.is_dir():
        hint = "--checks takes a folder with scripts"
        yield Problem(message="no such folder", where=str(own), hint=hint)
        return
    yield from _unfit([*own.glob(CHECKS), *own.glob("*/*.py")])
    families = sorted(path.parent.name for path in images.glob("*/checks"))
    wanted = [path for path in own.glob("*/*.py") if _is_check(path)]
    for folder in sorted({path.parent for path in wanted}):
        if folder.name not in families or folder.name == COMMON:
            hint = nearest(folder.name, [name for name in families if name != COMMON])
            yield Problem(message="checks for no family", where=str(folder), hint=hint)
    if not wanted and not any(_is_check(path) for path in own.glob(CHECKS)):
        hint = "docs/checks.md shows one"
        yield Problem(message="there is no check in this folder", where=str(own), hint=hint)


def _unfit(files: Iterable[Path]) -> Iterator[Problem]:
    for path in sorted(files):
        where = ascii(str(path)) if not path.name.isprintable() else str(path)
        if not NAME.fullmatch(path.name):
            hint = "write letters, digits, - and _"
            yield Problem(message="this is no name for a script", where=where, hint=hint)
        elif not path.is_file():
            yield Problem(message="this is no file", where=where, hint="remove it")


def _taken(files: Iterable[Path], folders: set[Path]) -> Iterator[Problem]:
    """Names that are there twice; modules of the project's folders may be."""
    first: dict[str, Path] = {}
    for file in files:
        other = first.setdefault(file.name, file)
        is_projects = file.parent in folders and not _is_check(file)
        if other != file and not is_projects:
            message = f"{other} has the same name, and verdicts go by name"
            if not _is_check(file):
                message = f"{other} has the same name"
            yield Problem(message=message, where=str(file), hint="rename one of them")
