"""The check scripts of a project, and those that apply to a cell."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput, DlimgError, Problem, nearest
from dlimg.model import NOTHING, Cell, Flavour
from dlimg.proof import Check
from dlimg.smoke.header import COMPILER, CUDA, FLAVOUR, IMAGE, ON_GPU, Header, parse_header
from dlimg.smoke.sources import sources

WITH_COMPILER: Final = (Flavour.COMPILE, Flavour.DEVEL)


def parse_check(text: str, path: str) -> Check:
    """The check of this script; raises BadInput with every line of its header that is wrong."""
    return _check(path, parse_header(text, path), text, is_cuda=True)


def checks_for(
    cell: Cell, images: Path, own: Path | None = None, places: Mapping[str, str] = NOTHING
) -> tuple[Check, ...]:
    """The checks of this cell's image, common ones first, then the family's, then a user's own.

    What `applies: cuda` is left out on a CPU image, and what else needs a GPU there needs none;
    what needs a compiler or a flavour is left out where the image promises none, or is another.
    A user's own are required. Raises BadInput for missing scripts, for headers that are wrong,
    and for required checks that are not there; `places` says where the matrix names those.
    """
    found = tuple(
        _check(path, header, text, is_cuda=cell.is_cuda)
        for path, text, header in _parsed(cell.family, images, own)
        if applies(header, cell)
    )
    _all_there(cell, found, places)
    return tuple(
        replace(check, required=_is_required(cell, check) or _is_own(check, own)) for check in found
    )


def _is_required(cell: Cell, check: Check) -> bool:
    wanted = cell.required_checks
    return not wanted or any(fnmatchcase(check.name, pattern) for pattern in wanted)


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
        if not any(fnmatchcase(name, pattern) for name in names)
    ]
    if problems:
        raise BadInput.of(problems)


def checks_of_machine(
    family: str, images: Path, own: Path | None = None, *, has_gpu: bool
) -> tuple[Check, ...]:
    """The checks that mean something on a machine that is no image, in the same order.

    What is about an image, one of its flavours or a container of another kind is left out. What
    would run on a CPU image, too, needs no GPU where there is none. Raises BadInput likewise.
    """
    return tuple(
        _check(path, header, text, is_cuda=has_gpu or header.applies == CUDA)
        for path, text, header in _parsed(family, images, own)
        if not header.container
        and not any(need == IMAGE or need.startswith(FLAVOUR) for need in header.needs)
    )


def _parsed(family: str, images: Path, own: Path | None) -> list[tuple[str, str, Header]]:
    """Path, text and header of every check; raises BadInput with all that is wrong in headers."""
    found: list[tuple[str, str, Header]] = []
    problems: list[Problem] = []
    for path in sources(family, images, own):
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


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the check script cannot be read: {error}", where=str(file)) from error
