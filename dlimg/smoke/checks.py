"""Check scripts: their headers read, and those that apply to a cell chosen."""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.errors import BadInput, DlimgError, Problem, nearest
from dlimg.model import Cell, Check, Flavour

REQUIRED: Final = ("nvidia_smi", "is_gpu_available", "conv_training", "tag_is_true")
# What each word of a header asks for; who needs two GPUs needs one.
NEEDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "nothing": frozenset(),
        "gpu": frozenset({"gpu"}),
        "two gpus": frozenset({"gpu", "two gpus"}),
    }
)
APPLIES: Final = ("cuda", "compiler")
WITH_COMPILER: Final = (Flavour.COMPILE, Flavour.DEVEL)
KEYS: Final = ("needs", "seconds", "applies")
HEADER_LINE: Final = re.compile(r"^([a-z]+):\s*(.*)$")
HINT: Final = "docs/checks.md shows the header of a check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a check's docstring declares; `applies` is empty for every image."""

    proves: str
    needs: frozenset[str]
    seconds: int
    applies: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One `key: value` of a header, and where it stands."""

    key: str
    value: str
    where: str


def parse_check(text: str, path: str) -> Check:
    """The check of this script; raises BadInput with every line of its header that is wrong."""
    return _check(path, parse_header(text, path), text, is_cuda=True)


def parse_header(text: str, path: str) -> Header:
    """The declarations of a script's docstring; raises BadInput with every one that is wrong."""
    docstring, first = _docstring(text, path)
    lines = list(_lines(docstring, path, first))
    values = {line.key: line.value for line in lines}
    proves = docstring.strip().partition("\n")[0].strip()
    where = f"{path}:{first}"
    problems = [
        *_line_problems(lines),
        *(
            Problem(message=f"the header has no line `{key}: ...`", where=where, hint=HINT)
            for key in ("needs", "seconds")
            if key not in values
        ),
    ]
    if not proves or HEADER_LINE.match(proves):
        message = "the first line of a check's docstring says what it proves"
        problems.insert(0, Problem(message=message, where=where, hint=HINT))
    if problems:
        raise BadInput.of(problems)
    return Header(
        proves=proves,
        needs=NEEDS[values["needs"]],
        seconds=int(values["seconds"]),
        applies=values.get("applies", ""),
    )


def checks_for(cell: Cell, images: Path) -> tuple[Check, ...]:
    """The checks of this cell's image, common ones first, then by name.

    What `applies: cuda` is left out on a CPU image, and what else needs a GPU there needs none;
    `applies: compiler` is left out where the flavour promises no compiler.
    Raises BadInput for missing scripts and for headers that are wrong.
    """
    found: list[Check] = []
    problems: list[Problem] = []
    for path, text in _scripts(cell.family, images):
        try:
            header = parse_header(text, path)
        except DlimgError as error:
            problems.extend(error.problems)
            continue
        if _applies(header, cell):
            found.append(_check(path, header, text, is_cuda=cell.is_cuda))
    if problems:
        raise BadInput.of(problems)
    return tuple(found)


def _applies(header: Header, cell: Cell) -> bool:
    match header.applies:
        case "cuda":
            return cell.is_cuda
        case "compiler":
            return cell.flavour in WITH_COMPILER
        case _:
            return True


def _check(path: str, header: Header, text: str, *, is_cuda: bool) -> Check:
    return Check(
        name=Path(path).stem,
        path=path,
        script=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        proves=header.proves,
        needs=header.needs if is_cuda else frozenset(),
        seconds=header.seconds,
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


def _docstring(text: str, path: str) -> tuple[str, int]:
    """The docstring as it is written, and the line it begins at."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BadInput(f"this is no Python: {error}", where=f"{path}:{line}") from error
    match tree.body[:1]:
        case [ast.Expr(value=ast.Constant(value=str(docstring), lineno=line))]:
            return docstring, line
        case _:
            raise BadInput("a check begins with a docstring", where=f"{path}:1", hint=HINT)


def _lines(docstring: str, path: str, first: int) -> Iterator[_Line]:
    for number, line in enumerate(docstring.split("\n"), first):
        match = HEADER_LINE.match(line.strip())
        if match:
            yield _Line(key=match[1], value=match[2].strip(), where=f"{path}:{number}")


def _line_problems(lines: list[_Line]) -> Iterator[Problem]:
    seen: set[str] = set()
    for line in lines:
        message, hint = _complaint(line)
        if line.key in seen:
            message, hint = f"`{line.key}` is there twice", "keep one of them"
        seen.add(line.key)
        if message:
            yield Problem(message=message, where=line.where, hint=hint)


def _complaint(line: _Line) -> tuple[str, str]:
    """What is wrong with this line, and what would be right; empty texts when nothing is."""
    match line.key:
        case "needs" if line.value not in NEEDS:
            return f"unknown need `{line.value}`", nearest(line.value, NEEDS)
        case "applies" if line.value not in APPLIES:
            return f"unknown `applies: {line.value}`", nearest(line.value, APPLIES)
        case "seconds" if not line.value.isdecimal() or int(line.value) == 0:
            return f"`seconds: {line.value}` is no whole number of seconds", "write `seconds: 300`"
        case key if key not in KEYS:
            return f"unknown line `{key}:` in a check's header", nearest(key, KEYS)
        case _:
            return "", ""
