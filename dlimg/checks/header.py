"""The header of a check script: what it proves, what it needs, and how it runs. Pure."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dlimg.checks.verdicts import GPU, TWO_GPUS
from dlimg.errors import BadInput, Problem, nearest
from dlimg.model import OLD_FLAVOURS, Flavour

COMPILER: Final = "compiler"
NETWORK: Final = "network"
IMAGE: Final = "image"
NOTHING: Final = "nothing"
# An adapter (framework.py), and the requirements of the framework for compiling.
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
    *(FLAVOUR + flavour for flavour in Flavour),
)
KEYS: Final = ("needs", "seconds", "applies", "container", "flaky", "alone")
SECONDS: Final = re.compile(r"[1-9][0-9]{0,4}")
HEADER_LINE: Final = re.compile(r"^([a-z]+):\s*(.*)$")
HINT: Final = "docs/checks.md shows the header of a check"

# Names of the last release, which this one still reads, with a notice.
RENAMED_NEEDS: Final[Mapping[str, str]] = MappingProxyType(
    {FLAVOUR + old: FLAVOUR + new for old, new in OLD_FLAVOURS.items()}
)
_RENAMED_HINT: Final = "the next release does not know the old name"

# A message and a hint.
_Complaint = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHeader:
    """The declarations of a check's docstring; `applies` is empty for every image.

    `container` is empty for the default kind, `flaky` is the reason why the check may fail
    although the image is right, `alone` the reason why nothing may run beside it. `notices` are
    needs that have another name now.
    """

    proves: str
    needs: frozenset[str]
    seconds: int
    applies: str
    container: str
    flaky: str
    alone: str = ""
    notices: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One `key: value` of a header, and its place."""

    key: str
    value: str
    where: str


def parse_header(text: str, path: str) -> CheckHeader:
    """Parse the docstring of a script; raises BadInput with every invalid line."""
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
        alone=values.get("alone", ""),
        notices=tuple(
            Problem(
                message=f"the need `{need}` is now called `{RENAMED_NEEDS[need]}`",
                where=line.where,
                hint=_RENAMED_HINT,
            )
            for line in lines
            if line.key == "needs"
            for need in _names(line.value)
            if need in RENAMED_NEEDS
        ),
    )


def _names(value: str) -> list[str]:
    """Return the comma-separated names of a line."""
    return [" ".join(part.split()) for part in value.split(",")]


def _split(value: str) -> list[str]:
    """Return the comma-separated needs, former names as those of today."""
    return [RENAMED_NEEDS.get(need, need) for need in _names(value)]


def _needs(value: str) -> frozenset[str]:
    """Return the needs of a valid line; two GPUs include one."""
    needs = frozenset(_split(value)) - {NOTHING}
    return needs | {GPU} if TWO_GPUS in needs else needs


def _docstring(text: str, path: str) -> tuple[str, int]:
    """Return the docstring as written, and the line where it begins."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BadInput(f"this is not valid Python: {error}", where=f"{path}:{line}") from error
    match tree.body[:1]:
        case [ast.Expr(value=ast.Constant(value=str(docstring), lineno=line))]:
            return docstring, line
        case _:
            raise BadInput("a check must begin with a docstring", where=f"{path}:1", hint=HINT)


def _lines(docstring: str, path: str, first: int) -> Iterator[_Line]:
    for number, line in enumerate(docstring.split("\n"), first):
        match = HEADER_LINE.match(line.strip())
        if match:
            yield _Line(key=match[1], value=match[2].strip(), where=f"{path}:{number}")


def _line_problems(lines: list[_Line]) -> Iterator[Problem]:
    seen: set[str] = set()
    for line in lines:
        complaints = [(f"`{line.key}` occurs twice", "keep one of them")]
        if line.key not in seen:
            complaints = list(_complaints(line))
        seen.add(line.key)
        for message, hint in complaints:
            yield Problem(message=message, where=line.where, hint=hint)


def _complaints(line: _Line) -> Iterator[_Complaint]:
    if line.key in _CHECKS:
        yield from _CHECKS[line.key](line.value)
    else:
        yield f"unknown line `{line.key}:` in a check's header", nearest(line.key, KEYS)


def _check_needs(value: str) -> Iterator[_Complaint]:
    needs = _split(value)
    for need in needs:
        if need not in NEEDS:
            yield f"unknown need `{need}`", nearest(need, NEEDS)
    for need, times in Counter(needs).items():
        if times > 1:
            yield f"`needs` names `{need}` twice", "keep one of them"
    if NOTHING in needs and len(set(needs)) > 1:
        yield f"`needs` names `{NOTHING}` and something else", f"leave `{NOTHING}` out"
    if len({need for need in needs if need.startswith(FLAVOUR)}) > 1:
        yield "`needs` names two flavours, but an image has one", "write a check for each"


def _check_seconds(value: str) -> Iterator[_Complaint]:
    if not SECONDS.fullmatch(value):
        message = f"`seconds: {value}` is not a whole number of seconds below 100,000"
        yield message, "write `seconds: 300`"


def _check_applies(value: str) -> Iterator[_Complaint]:
    if value == COMPILER:
        yield "unknown `applies: compiler`", "write `needs: compiler`"
    elif value != CUDA:
        yield f"unknown `applies: {value}`", nearest(value, (CUDA,))


def _check_container(value: str) -> Iterator[_Complaint]:
    if value not in CONTAINERS:
        yield f"unknown `container: {value}`", nearest(value, CONTAINERS)


def _check_flaky(value: str) -> Iterator[_Complaint]:
    if not value:
        yield (
            "`flaky` gives no reason",
            "name what may fail although the image is right, or remove it",
        )


def _check_alone(value: str) -> Iterator[_Complaint]:
    if not value:
        yield (
            "`alone` gives no reason",
            "name what the check measures that others would disturb, or remove it",
        )


_CHECKS: Final[Mapping[str, Callable[[str], Iterator[_Complaint]]]] = MappingProxyType(
    {
        "needs": _check_needs,
        "seconds": _check_seconds,
        "applies": _check_applies,
        "container": _check_container,
        "flaky": _check_flaky,
        "alone": _check_alone,
    }
)
