"""The check scripts of a project, and those that apply to a cell."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from dlimg.checks.header import (
    COMPILER,
    CUDA,
    FLAVOUR,
    FRAMEWORK,
    FRAMEWORK_COMPILER,
    IMAGE,
    ON_GPU,
    CheckHeader,
    parse_header,
)
from dlimg.errors import BadInput, DlimgError, Problem, nearest
from dlimg.matrix.renamed_checks import matches
from dlimg.model import EMPTY_MAPPING, Cell, Check, Flavour, Framework
from dlimg.render.frameworks import ADAPTER, read_frameworks

COMMON: Final = "common"
CHECKS: Final = "*.py"
OWN: Final = "own/checks"
# A folder under `images` that has one of these is a family's.
_OF_FAMILY: Final = ("checks", "Dockerfile.j2")
# Names are printed, kept and written into reports; a module has to be imported by its own.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\.py")


def check_files(family: str, images: Path, own: Path | None = None) -> tuple[Path, ...]:
    """The scripts of a family's checks, common ones first, a user's own last, each by name.

    Raises BadInput for missing folders and for names that are there twice.
    """
    folders = [images / COMMON / "checks", images / family / "checks"]
    problems = [
        Problem(message="missing check scripts: no such folder", where=str(folder))
        for folder in folders[:1]  # a family's own are optional
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


def read_scripts(
    images: Path, family: str, own: Path | None = None, framework: str = ""
) -> dict[str, bytes]:
    """Every script and module, common or the family's, by its path under `images`.

    The adapter of a framework is among them: that of this folder, or else of the family's.

    A user's own lie in a folder beside theirs, which has the modules of both, too: so those are
    found by whoever imports them, and no variable has to name a folder to what a check starts.
    """
    found = {
        path.relative_to(images).as_posix(): path
        for folder in (COMMON, family)
        for path in sorted((images / folder / "checks").glob(CHECKS))
    }
    adapter = images / (framework or family) / ADAPTER
    if adapter.is_file():
        found[adapter.relative_to(images).as_posix()] = adapter
    if own is not None:
        shared = {path.name: path for path in found.values() if path.name.startswith("_")}
        mine = shared | {path.name: path for path in _own(family, own)}
        found |= {f"{OWN}/{name}": path for name, path in mine.items()}
    try:
        return {name: path.read_bytes() for name, path in found.items()}
    except OSError as error:
        message = f"a script or module cannot be read: {error.strerror or error}"
        raise BadInput(message, where=str(error.filename)) from error


def script_path(path: Path, images: Path, found: Mapping[str, bytes]) -> str:
    """Where a script lies among those that `scripts` found."""
    under = (path.relative_to(images) if path.is_relative_to(images) else path).as_posix()
    mine = f"{OWN}/{path.name}"
    return mine if under not in found and mine in found else under


def importable_modules(place: str, found: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the script at this place may import; what is a user's own, only his own may."""
    is_own = place.startswith(f"{OWN}/")
    return {
        name: content
        for name, content in found.items()
        if PurePosixPath(name).name == ADAPTER
        or (PurePosixPath(name).name.startswith("_") and name.startswith(f"{OWN}/") == is_own)
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
    families = sorted({path.parent.name for path in images.glob("*/*") if path.name in _OF_FAMILY})
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


WITH_COMPILER: Final = (Flavour.COMPILE, Flavour.DEVEL)


def parse_check(text: str, path: str) -> Check:
    """The check of this script; raises BadInput with every line of its header that is wrong."""
    return _check(path, parse_header(text, path), text, Framework(), is_cuda=True)


def checks_for(
    cell: Cell, images: Path, own: Path | None = None, places: Mapping[str, str] = EMPTY_MAPPING
) -> tuple[Check, ...]:
    """The checks of this cell's image, common ones first, then the family's, then a user's own.

    What `applies: cuda` is left out on a CPU image, and what else needs a GPU there needs none;
    what needs a compiler or a flavour is left out where the image promises none, or is another.
    A user's own are required. Raises BadInput for missing scripts, for headers that are wrong,
    and for required checks that are not there; `places` says where the matrix names those.
    """
    found = tuple(
        _check(path, header, text, cell.framework, is_cuda=cell.is_cuda)
        for path, text, header in _parsed(cell.family, images, own)
        if applies(header, cell)
    )
    _all_there(cell, found, places)
    return tuple(
        replace(check, required=_is_required(cell, check) or _is_own(check, own)) for check in found
    )


def _is_required(cell: Cell, check: Check) -> bool:
    wanted = cell.required_checks
    return not wanted or any(matches(check.name, pattern) for pattern in wanted)


def _is_own(check: Check, own: Path | None) -> bool:
    return own is not None and Path(check.path).is_relative_to(own)


def _all_there(cell: Cell, checks: Sequence[Check], places: Mapping[str, str]) -> None:
    names = [check.name for check in checks]
    problems = [
        Problem(
            message=f"{cell.id} has no check {pattern}, which is required of it",
            where=places.get(pattern, "required_checks"),
            hint=nearest(pattern, names),
        )
        for pattern in cell.required_checks
        if not any(matches(name, pattern) for name in names)
    ]
    if problems:
        raise BadInput.of(problems)


def checks_for_host(
    family: str, images: Path, own: Path | None = None, *, has_gpu: bool
) -> tuple[Check, ...]:
    """The checks that mean something on a machine that is no image, in the same order.

    What is about an image, one of its flavours or a container of another kind is left out. What
    would run on a CPU image, too, needs no GPU where there is none. Raises BadInput likewise.
    """
    framework = read_frameworks(images).get(family, Framework())
    return tuple(
        _check(path, header, text, framework, is_cuda=has_gpu or header.applies == CUDA)
        for path, text, header in _parsed(family, images, own)
        if not header.container
        and (FRAMEWORK not in header.needs or framework.folder)
        and not any(need == IMAGE or need.startswith(FLAVOUR) for need in header.needs)
    )


def _parsed(family: str, images: Path, own: Path | None) -> list[tuple[str, str, CheckHeader]]:
    """Path, text and header of every check; raises BadInput with all that is wrong in headers."""
    found: list[tuple[str, str, CheckHeader]] = []
    problems: list[Problem] = []
    for path in check_files(family, images, own):
        try:
            text = _text(path)
            found.append((str(path), text, _header(text, str(path))))
        except DlimgError as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput.of(problems)
    return found


# The cells of a family have the same scripts.
_header = cache(parse_header)


def applies(header: CheckHeader, cell: Cell) -> bool:
    """Whether the check means anything for an image of this cell."""
    needs = _needs(header, cell.framework)
    flavours = {need for need in needs if need.startswith(FLAVOUR)}
    return (
        (header.applies != CUDA or cell.is_cuda)
        and (FRAMEWORK not in header.needs or bool(cell.framework.folder))
        and (COMPILER not in needs or cell.flavour in WITH_COMPILER)
        and flavours <= {f"{FLAVOUR}{cell.flavour}"}
    )


def _needs(header: CheckHeader, framework: Framework) -> frozenset[str]:
    """Return what the check needs of an image with this framework."""
    needs = header.needs - {FRAMEWORK, FRAMEWORK_COMPILER}
    compiles = FRAMEWORK_COMPILER in header.needs and framework.needs_compiler
    return needs | {COMPILER} if compiles else needs


def _check(
    path: str, header: CheckHeader, text: str, framework: Framework, *, is_cuda: bool
) -> Check:
    needs = _needs(header, framework)
    return Check(
        name=Path(path).stem,
        path=path,
        script=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        proves=header.proves,
        needs=needs if is_cuda else needs - ON_GPU,
        seconds=header.seconds,
        container=header.container,
        flaky=header.flaky,
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the check script cannot be read: {error}", where=str(file)) from error
