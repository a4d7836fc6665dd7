"""Solving of lock requests by uv."""

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
# Settings of uv that would change an answer without a trace in the lock.
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
    """The result of a finished process."""

    @property
    def returncode(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class RunCommand(Protocol):
    """Runs a command to its end; a failing command raises nothing."""

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
    """The uv binary, an interpreter that it may inspect, the extra wheel folders.

    `stop` ends the processes that `run` has started in other threads, after an interrupt.
    """

    uv: str
    interpreter: str
    environment: Mapping[str, str]
    folders: tuple[Path, ...]
    run: RunCommand
    stop: Callable[[], None]


class NoSolution(BadInput):
    """No set of versions satisfies the request (exit 2); `report` is uv's, in one line."""

    report: str = ""


def solve(
    request: LockRequest, solver: UvSolver, *, prefer: Sequence[Wheel] = ()
) -> tuple[ResolvedWheel, ...]:
    """Return the wheels that satisfy the request; versions in `prefer` stay if possible.

    Raises NoSolution with the conflicting pins, NetworkFailure, or Negative for an unusable answer.
    """
    constrained = violations = frozenset[str]()
    for _ in range(ROUNDS):
        wheels = _run_uv(request, solver, constrained=constrained, prefer=prefer)
        violations = _violations(request, wheels)
        if not violations:
            _check_origin(request, wheels)
            return wheels
        constrained |= violations
    raise NoSolution(
        f"{', '.join(sorted(violations))} cannot be held to the stack's CUDA",
        where=request.where,
        hint="list the package under the stack's `exceptions` with a `why`",
    )


def uv_argv(
    request: LockRequest, solver: UvSolver, *, constraints: Path, overrides: Path, answer: Path
) -> list[str]:
    """Return the command; it reads requirements from stdin and needs no target Python here."""
    folders = solver.folders if request.wants_folders else ()
    return [
        *(solver.uv, "pip", "compile", "-", "--quiet"),
        *("--python", solver.interpreter, "--no-python-downloads"),
        *("--python-version", request.python, "--python-platform", request.platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--constraints", str(constraints)),
        *(("--overrides", str(overrides)) if request.overrides else ()),
        *(word for folder in folders for word in ("--find-links", str(folder))),
        *("--format", "pylock.toml", "--output-file", str(answer)),
    ]


def preferences(wheels: Iterable[Wheel]) -> str:
    """Return a pylock.toml of names and versions, which uv keeps where it can."""
    packages = (
        f'[[packages]]\nname = "{wheel.name}"\nversion = "{wheel.version}"\n' for wheel in wheels
    )
    return "\n".join(('lock-version = "1.0"\ncreated-by = "dlimg"\n', *packages))


def _run_uv(
    request: LockRequest, solver: UvSolver, *, constrained: frozenset[str], prefer: Sequence[Wheel]
) -> tuple[ResolvedWheel, ...]:
    rule = request.cuda_rule
    rules = tuple(rule.constraint(name) for name in sorted(constrained)) if rule else ()
    limits = (*request.constraints, *request.overrides, *rules)
    with tempfile.TemporaryDirectory(prefix="dlimg-lock-") as folder:
        constraints, answer = Path(folder, "constraints.txt"), Path(folder, "pylock.toml")
        constraints.write_text(
            "".join(f"{text}\n" for text in (*request.constraints, *rules)), encoding="utf-8"
        )
        overrides = Path(folder, "overrides.txt")
        overrides.write_text("".join(f"{text}\n" for text in request.overrides), encoding="utf-8")
        if prefer:
            answer.write_text(preferences(prefer), encoding="utf-8")
        ended = solver.run(
            uv_argv(request, solver, constraints=constraints, overrides=overrides, answer=answer),
            env={
                name: value for name, value in solver.environment.items() if name not in MISLEADING
            },
            cwd=Path(folder),
            stdin="".join(f"{text}\n" for text in request.requirements),
            timeout=SECONDS,
        )
        if ended.returncode != 0:
            raise _failure(request, limits, ended)
        text = answer.read_text(encoding="utf-8")
    return parse_pylock(text, python=request.python, platform=request.platform)


def _violations(request: LockRequest, wheels: Sequence[ResolvedWheel]) -> frozenset[str]:
    """Return the names of CUDA packages of another CUDA minor."""
    rule = request.cuda_rule
    if rule is None:
        return frozenset()
    return frozenset(wheel.name for wheel in wheels if rule.refuses(wheel.name, wheel.version))


def _check_origin(request: LockRequest, wheels: Sequence[ResolvedWheel]) -> None:
    """Refuse local wheels without a requirement for them: settings of uv brought them in."""
    if request.wants_folders:
        return
    for wheel in wheels:
        if wheel.local or "+" in wheel.version:
            raise BadInput(
                f"uv took {wheel.name} {wheel.version}, which no requirement asks for",
                where=request.where,
                hint="look for find-links or an extra index in uv's settings (uv.toml, UV_INDEX)",
            )


def _failure(request: LockRequest, limits: Sequence[str], ended: SolverResult) -> Exception:
    output = _single_line(ended.stderr or ended.stdout)
    if _NO_SOLUTION in output:
        return _no_solution(request, limits, output.partition(_NO_SOLUTION)[2])
    if _UNREACHABLE.search(output):
        return NetworkFailure(
            f"the package index cannot be used: {output[:LONGEST_REASON]}",
            where=request.where,
            hint="check the network, the proxy and the index address (UV_DEFAULT_INDEX), then run "
            "it again; finished locks are kept",
        )
    return Negative(
        f"uv failed with exit code {ended.returncode}: {output[:LONGEST_REASON]}",
        where=request.where,
    )


def _no_solution(request: LockRequest, limits: Sequence[str], output: str) -> NoSolution:
    reason = output.partition("cause: ")[2] or output
    conflicts = [text for text in limits if _mentions(reason, text)]
    blame = f"; in the way: {', '.join(conflicts)}" if conflicts else ""
    if conflicts and request.cuda_rule:
        hint = (
            "choose other versions or another stack, or list a package that need not follow "
            "under the stack's `exceptions` with a `why`"
        )
    else:
        hint = "correct the version, or exclude the cell with a `why`"
    failure = NoSolution(
        f"no versions fit together{blame}; uv says: {reason[:LONGEST_REASON]}",
        where=request.where,
        hint=hint,
    )
    failure.report = reason
    return failure


def _mentions(reason: str, constraint: str) -> bool:
    """Return whether uv's error message names this constraint."""
    name, _, version = constraint.partition("==")
    return (
        re.search(rf"(?<![\w-]){re.escape(name)}[^\s,]*[=<>]=?{re.escape(version)}", reason)
        is not None
    )


def _single_line(text: str) -> str:
    """Return uv's message as one line, without environment markers."""
    joined = " ".join(text.split())
    return re.sub(r"\{[^}]*\}", "", joined).removeprefix("error: ")
