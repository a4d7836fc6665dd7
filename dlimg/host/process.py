"""Child processes; no other module starts any.

Every child leads a process group of its own, so that an interrupt reaches dlimg first, and dlimg
ends the whole group before the interrupt goes on.
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
GRACE: Final = 5.0  # seconds between two signals to end a child
TAIL_LINES: Final = 15
_KILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no other

# The shell puts the daemon into the background and ends at once, so init becomes its parent:
# its end leaves no zombie here, and it goes on when dlimg ends.
_BACKGROUND: Final = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'

Child: TypeAlias = subprocess.Popen[str]
PipeChild: TypeAlias = subprocess.Popen[bytes]

EndChild: TypeAlias = Callable[[Child], None]

# The children that run, each with the function that ends it after an interrupt.
_RUNNING: Final[dict[Child, EndChild]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """The output and exit code of a child: 127 for a missing program, 124 after a timeout."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def tail(self) -> str:
        """The last lines of stderr, or of stdout when stderr is empty."""
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
    """Run a command; a failure, a missing program or a timeout raises nothing."""
    return run_streaming(argv, on_line=_ignore, env=env, cwd=cwd, stdin=stdin, timeout=timeout)


def run_until_interrupted(
    argv: Sequence[str], *, env: Mapping[str, str], end: EndChild
) -> ProcessResult:
    """Run a command as `run` does; an interrupt calls `end`, which has to end the child."""
    command = tuple(argv)
    try:
        child = open_child(command, env=env, cwd=None, stdin=None)
    except OSError as error:
        return ProcessResult(argv=command, returncode=MISSING, stdout="", stderr=str(error))
    _RUNNING[child] = end
    try:
        stdout, stderr = child.communicate()
    except BaseException:
        end(child)
        raise
    finally:
        _RUNNING.pop(child, None)
    return ProcessResult(argv=command, returncode=child.returncode, stdout=stdout, stderr=stderr)


def run_checked(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """Run a command; raise `Negative` with the end of its output when it fails."""
    completed = run(argv, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
    if completed.returncode != 0:
        raise Negative(failure_text(completed))
    return completed


def run_streaming(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> ProcessResult:
    """Run a command and call `on_line` with each line of its stderr as it arrives."""
    command = tuple(argv)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        child = open_child(command, env=env, cwd=cwd, stdin=stdin)
    except OSError as error:
        return ProcessResult(argv=command, returncode=MISSING, stdout="", stderr=str(error))
    stdout: list[str] = []
    stderr: list[str] = []
    lines = SimpleQueue[str | None]()
    reader = _start_threads(child, stdin, stdout, lines)
    _RUNNING[child] = end_group
    try:
        for line in _receive_lines(lines, deadline):
            stderr.append(line)
            on_line(line.rstrip("\n"))
        returncode = child.wait(_seconds_left(deadline))
        reader.join(_seconds_left(deadline))
    except (TimeoutError, subprocess.TimeoutExpired):
        end_group(child)
        returncode = TIMED_OUT
    except BaseException:
        end_group(child)
        raise
    finally:
        _RUNNING.pop(child, None)
    return ProcessResult(
        argv=command, returncode=returncode, stdout="".join(stdout), stderr="".join(stderr)
    )


def end_children() -> None:
    """End every child that another thread waits for, after an interrupt in this thread."""
    for child, end in tuple(_RUNNING.items()):
        end(child)


def start_daemon(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """Start a daemon in a session of its own, with its output in `log`; return its process id.

    Raises `NoEngine` when no shell can be started.
    """
    completed = run(["/bin/sh", "-c", _BACKGROUND, "sh", str(log), *argv], env=env)
    if completed.returncode != 0 or not completed.stdout.strip().isdigit():
        raise NoEngine(failure_text(completed))
    return int(completed.stdout)


def run_in_terminal(argv: Sequence[str], *, env: Mapping[str, str]) -> int:
    """Run a command that reads and writes this terminal itself; return its exit code.

    Signals of the terminal reach the command, and not this program.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv, env=env)
    except OSError as error:
        raise NoEngine(f"{argv[0]} does not start: {error.strerror}") from error
    finally:
        signal.signal(signal.SIGINT, before)


def failure_text(completed: ProcessResult) -> str:
    """Return a message for a failed command: its arguments, exit code and last output."""
    outcome_text = {MISSING: "could not start", TIMED_OUT: "timed out"}.get(
        completed.returncode, f"ended with {completed.returncode}"
    )
    output = f":\n{completed.tail}" if completed.tail else ""
    return f"{shlex.join(completed.argv)} {outcome_text}{output}"


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Return whether `done` became true within these seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _ignore(_: str) -> None:
    """Ignore a line of output."""


def open_child(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stdin: str | None,
) -> Child:
    """Start a child with pipes that nothing reads yet; raise OSError when it does not start."""
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


def _start_threads(
    child: Child,
    stdin: str | None,
    stdout: list[str],
    lines: SimpleQueue[str | None],
) -> threading.Thread:
    """Start threads for the pipes; return the one for stdout. Lines of stderr are queued."""

    def read_stdout() -> None:
        with child.stdout or contextlib.nullcontext(()) as pipe:
            stdout.extend(pipe)

    def read_stderr() -> None:
        with child.stderr or contextlib.nullcontext(()) as pipe:
            for line in pipe:
                lines.put(line)
        lines.put(None)

    def write_stdin() -> None:
        # A child may end before it has read all of its input.
        with contextlib.suppress(BrokenPipeError), child.stdin or contextlib.nullcontext() as pipe:
            if pipe is not None:
                pipe.write(stdin or "")

    # With one thread, a child that fills one pipe while we wait on another would hang. The threads
    # are daemonic, because a grandchild may keep a pipe open for ever.
    reader = threading.Thread(target=read_stdout, daemon=True)
    for thread in (
        reader,
        threading.Thread(target=read_stderr, daemon=True),
        threading.Thread(target=write_stdin, daemon=True),
    ):
        thread.start()
    return reader


def _receive_lines(lines: SimpleQueue[str | None], deadline: float | None) -> Iterator[str]:
    """Yield each line as it comes, until the pipe closes; raise `TimeoutError` at the deadline."""
    while True:
        try:
            line = lines.get(timeout=_seconds_left(deadline))
        except Empty:
            raise TimeoutError from None
        if line is None:
            return
        yield line


def _seconds_left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def end_group(child: Child) -> None:
    """End the child and its group: SIGINT, SIGTERM, then SIGKILL, even if interrupted again."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal_group(child, number)
            if wait_until(lambda: child.poll() is not None, GRACE):
                break
    finally:
        signal_group(child, _KILL)
        child.wait()


def signal_group(child: Child, number: signal.Signals) -> None:
    """Send a signal to the child's process group, if it still exists."""
    if not hasattr(os, "killpg"):  # Windows, which has no groups
        child.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def open_pipe(argv: Sequence[str], *, env: Mapping[str, str], reads: bool = False) -> PipeChild:
    """Start a child whose output is read as bytes; one that `reads` has an open input.

    Raises NoEngine when it does not start.
    """
    try:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise NoEngine(f"{argv[0]} does not start: {error.strerror}") from error


MOST_OUTPUT: Final = 1_000_000
_PIPE_SECONDS: Final = 2.0  # to read the last output of a group that has ended
_SIGNAL: Final = 128  # a shell's exit code is this plus the number of the signal


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """The output of a child; `code` is 127 when it did not start, 128 + N after signal N."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    is_late: bool = False


def run_sandboxed(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float
) -> SandboxResult:
    """Run a command for at most these seconds; nothing of its process group is left."""
    began = time.monotonic()
    try:
        child = open_child(argv, env=env, cwd=cwd, stdin=None)
    except OSError as error:
        return SandboxResult(code=MISSING, stdout="", stderr=str(error), seconds=0.0)
    tails = _StreamTails(child)
    try:
        is_late = not wait_until(lambda: child.poll() is not None, seconds)
    except BaseException:
        end_group(child)
        raise
    if is_late:
        end_group(child)
    signal_group(child, signal.SIGKILL)
    tails.wait()
    code = child.returncode
    return SandboxResult(
        code=_SIGNAL - code if code < 0 else code,
        stdout=tails.text("stdout"),
        stderr="\n".join(filter(None, (tails.text("stderr"), _signal_text(code, is_late=is_late)))),
        seconds=time.monotonic() - began,
        is_late=is_late,
    )


def _signal_text(code: int, *, is_late: bool) -> str:
    """Return which signal ended a child; empty when it was ours, or none."""
    if code >= 0 or is_late:
        return ""
    name = next((number.name for number in signal.Signals if number == -code), f"signal {-code}")
    why = ": this machine may be out of memory" if name == "SIGKILL" else ""
    return f"ended by {name}{why}"


class _StreamTails:
    """The ends of a child's stdout and stderr, read while it runs."""

    def __init__(self, child: Child) -> None:
        self._tails = {"stdout": b"", "stderr": b""}
        pipes = {"stdout": child.stdout, "stderr": child.stderr}
        # Daemonic, because a process that has left the group may keep a pipe open for ever.
        self._threads = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(_PIPE_SECONDS)

    def text(self, name: str) -> str:
        return self._tails[name].decode(errors="replace")

    def _read(self, name: str, pipe: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                self._tails[name] = (self._tails[name] + chunk)[-MOST_OUTPUT:]


def is_running(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def command_line(pid: int) -> tuple[str, ...]:
    """Return the argument list of a running process; empty without such a process."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def end_process(pid: int, *, patience: float) -> None:
    """End a process that is not our child: SIGTERM, and SIGKILL after `patience` seconds."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not is_running(pid), seconds):
            return


def mounts_under(folder: Path) -> tuple[Path, ...]:
    """Return every mount point below the folder, innermost first."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    # The fifth field; spaces and other characters are octal escapes (man 5 proc).
    points = (line.split()[4] for line in text.splitlines())
    paths = (Path(point.encode().decode("unicode_escape")) for point in points)
    return tuple(sorted((path for path in paths if folder in path.parents), reverse=True))
