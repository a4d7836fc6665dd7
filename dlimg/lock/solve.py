"""Solving of lock requests by uv."""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.lock.built_wheels import fits_system
from dlimg.lock.folder_wheels import (
    folder_packages,
    hint_without_wheel,
    link_packages,
    named_in,
    requirement_of,
)
from dlimg.lock.pylock import ResolvedWheel, parse_pylock
from dlimg.lock.request import LockRequest
from dlimg.lock.routes import (
    FOLDERS,
    PROJECT_FILE,
    ReachIndex,
    direct_access,
    flat_index,
    index_tables,
    project_file,
    routed_packages,
    with_index,
)
from dlimg.model import Wheel

ROUNDS: Final = 6
SECONDS: Final = 600
LONGEST_REASON: Final = 700
# Settings of uv that choose no versions; all others would change a lock without a trace in it.
_NEUTRAL: Final = re.compile(
    r"UV_((DEFAULT_)?INDEX|INDEX_STRATEGY|INDEX_\w+_(USERNAME|PASSWORD)|NO_CONFIG"
    r"|HTTP_\w+|REQUEST_TIMEOUT|CONCURRENT_\w+|CACHE_DIR|NO_CACHE|SYSTEM_CERTS|NATIVE_TLS"
    r"|INSECURE_HOST|KEYRING_PROVIDER|CREDENTIALS_DIR|LINK_MODE|LOCK_TIMEOUT)"
)
_UNREACHABLE: Final = re.compile(
    r"failed to fetch|error sending request|request failed|dns error|client error"
    r"|timed? ?out|certificate|\b(401|403|407|429|5\d\d)\b",
    re.IGNORECASE,
)
_NO_LOGIN: Final = re.compile(r"\b(401 Unauthorized|403 Forbidden|407 Proxy Auth\w*)")
_DAMAGED: Final = re.compile(r"Failed to extract archive: (?P<file>\S+\.whl)")
_NO_SOLUTION: Final = "No solution found"
_CONSTRAINTS: Final = "constraints.txt"
_OVERRIDES: Final = "overrides.txt"
_ANSWER: Final = "pylock.toml"
_LINKS: Final = "links"
_VERSION_HINT: Final = "correct the version, or exclude the cell with a `why`"


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

    `reach` tells whether an index of the matrix answers; `asked` are the addresses of the others,
    for messages. `stop` ends the processes that `run` has started in other threads, after an
    interrupt.
    """

    uv: str
    interpreter: str
    environment: Mapping[str, str]
    folders: tuple[Path, ...]
    run: RunCommand
    stop: Callable[[], None]
    reach: ReachIndex = direct_access
    asked: tuple[str, ...] = ()


class NoSolution(BadInput):
    """No set of versions satisfies the request (exit 2); `report` is uv's, in one line."""

    report: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """Findings of earlier runs of uv: packages to hold to the CUDA minor, and routed ones.

    `from_folders` are packages that the index has no wheel of. `alone` is true for a question
    about the requirements without what they require.
    """

    constrained: frozenset[str] = frozenset()
    routed: frozenset[str] = frozenset()
    from_folders: frozenset[str] = frozenset()
    alone: bool = False


_NO_ATTEMPT: Final = _Attempt()


def is_passed_to_uv(variable: str) -> bool:
    """Return whether uv gets this variable: those that choose versions are kept from it."""
    return not variable.startswith("UV_") or _NEUTRAL.fullmatch(variable) is not None


def solve(
    request: LockRequest, solver: UvSolver, *, prefer: Sequence[Wheel] = ()
) -> tuple[ResolvedWheel, ...]:
    """Return the wheels that satisfy the request; versions in `prefer` stay if possible.

    Raises NoSolution with the conflicting pins, NetworkFailure, or Negative for an unusable answer.
    """
    attempt = _Attempt(routed=routed_packages(request))
    violations = frozenset[str]()
    for _ in range(ROUNDS):
        try:
            wheels = _run_uv(request, solver, attempt, prefer=prefer)
        except NoSolution as error:
            attempt = _next_attempt(request, solver, attempt, error)
            continue
        missing = routed_packages(request, [wheel.name for wheel in wheels]) - attempt.routed
        violations = _violations(request, wheels)
        if not violations and not missing:
            _check_origin(request, wheels, attempt)
            return wheels
        attempt = replace(
            attempt,
            constrained=attempt.constrained | violations,
            routed=attempt.routed | missing,
        )
    raise NoSolution(
        f"{', '.join(sorted(violations))} cannot be held to the stack's CUDA",
        where=request.where,
        hint="list the package under the stack's `exceptions` with a `why`",
    )


def _next_attempt(
    request: LockRequest, solver: UvSolver, attempt: _Attempt, error: NoSolution
) -> _Attempt:
    """Return another attempt with routed packages and folders' wheels that uv's report names.

    Raises the error if there is none.
    """
    routed = _routed_in(request, error.report) - attempt.routed
    if routed:
        return replace(attempt, routed=attempt.routed | routed)
    packages = folder_packages(request, solver.folders) - attempt.from_folders
    without_wheel = frozenset(
        name for name in named_in(error.report, packages) if not _index_has(request, solver, name)
    )
    if without_wheel and not request.wants_folders:
        return replace(attempt, from_folders=attempt.from_folders | without_wheel)
    raise error


def _index_has(request: LockRequest, solver: UvSolver, name: str) -> bool:
    """Return whether the index has a usable wheel that fits the requirement of a package."""
    question = replace(
        request,
        requirements=(requirement_of(request, name),),
        constraints=(),
        overrides=(),
        cuda_rule=None,
    )
    try:
        _run_uv(question, solver, _Attempt(alone=True, routed=routed_packages(question)), prefer=())
    except NoSolution:
        return False
    return True


def _routed_in(request: LockRequest, text: str) -> frozenset[str]:
    """Return the routed packages that a text names: another package may require them."""
    names = set(re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", text))
    return frozenset(name for index in request.indexes for name in index.packages & names)


def uv_argv(
    request: LockRequest, solver: UvSolver, folder: Path, attempt: _Attempt = _NO_ATTEMPT
) -> list[str]:
    """Return the command, which needs no target Python here.

    It reads requirements from stdin, or those with indexes of their own from a pyproject.toml.
    """
    folders = [path for path in solver.folders if fits_system(path, request.system)]
    links = folders if request.wants_folders else []
    if attempt.from_folders:
        links = [*links, folder / _LINKS]
    return [
        *(solver.uv, "pip", "compile", PROJECT_FILE if attempt.routed else "-", "--quiet"),
        *("--python", solver.interpreter, "--no-python-downloads"),
        *("--python-version", request.python, "--python-platform", request.platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *(("--no-deps",) if attempt.alone else ()),
        *("--constraints", str(folder / _CONSTRAINTS)),
        *(("--overrides", str(folder / _OVERRIDES)) if request.overrides else ()),
        *(word for link in links for word in ("--find-links", str(link))),
        *("--format", "pylock.toml", "--output-file", str(folder / _ANSWER)),
    ]


def preferences(wheels: Iterable[Wheel]) -> str:
    """Return a pylock.toml of names and versions, which uv keeps where it can."""
    packages = (
        f'[[packages]]\nname = "{wheel.name}"\nversion = "{wheel.version}"\n' for wheel in wheels
    )
    return "\n".join(('lock-version = "1.0"\ncreated-by = "dlimg"\n', *packages))


def _run_uv(
    request: LockRequest, solver: UvSolver, attempt: _Attempt, *, prefer: Sequence[Wheel]
) -> tuple[ResolvedWheel, ...]:
    rule = request.cuda_rule
    rules = tuple(rule.constraint(name) for name in sorted(attempt.constrained)) if rule else ()
    limits = (*request.constraints, *request.overrides, *rules)
    with tempfile.TemporaryDirectory(prefix="dlimg-lock-") as name:
        folder = Path(name)
        _write_lines(folder / _CONSTRAINTS, (*request.constraints, *rules))
        _write_lines(folder / _OVERRIDES, request.overrides)
        if attempt.from_folders:
            link_packages(
                attempt.from_folders, solver.folders, folder / _LINKS, system=request.system
            )
        if attempt.routed:
            tables = index_tables(
                request,
                attempt.routed - attempt.from_folders,
                solver.reach,
                folders=solver.folders,
                scratch=folder,
            )
            if attempt.routed & attempt.from_folders:
                tables[FOLDERS] = flat_index(folder / _LINKS)
            project = project_file(request, attempt.routed, tables, attempt.from_folders)
            (folder / PROJECT_FILE).write_text(project, encoding="utf-8")
        if prefer:
            (folder / _ANSWER).write_text(preferences(prefer), encoding="utf-8")
        result = solver.run(
            uv_argv(request, solver, folder, attempt),
            env={
                name: value for name, value in solver.environment.items() if is_passed_to_uv(name)
            },
            cwd=folder,
            stdin="".join(f"{text}\n" for text in request.requirements),
            timeout=SECONDS,
        )
        if result.returncode != 0:
            raise _failure(request, limits, result, solver)
        text = (folder / _ANSWER).read_text(encoding="utf-8")
    wheels = parse_pylock(text, python=request.python, platform=request.platform)
    return tuple(_placed(wheel, request, solver, attempt) for wheel in wheels)


def _placed(
    wheel: ResolvedWheel, request: LockRequest, solver: UvSolver, attempt: _Attempt
) -> ResolvedWheel:
    """Return the wheel with its index, and with its own path if it is from a folder."""
    if wheel.name in attempt.from_folders:
        return with_index(wheel, "", solver.folders)
    if wheel.name in attempt.routed:
        return with_index(wheel, request.index_of(wheel.name), solver.folders)
    return wheel


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _violations(request: LockRequest, wheels: Sequence[ResolvedWheel]) -> frozenset[str]:
    """Return the names of CUDA packages of another CUDA minor."""
    rule = request.cuda_rule
    if rule is None:
        return frozenset()
    return frozenset(wheel.name for wheel in wheels if rule.refuses(wheel.name, wheel.version))


def _check_origin(request: LockRequest, wheels: Sequence[ResolvedWheel], attempt: _Attempt) -> None:
    """Refuse local wheels without a requirement for them: settings of uv brought them in."""
    if request.wants_folders:
        return
    for wheel in wheels:
        if wheel.index or wheel.name in attempt.from_folders:
            continue
        if wheel.local or "+" in wheel.version:
            raise BadInput(
                f"uv took {wheel.name} {wheel.version}, which no requirement asks for",
                where=request.where,
                hint="route the package to its index under `indexes` of the matrix, or look for "
                "an extra index in the settings (UV_INDEX, uv.toml)",
            )


def _failure(
    request: LockRequest, limits: Sequence[str], result: SolverResult, solver: UvSolver
) -> Exception:
    output = _single_line(result.stderr or result.stdout)
    asked = f" {', '.join(solver.asked)}" if solver.asked else ""
    if _NO_SOLUTION in output and not _NO_LOGIN.search(output):
        return _no_solution(request, limits, output.partition(_NO_SOLUTION)[2], asked)
    if _NO_LOGIN.search(output):
        return NetworkFailure(
            f"the package index{asked} wants a login: {output[:LONGEST_REASON]}",
            where=request.where,
            hint="set UV_INDEX_<NAME>_USERNAME and UV_INDEX_<NAME>_PASSWORD for an index with a "
            "name, or put name and password into ~/.netrc or the index address",
        )
    if _UNREACHABLE.search(output):
        return NetworkFailure(
            f"the package index{asked} cannot be used: {output[:LONGEST_REASON]}",
            where=request.where,
            hint="check the network, the proxy and the index address (UV_DEFAULT_INDEX), then run "
            "it again; finished locks are kept",
        )
    damaged = _DAMAGED.search(output)
    hint = f"{damaged['file']} is damaged: get it again, or remove it" if damaged else ""
    return Negative(
        f"uv failed with exit code {result.returncode}: {output[:LONGEST_REASON]}",
        where=request.where,
        hint=hint,
    )


def _no_solution(
    request: LockRequest, limits: Sequence[str], output: str, asked: str
) -> NoSolution:
    reason = output.partition("cause: ")[2] or output
    conflicts = [text for text in limits if _mentions(reason, text)]
    blame = f"; in the way: {', '.join(conflicts)}" if conflicts else ""
    bounds = [text for text in conflicts if "==" not in text]
    if bounds:
        hint = (
            f"the framework's release needs {', '.join(bounds)} and does not declare it "
            "(`dlimg why` of the release has the source): ask for versions within it"
        )
    elif conflicts and request.cuda_rule:
        hint = (
            "choose other versions or another stack, or list a package that need not follow "
            "under the stack's `exceptions` with a `why`"
        )
    else:
        hint = hint_without_wheel(reason, request.name) or _VERSION_HINT
    indexes = _of_indexes(request, reason, asked)
    failure = NoSolution(
        f"no versions fit together{blame}; uv says: {reason[:LONGEST_REASON]}{indexes}",
        where=request.where,
        hint=hint,
    )
    failure.report = reason
    return failure


def _of_indexes(request: LockRequest, reason: str, asked: str) -> str:
    """Return the addresses that were asked: the default ones, and those of routed packages."""
    routed = [
        f" {name} from {index.name}, {index.url}, or a folder in its place"
        for index in request.indexes
        for name in sorted(index.packages & _routed_in(request, reason))
    ]
    addresses = [*([asked] if asked else []), *routed]
    return f" (index:{';'.join(addresses)})" if addresses else ""


def _mentions(reason: str, constraint: str) -> bool:
    """Return whether uv's error message names this constraint."""
    name, is_pin, version = constraint.partition("==")
    if not is_pin:
        return re.search(rf"(?<![\w-]){re.escape(constraint)}(?![\w.])", reason) is not None
    return (
        re.search(rf"(?<![\w-]){re.escape(name)}[^\s,]*[=<>]=?{re.escape(version)}", reason)
        is not None
    )


def _single_line(text: str) -> str:
    """Return uv's message as one line, without environment markers."""
    joined = " ".join(text.split())
    return re.sub(r"\{[^}]*\}", "", joined).removeprefix("error: ")
