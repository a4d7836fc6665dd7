"""The header of a check script: what it proves, what it needs, and how it is run. Pure."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dlimg.checks.verdicts import GPU, TWO_GPUS
from dlimg.errors import BadInput, Problem, nearest
from dlimg.model import Flavour

COMPILER: Final = "compiler"
NETWORK: Final = "network"
IMAGE: Final = "image"
NOTHING: Final = "nothing"
# An adapter (framework.py), and what the framework needs to compile.
FRAMEWORK: Final = "framework"
FRAMEWORK_COMPILER: Final = "framework compiler"
FLAVOUR: Final = "flavour "
ON_GPU: Final = frozenset({GPU, TWO_GPUS})
READ_ONLY: Final = "read-only"
ANY_USER: Final = "any user"
AS_ROOT: Final = "root"
EMPTY_HOME: Final = "empty home"
CONTAINERS: Final = (READ_ONLY, ANY_USER, AS_ROOT, EMPTY_HOME)
CUDA: Final = "cuda"

NEEDS: Final = (
    NOTHING,
    GPU,
    TWO_GPUS,
    COMPILER,
    FRAMEWORK,
    FRAMEWORK_COMPILER,
    NETWORK,
    IMAGE,
    *(FLAVOUR + one for one in Flavour),
)
KEYS: Final = ("needs", "seconds", "applies", "container", "flaky")
SECONDS: Final = re.compile(r"[1-9][0-9]{0,4}")
HEADER_LINE: Final = re.compile(r"^([a-z]+):\s*(.*)$")
HINT: Final = "docs/checks.md shows the header of a check"

# What is wrong with a line, and what would be right.
_Complaint = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHeader:
    """What a check's docstring declares; `applies` is empty for every image.

    `container` is empty for the ordinary one, `flaky` where a failure is the image's own fault.
    """

    proves: str
    needs: frozenset[str]
    seconds: int
    applies: str
    container: str
    flaky: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One `key: value` of a header, and where it stands."""

    key: str
    value: str
    where: str


def parse_header(text: str, path: str) -> CheckHeader:
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
    return CheckHeader(
        proves=proves,
        needs=_needs(values["needs"]),
        seconds=int(values["seconds"]),
        applies=values.get("applies", ""),
        container=values.get("container", ""),
        flaky=values.get("flaky", ""),
    )


def _words(value: str) -> list[str]:
    return [" ".join(word.split()) for word in value.split(",")]


def _needs(value: str) -> frozenset[str]:
    """What the words of a right line ask for; who needs two GPUs needs one."""
    words = frozenset(_words(value)) - {NOTHING}
    return words | {GPU} if TWO_GPUS in words else words


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
        complaints = [(f"`{line.key}` is there twice", "keep one of them")]
        if line.key not in seen:
            complaints = list(_complaints(line))
        seen.add(line.key)
        for message, hint in complaints:
            yield Problem(message=message, where=line.where, hint=hint)


def _complaints(line: _Line) -> Iterator[_Complaint]:
    if line.key in COMPLAINTS:
        yield from COMPLAINTS[line.key](line.value)
    else:
        yield f"unknown line `{line.key}:` in a check's header", nearest(line.key, KEYS)


def _wrong_needs(value: str) -> Iterator[_Complaint]:
    words = _words(value)
    for word in words:
        if word not in NEEDS:
            yield f"unknown need `{word}`", nearest(word, NEEDS)
    for word, times in Counter(words).items():
        if times > 1:
            yield f"`needs` names `{word}` twice", "keep one of them"
    if NOTHING in words and len(set(words)) > 1:
        yield "`needs` names nothing, and something", f"leave `{NOTHING}` out"
    if len({word for word in words if word.startswith(FLAVOUR)}) > 1:
        yield "`needs` names two flavours, and an image has one", "write a check for each"


def _wrong_seconds(value: str) -> Iterator[_Complaint]:
    if not SECONDS.fullmatch(value):
        message = f"`seconds: {value}` is no whole number of seconds below 100,000"
        yield message, "write `seconds: 300`"


def _wrong_applies(value: str) -> Iterator[_Complaint]:
    if value == COMPILER:
        yield "unknown `applies: compiler`", "write `needs: compiler`"
    elif value != CUDA:
        yield f"unknown `applies: {value}`", nearest(value, (CUDA,))


def _wrong_container(value: str) -> Iterator[_Complaint]:
    if value not in CONTAINERS:
        yield f"unknown `container: {value}`", nearest(value, CONTAINERS)


def _wrong_flaky(value: str) -> Iterator[_Complaint]:
    if not value:
        yield "`flaky` does not say why", "say what may fail by no fault of the image, or remove it"


COMPLAINTS: Final[Mapping[str, Callable[[str], Iterator[_Complaint]]]] = MappingProxyType(
    {
        "needs": _wrong_needs,
        "seconds": _wrong_seconds,
        "applies": _wrong_applies,
        "container": _wrong_container,
        "flaky": _wrong_flaky,
    }
)
