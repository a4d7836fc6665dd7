"""Child processes: the one module that starts any.

An argument list comes in; how the child ended and what it said comes out as an `ProcessResult`.
Every child leads a process group of its own, so that an interrupt reaches dlimg first and
the whole group has ended before the interrupt goes on.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final, TypeAlias

from dlimg.errors import Negative, NoEngine

MISSING: Final = 127
TIMED_OUT: Final = 124
GRACE: Final = 5.0  # seconds between asking a child to end and asking harder
TAIL_LINES: Final = 15

# The shell puts the daemon into the background and ends at once, so the daemon belongs to
# init: its end leaves no zombie here, and its life does not hang on ours.
_BACKGROUND: Final = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'

Child: TypeAlias = subprocess.Popen[str]

_RUNNING: Final[set[Child]] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """How a child ended: 127 when the program is missing, 124 when its time was up."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def tail(self) -> str:
        """The last lines of what it said on stderr, or else on stdout."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-TAIL_LINES:])


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """What the command did; never raises for a failure, a missing program or a timeout."""
    return run_streaming(argv, on_line=_ignore, env=env, cwd=cwd, stdin=stdin, timeout=timeout)


def run_checked(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """What the command did; `Negative` with the end of what it said when it failed."""
    outcome = run(argv, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
    if outcome.returncode != 0:
        raise Negative(failure_text(outcome))
    return outcome


def run_streaming(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """What the command did; every line of its stderr is handed to `on_line` as it arrives."""
    command = tuple(argv)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        child = open_child(command, env=env, cwd=cwd, stdin=stdin)
    except OSError as error:
        return ProcessResult(argv=command, returncode=MISSING, stdout="", stderr=str(error))
    printed: list[str] = []
    said: list[str] = []
    lines = SimpleQueue[str | None]()
    reader = _attend(child, stdin, printed, lines)
    _RUNNING.add(child)
    try:
        for line in _arriving(lines, deadline):
            said.append(line)
            on_line(line.rstrip("\n"))
        returncode = child.wait(_left(deadline))
        reader.join(_left(deadline))
    except (TimeoutError, subprocess.TimeoutExpired):
        end_group(child)
        returncode = TIMED_OUT
    except BaseException:
        end_group(child)
        raise
    finally:
        _RUNNING.discard(child)
    return ProcessResult(
        argv=command, returncode=returncode, stdout="".join(printed), stderr="".join(said)
    )


def end_children() -> None:
    """End every child that runs for another thread, when an interrupt has reached this one."""
    for child in tuple(_RUNNING):
        end_group(child)


def start_daemon(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """The process id of a daemon in a session of its own, whose words go to the log.

    Raises `NoEngine` when not even a shell could be started.
    """
    outcome = run(["/bin/sh", "-c", _BACKGROUND, "sh", str(log), *argv], env=env)
    if outcome.returncode != 0 or not outcome.stdout.strip().isdigit():
        raise NoEngine(failure_text(outcome))
    return int(outcome.stdout)


def failure_text(outcome: ProcessResult) -> str:
    """One message for a failed command: what ran, how it ended, the end of what it said."""
    how = {MISSING: "could not start", TIMED_OUT: "ran out of time"}.get(
        outcome.returncode, f"ended with {outcome.returncode}"
    )
    said = f":\n{outcome.tail}" if outcome.tail else ""
    return f"{shlex.join(outcome.argv)} {how}{said}"


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether it was done within these seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _ignore(_: str) -> None:
    """The listener of a command whose progress nobody follows."""


def open_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: str | None,
) -> Child:
    """A child whose words nobody reads yet; raises OSError when it does not start."""
    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _attend(
    child: Child,
    stdin: str | None,
    printed: list[str],
    lines: SimpleQueue[str | None],
) -> threading.Thread:
    """The thread that reads stdout; others write stdin and queue the lines of stderr."""

    def read_stdout() -> None:
        with child.stdout or contextlib.nullcontext(()) as pipe:
            printed.extend(pipe)

    def read_stderr() -> None:
        with child.stderr or contextlib.nullcontext(()) as pipe:
            for line in pipe:
                lines.put(line)
        lines.put(None)

    def write_stdin() -> None:
        # A child that does not want all of its input is no failure of ours.
        with contextlib.suppress(BrokenPipeError), child.stdin or contextlib.nullcontext() as pipe:
            if pipe is not None:
                pipe.write(stdin or "")

    # Threads, because a child that fills one pipe while we wait on another would hang;
    # daemonic, because a grandchild may keep a pipe open for ever.
    reader = threading.Thread(target=read_stdout, daemon=True)
    for thread in (
        reader,
        threading.Thread(target=read_stderr, daemon=True),
        threading.Thread(target=write_stdin, daemon=True),
    ):
        thread.start()
    return reader


def _arriving(lines: SimpleQueue[str | None], deadline: float | None) -> Iterator[str]:
    """Each line as it comes, until the pipe closes; `TimeoutError` at the deadline."""
    while True:
        try:
            line = lines.get(timeout=_left(deadline))
        except Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield line


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def end_group(child: Child) -> None:
    """End the child and all it started: ask twice, then insist, even if interrupted again."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal_group(child, number)
            if wait_until(lambda: child.poll() is not None, GRACE):
                break
    finally:
        signal_group(child, signal.SIGKILL)
        child.wait()


def signal_group(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child and all it started, as far as they are still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


MOST_OUTPUT: Final = 1_000_000
_PATIENCE: Final = 2.0  # seconds for the last words of a group that is gone
_SIGNAL: Final = 128  # what a shell adds to the number of the signal that ended a command


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How a child ended: `code` is 127 when it did not start, 128 + N when signal N ended it."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    is_late: bool = False


def run_sandboxed(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float
) -> SandboxResult:
    """What became of the command; whatever happens, nothing of its group is left."""
    began = time.monotonic()
    try:
        child = open_child(argv, env=env, cwd=cwd, stdin=None)
    except OSError as error:
        return SandboxResult(code=MISSING, stdout="", stderr=str(error), seconds=0.0)
    words = _StreamTails(child)
    try:
        is_late = not wait_until(lambda: child.poll() is not None, seconds)
    except BaseException:
        end_group(child)
        raise
    if is_late:
        end_group(child)
    signal_group(child, signal.SIGKILL)
    words.wait()
    code = child.returncode
    return SandboxResult(
        code=_SIGNAL - code if code < 0 else code,
        stdout=words.text("stdout"),
        stderr="\n".join(filter(None, (words.text("stderr"), _signal_text(code, is_late)))),
        seconds=time.monotonic() - began,
        is_late=is_late,
    )


def _signal_text(code: int, is_late: bool) -> str:  # noqa: FBT001 - what ended it was we
    """What a person calls the signal that ended a child by itself."""
    if code >= 0 or is_late:
        return ""
    name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
    why = ": this machine may be out of memory" if name == "SIGKILL" else ""
    return f"ended by {name}{why}"


class _StreamTails:
    """The ends of a child's two streams, read while it runs."""

    def __init__(self, child: Child) -> None:
        self._kept = {"stdout": b"", "stderr": b""}
        pipes = {"stdout": child.stdout, "stderr": child.stderr}
        # Daemonic, because one that has left the group may keep a pipe open for ever.
        self._threads = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(_PATIENCE)

    def text(self, name: str) -> str:
        return self._kept[name].decode(errors="replace")

    def _read(self, name: str, pipe: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while part := os.read(pipe.fileno(), 1 << 16):
                self._kept[name] = (self._kept[name] + part)[-MOST_OUTPUT:]


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def command_line(pid: int) -> tuple[str, ...]:
    """The argument list of a running process; nothing when there is none."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def end_process(pid: int, *, patience: float) -> None:
    """End a process that is not our child: ask, wait this many seconds, then insist."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not is_running(pid), seconds):
            return


def mounts_under(folder: Path) -> tuple[Path, ...]:
    """Every mount point below the folder, innermost first."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    # The fifth field, with blanks and the like as octal numbers (man 5 proc).
    points = (line.split()[4] for line in text.splitlines())
    named = (Path(point.encode().decode("unicode_escape")) for point in points)
    return tuple(sorted((p for p in named if folder in p.parents), reverse=True))
