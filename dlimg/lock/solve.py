"""The one question that goes out: a `LockRequest` comes in, the wheels that uv chose come out."""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.lock.pylock import ResolvedWheel, parse_pylock
from dlimg.lock.request import LockRequest
from dlimg.model import Wheel

ROUNDS: Final = 4
SECONDS: Final = 600
LONGEST_REASON: Final = 700
# uv's own settings that would change an answer without a trace in the lock.
MISLEADING: Final = frozenset(
    {
        "UV_FIND_LINKS",
        "UV_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_EXCLUDE",
        "UV_NO_INDEX",
        "UV_PRERELEASE",
        "UV_RESOLUTION",
        "UV_TORCH_BACKEND",
        "UV_WORKING_DIR",
        "UV_PROJECT",
    }
)
_UNREACHABLE: Final = re.compile(
    r"failed to fetch|error sending request|request failed|dns error|client error"
    r"|timed? ?out|certificate|\b(401|403|407|429|5\d\d)\b",
    re.IGNORECASE,
)
_NO_SOLUTION: Final = "No solution found"


class SolverResult(Protocol):
    """How a child process ended."""

    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class RunCommand(Protocol):
    """Runs a command to its end; never raises because the command failed."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float | None = None,
    ) -> SolverResult: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UvSolver:
    """How to ask uv: its binary, an interpreter it may look at, the extra wheel folders.

    `stop` ends what `run` has running in other threads, when an interrupt came.
    """

    uv: str
    interpreter: str
    environment: Mapping[str, str]
    folders: tuple[Path, ...]
    run: RunCommand
    stop: Callable[[], None]


class NoSolution(BadInput):
    """No set of versions answers the question (exit 2)."""


def solve(
    question: LockRequest, solver: UvSolver, *, prefer: Sequence[Wheel] = ()
) -> tuple[ResolvedWheel, ...]:
    """The wheels that answer the question; versions in `prefer` stay where they can.

    Raises NoSolution naming the pins in the way, NetworkFailure, or Negative for an answer that
    cannot be used.
    """
    held = loose = frozenset[str]()
    for _ in range(ROUNDS):
        found = _ask(question, solver, held=held, prefer=prefer)
        loose = _refused(question, found)
        if not loose:
            _refuse_strangers(question, found)
            return found
        held |= loose
    raise NoSolution(
        f"{', '.join(sorted(loose))} cannot be held to the stack's CUDA",
        where=question.where,
        hint="list the package under the stack's `exceptions` with a `why`",
    )


def uv_argv(
    question: LockRequest, solver: UvSolver, *, constraints: Path, answer: Path
) -> list[str]:
    """The command; requirements come on stdin, neither Python nor platform need be here."""
    folders = solver.folders if question.wants_folders else ()
    return [
        *(solver.uv, "pip", "compile", "-", "--quiet"),
        *("--python", solver.interpreter, "--no-python-downloads"),
        *("--python-version", question.python, "--python-platform", question.platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--constraints", str(constraints)),
        *(word for folder in folders for word in ("--find-links", str(folder))),
        *("--format", "pylock.toml", "--output-file", str(answer)),
    ]


def preferences(wheels: Iterable[Wheel]) -> str:
    """A pylock.toml of names and versions: uv keeps what an earlier answer says if it can."""
    packages = (
        f'[[packages]]\nname = "{wheel.name}"\nversion = "{wheel.version}"\n' for wheel in wheels
    )
    return "\n".join(('lock-version = "1.0"\ncreated-by = "dlimg"\n', *packages))


def _ask(
    question: LockRequest, solver: UvSolver, *, held: frozenset[str], prefer: Sequence[Wheel]
) -> tuple[ResolvedWheel, ...]:
    cap = question.cap
    caps = tuple(cap.constraint(name) for name in sorted(held)) if cap else ()
    limits = (*question.constraints, *caps)
    with tempfile.TemporaryDirectory(prefix="dlimg-lock-") as folder:
        constraints, answer = Path(folder, "constraints.txt"), Path(folder, "pylock.toml")
        constraints.write_text("".join(f"{text}\n" for text in limits), encoding="utf-8")
        if prefer:
            answer.write_text(preferences(prefer), encoding="utf-8")
        ended = solver.run(
            uv_argv(question, solver, constraints=constraints, answer=answer),
            env={
                name: value for name, value in solver.environment.items() if name not in MISLEADING
            },
            cwd=Path(folder),
            stdin="".join(f"{text}\n" for text in question.requirements),
            timeout=SECONDS,
        )
        if ended.returncode != 0:
            raise _failure(question, limits, ended)
        text = answer.read_text(encoding="utf-8")
    return parse_pylock(text, python=question.python, platform=question.platform)


def _refused(question: LockRequest, found: Sequence[ResolvedWheel]) -> frozenset[str]:
    cap = question.cap
    if cap is None:
        return frozenset()
    return frozenset(wheel.name for wheel in found if cap.refuses(wheel.name, wheel.version))


def _refuse_strangers(question: LockRequest, found: Sequence[ResolvedWheel]) -> None:
    """A local version or folder that nobody asked for comes from settings of uv (D10)."""
    if question.wants_folders:
        return
    for wheel in found:
        if wheel.local or "+" in wheel.version:
            raise BadInput(
                f"uv took {wheel.name} {wheel.version}, which no requirement asks for",
                where=question.where,
                hint="look for find-links or an extra index in uv's settings (uv.toml, UV_INDEX)",
            )


def _failure(question: LockRequest, limits: Sequence[str], ended: SolverResult) -> Exception:
    said = _flat(ended.stderr or ended.stdout)
    if _NO_SOLUTION in said:
        return _no_solution(question, limits, said.partition(_NO_SOLUTION)[2])
    if _UNREACHABLE.search(said):
        return NetworkFailure(
            f"the package index cannot be used: {said[:LONGEST_REASON]}",
            where=question.where,
            hint="check the network, the proxy and the index address (UV_DEFAULT_INDEX), then run "
            "it again; finished locks are kept",
        )
    return Negative(
        f"uv failed with exit code {ended.returncode}: {said[:LONGEST_REASON]}",
        where=question.where,
    )


def _no_solution(question: LockRequest, limits: Sequence[str], said: str) -> NoSolution:
    reason = said.partition("cause: ")[2] or said
    in_the_way = [text for text in limits if _mentions(reason, text)]
    blame = f"; in the way: {', '.join(in_the_way)}" if in_the_way else ""
    if in_the_way and question.cap:
        hint = (
            "choose other versions or another stack, or list a package that need not follow "
            "under the stack's `exceptions` with a `why`"
        )
    else:
        hint = "correct the version, or exclude the cell with a `why`"
    return NoSolution(
        f"no versions fit together{blame}; uv says: {reason[:LONGEST_REASON]}",
        where=question.where,
        hint=hint,
    )


def _mentions(reason: str, constraint: str) -> bool:
    """Whether uv's reason speaks about this constraint's package."""
    name, _, version = constraint.partition("==")
    return (
        re.search(rf"(?<![\w-]){re.escape(name)}[^\s,]*[=<>]=?{re.escape(version)}", reason)
        is not None
    )


def _flat(text: str) -> str:
    """One line without uv's line breaks and with its markers on Linux left out."""
    joined = " ".join(text.split())
    return re.sub(r"\{[^}]*\}", "", joined).removeprefix("error: ")
