"""The check scripts of a project, and those that apply to a cell."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from dlimg.image_files import ImageFiles
from dlimg.matrix.former_names import matches
from dlimg.model import EMPTY_MAPPING, Cell, Check, Flavour, Framework
from dlimg.render.frameworks import ADAPTER, read_frameworks

COMMON: Final = "common"
CHECKS: Final = "*.py"
# The folder of a user's own checks, beside those of the project in a container.
OWN: Final = "own/checks"
WITH_COMPILER: Final = (Flavour.COMPILE, Flavour.DEVEL, Flavour.WORKSPACE)
# A folder under `images` that has one of these is a family's.
_FAMILY_MARKS: Final = ("*/checks", "*/Dockerfile.j2")
# Names appear in reports and file names; modules must be importable.
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}\.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFolders:
    """The folders of check scripts: `images`, and the user's own, if there is one.

    `families` are those of the matrix; the user's folder may have a subfolder for each.
    """

    images: ImageFiles
    own: Path | None = None
    families: tuple[str, ...] = ()


def check_files(folders: CheckFolders, family: str, framework: str = "") -> tuple[Path, ...]:
    """Return the scripts of a family's checks, each group sorted.

    Those for all images come first, then those of the framework's folder and the family's, and
    the user's own. Raises BadInput for missing scripts and for names that occur twice.
    """
    files = list(_project_files(folders.images, family, framework).values())
    problems = []
    if not folders.images.matching(f"{COMMON}/checks/*.py"):
        missing = folders.images.folders[0] / COMMON / "checks"
        problems.append(
            Problem(message="missing check scripts: no such folder", where=str(missing))
        )
    # A module may occur in several folders of the project: each is imported from its folder.
    projects = frozenset(files)
    unique = [file for file in files if _is_check(file)]
    if folders.own is not None:
        problems += _folder_problems(folders, folders.own, (family, framework))
        files += _own_files(family, folders.own)
        unique = files
    problems += _duplicate_names(unique, projects)
    if problems:
        raise BadInput.of(problems)
    return tuple(file for file in files if _is_check(file))


def _project_files(images: ImageFiles, family: str, framework: str) -> dict[str, Path]:
    """Return the check scripts and modules of the project by their name under `images`."""
    names = dict.fromkeys(name for name in (COMMON, framework, family) if name)
    return {
        name: path
        for folder in names
        for name, path in images.matching(f"{folder}/checks/{CHECKS}").items()
    }


def read_scripts(
    images: ImageFiles, family: str, own_checks: Path | None = None, framework: str = ""
) -> dict[str, bytes]:
    """Return the text of every script and module by its path under `images`.

    The adapter is the one in the framework's folder, or else in the family's. A user's own checks
    get a folder with copies of all modules, so that they import them without a search path. The
    line endings of a checkout do not matter.
    """
    paths = _project_files(images, family, framework)
    name = f"{framework or family}/{ADAPTER}"
    adapter = images.find(name)
    if adapter:
        paths[name] = adapter
    if own_checks is not None:
        modules = {path.name: path for path in paths.values() if path.name.startswith("_")}
        own = modules | {path.name: path for path in _own_files(family, own_checks)}
        paths |= {f"{OWN}/{name}": path for name, path in own.items()}
    try:
        return {name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in paths.items()}
    except OSError as error:
        message = f"a script or module cannot be read: {error.strerror or error}"
        raise BadInput(message, where=str(error.filename)) from error


def script_path(path: Path, images: ImageFiles, scripts: Mapping[str, bytes]) -> str:
    """Return the path under which `read_scripts` returns this file."""
    relative = images.name_of(path)
    own = f"{OWN}/{path.name}"
    return own if relative not in scripts and own in scripts else relative


def importable_modules(path: str, scripts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the modules that this script may import: only own checks import own modules."""
    is_own = path.startswith(f"{OWN}/")
    return {
        name: content
        for name, content in scripts.items()
        if PurePosixPath(name).name == ADAPTER
        or (PurePosixPath(name).name.startswith("_") and name.startswith(f"{OWN}/") == is_own)
    }


def _is_check(path: Path) -> bool:
    return not path.name.startswith("_")


def _own_files(family: str, own_checks: Path) -> list[Path]:
    folders = (own_checks, own_checks / family)
    return [path for folder in folders for path in sorted(folder.glob(CHECKS))]


def _folder_problems(
    folders: CheckFolders, own_checks: Path, family_names: Sequence[str]
) -> Iterator[Problem]:
    """Yield the problems of a user's folder of checks, which may name these families, too."""
    if not own_checks.is_dir():
        hint = "--checks takes a folder with scripts"
        yield Problem(message="no such folder", where=str(own_checks), hint=hint)
        return
    yield from _file_problems([*own_checks.glob(CHECKS), *own_checks.glob("*/*.py")])
    marks = [
        path.parent.name
        for mark in _FAMILY_MARKS
        for path in folders.images.matching(mark).values()
    ]
    families = sorted({*marks, *folders.families, *family_names} - {""})
    in_folders = [path for path in own_checks.glob("*/*.py") if _is_check(path)]
    for folder in sorted({path.parent for path in in_folders}):
        if folder.name not in families or folder.name == COMMON:
            hint = nearest(folder.name, [name for name in families if name != COMMON])
            yield Problem(message="checks for no family", where=str(folder), hint=hint)
    if not in_folders and not any(_is_check(path) for path in own_checks.glob(CHECKS)):
        hint = "docs/checks.md shows one"
        yield Problem(message="there is no check in this folder", where=str(own_checks), hint=hint)


def _file_problems(files: Iterable[Path]) -> Iterator[Problem]:
    for path in sorted(files):
        where = ascii(str(path)) if not path.name.isprintable() else str(path)
        if not NAME.fullmatch(path.name):
            hint = "write letters, digits, - and _"
            yield Problem(message="this is not a valid name for a script", where=where, hint=hint)
        elif not path.is_file():
            yield Problem(message="this is not a file", where=where, hint="remove it")


def _duplicate_names(files: Iterable[Path], projects: frozenset[Path]) -> Iterator[Problem]:
    """Yield a problem for each name that occurs twice, except modules of the project."""
    first: dict[str, Path] = {}
    for file in files:
        other = first.setdefault(file.name, file)
        is_projects_module = file in projects and not _is_check(file)
        if other != file and not is_projects_module:
            message = f"{other} has the same name"
            if _is_check(file):
                message += ", and verdicts go by name"
            yield Problem(message=message, where=str(file), hint="rename one of them")


def checks_for(
    cell: Cell, folders: CheckFolders, lines_of_required: Mapping[str, str] = EMPTY_MAPPING
) -> tuple[Check, ...]:
    """Return the checks of this cell's image in the order of `check_files`.

    On a CPU image, checks with `applies: cuda` are left out, and no other check needs a GPU. Also
    left out are checks that need a compiler or a flavour that the image does not have, and checks
    of a framework on an image without one. A user's own checks are always required.

    Raises BadInput for missing scripts, invalid headers, and required checks that do not exist;
    `lines_of_required` has the line of each required check in the matrix.
    """
    headers = _read_headers(folders, cell.family, cell.framework.folder)
    checks = tuple(
        _check(path, header, text, cell.framework, is_cuda=cell.is_cuda)
        for path, text, header in headers
        if applies(header, cell)
    )
    # What is required of all families is not required where no framework computes with tensors.
    names = [check.name for check in checks] + [
        Path(path).stem
        for path, _, header in headers
        if FRAMEWORK in header.needs and not _has_tensors(cell.framework)
    ]
    _check_required_exist(cell, names, lines_of_required)
    return tuple(
        replace(check, required=_is_required(cell, check) or _is_own(check, folders.own))
        for check in checks
    )


def _is_required(cell: Cell, check: Check) -> bool:
    patterns = cell.required_checks
    return not patterns or any(matches(check.name, pattern) for pattern in patterns)


def _is_own(check: Check, own_checks: Path | None) -> bool:
    return own_checks is not None and Path(check.path).is_relative_to(own_checks)


def _check_required_exist(
    cell: Cell, names: Sequence[str], lines_of_required: Mapping[str, str]
) -> None:
    problems = [
        Problem(
            message=f"{cell.id} has no check {pattern}, which is required of it",
            where=lines_of_required.get(pattern, "required_checks"),
            hint=nearest(pattern, names),
        )
        for pattern in cell.required_checks
        if not any(matches(name, pattern) for name in names)
    ]
    if problems:
        raise BadInput.of(problems)


def checks_for_host(family: str, folders: CheckFolders, *, has_gpu: bool) -> tuple[Check, ...]:
    """Return the checks that apply to a host without an engine, in the order of `check_files`.

    Checks that need an image, a flavour or a special container are left out. On a host without a
    GPU, only checks with `applies: cuda` need one. Raises BadInput as `checks_for` does.
    """
    framework = read_frameworks(folders.images).get(family, Framework())
    return tuple(
        _check(path, header, text, framework, is_cuda=has_gpu or header.applies == CUDA)
        for path, text, header in _read_headers(folders, family)
        if not header.container
        and (FRAMEWORK not in header.needs or _has_tensors(framework))
        and not any(need == IMAGE or need.startswith(FLAVOUR) for need in header.needs)
    )


def header_notices(families: Mapping[str, str], folders: CheckFolders) -> tuple[Problem, ...]:
    """Return a notice for each former name in the headers of these families' checks.

    `families` have the folder of their framework as value. Raises BadInput as `checks_for` does.
    """
    headers = (
        header
        for family, framework in families.items()
        for _, _, header in _read_headers(folders, family, framework)
    )
    return tuple(dict.fromkeys(notice for header in headers for notice in header.notices))


def _read_headers(
    folders: CheckFolders, family: str, framework: str = ""
) -> list[tuple[str, str, CheckHeader]]:
    """Return path, text and header of every check; raises BadInput with all invalid lines."""
    checks: list[tuple[str, str, CheckHeader]] = []
    problems: list[Problem] = []
    for path in check_files(folders, family, framework):
        try:
            text = _read_text(path)
            checks.append((str(path), text, _parse_header(text, str(path))))
        except DlimgError as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput.of(problems)
    return checks


# Cached, because all cells of a family have the same scripts.
_parse_header = cache(parse_header)


def applies(header: CheckHeader, cell: Cell) -> bool:
    """Return whether the check applies to images of this cell."""
    needs = _needs(header, cell.framework)
    flavours = {need for need in needs if need.startswith(FLAVOUR)}
    return (
        (header.applies != CUDA or cell.is_cuda)
        and (FRAMEWORK not in header.needs or _has_tensors(cell.framework))
        and (COMPILER not in needs or cell.flavour in WITH_COMPILER)
        and flavours <= {f"{FLAVOUR}{cell.flavour}"}
    )


def _has_tensors(framework: Framework) -> bool:
    """Return whether the framework's adapter has what checks compute with."""
    return bool(framework.folder) and framework.trains


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
        alone=header.alone,
    )


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the check script cannot be read: {error}", where=str(file)) from error
