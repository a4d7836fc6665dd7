"""The check scripts of a project, and those that apply to a cell."""

import hashlib
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput, DlimgError, Problem
from dlimg.model import Cell, Check, Flavour
from dlimg.smoke.header import COMPILER, CUDA, FLAVOUR, IMAGE, ON_GPU, Header, parse_header

REQUIRED: Final = ("nvidia_smi", "is_gpu_available", "conv_training", "tag_is_true")
WITH_COMPILER: Final = (Flavour.COMPILE, Flavour.DEVEL)


def parse_check(text: str, path: str) -> Check:
    """The check of this script; raises BadInput with every line of its header that is wrong."""
    return _check(path, parse_header(text, path), text, is_cuda=True)


def checks_for(cell: Cell, images: Path) -> tuple[Check, ...]:
    """The checks of this cell's image, common ones first, then by name.

    What `applies: cuda` is left out on a CPU image, and what else needs a GPU there needs none;
    what needs a compiler or a flavour is left out where the image promises none, or is another.
    Raises BadInput for missing scripts and for headers that are wrong.
    """
    return tuple(
        _check(path, header, text, is_cuda=cell.is_cuda)
        for path, text, header in _parsed(cell.family, images)
        if applies(header, cell)
    )


def checks_of_machine(family: str, images: Path, *, has_gpu: bool) -> tuple[Check, ...]:
    """The checks that mean something on a machine that is no image, in the same order.

    What is about an image, one of its flavours or a container of another kind is left out. What
    would run on a CPU image, too, needs no GPU where there is none. Raises BadInput likewise.
    """
    return tuple(
        _check(path, header, text, is_cuda=has_gpu or header.applies == CUDA)
        for path, text, header in _parsed(family, images)
        if not header.container
        and not any(need == IMAGE or need.startswith(FLAVOUR) for need in header.needs)
    )


def _parsed(family: str, images: Path) -> list[tuple[str, str, Header]]:
    """Path, text and header of every check; raises BadInput with all that is wrong in headers."""
    found: list[tuple[str, str, Header]] = []
    problems: list[Problem] = []
    for path, text in _scripts(family, images):
        try:
            found.append((path, text, parse_header(text, path)))
        except DlimgError as error:
            problems.extend(error.problems)
    if problems:
        raise BadInput.of(problems)
    return found


def applies(header: Header, cell: Cell) -> bool:
    """Whether the check means anything for an image of this cell."""
    flavours = {need for need in header.needs if need.startswith(FLAVOUR)}
    return (
        (header.applies != CUDA or cell.is_cuda)
        and (COMPILER not in header.needs or cell.flavour in WITH_COMPILER)
        and flavours <= {f"{FLAVOUR}{cell.flavour}"}
    )


def _check(path: str, header: Header, text: str, *, is_cuda: bool) -> Check:
    return Check(
        name=Path(path).stem,
        path=path,
        script=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        proves=header.proves,
        needs=header.needs if is_cuda else header.needs - ON_GPU,
        seconds=header.seconds,
        container=header.container,
        flaky=header.flaky,
    )


def _scripts(family: str, images: Path) -> list[tuple[str, str]]:
    """Path and text of every check, without the modules beside them (`_gpu.py`)."""
    folders = [images / "common" / "checks", images / family / "checks"]
    files = [file for folder in folders for file in sorted(folder.glob("[!_]*.py"))]
    problems = [
        Problem(message="missing check scripts: no such folder", where=str(folder))
        for folder in folders
        if not folder.is_dir()
    ]
    paths = {file.stem: file for file in files}
    for file in files:
        if paths[file.stem] != file:
            message = f"{paths[file.stem]} has the same name, and verdicts go by name"
            problems.append(Problem(message=message, where=str(file), hint="rename one of them"))
    for name in REQUIRED:
        if name not in paths:
            where = str(folders[-1] / f"{name}.py")
            hint = f"every family has {', '.join(REQUIRED)}; the other families' show how"
            problems.append(Problem(message="missing check script", where=where, hint=hint))
    if problems:
        raise BadInput.of(problems)
    return [(str(file), _text(file)) for file in files]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the check script cannot be read: {error}", where=str(file)) from error
