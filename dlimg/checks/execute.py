"""One check in a running container: it ends, by itself or by force, and we know how."""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.containers import Container

from dlimg.checks.completion import has_ended, judged_by_end, new_word, python_argv
from dlimg.checks.header import AS_ROOT
from dlimg.checks.script_files import WORK
from dlimg.checks.verdicts import Ending, ScriptResult
from dlimg.model import Check

KILL_SECONDS: Final = 5

# Root's checks see the image as it was built: the start hook of `python` would first bring the
# user's environment up to date, and hide what was changed in it.
_AS_BUILT_SCRIPT: Final = """\
interpreter=/usr/local/lib/dlimg/python
shift
[ ! -x "$interpreter" ] || exec "$interpreter" -E -s -S "$@"
exec python "$@"
"""
_AS_BUILT: Final = ("sh", "-c", _AS_BUILT_SCRIPT, "sh")
_MOST_OUTPUT: Final = 1_000_000
# How often the engine is asked whether a command that says nothing is still there.
_POLL_SECONDS: Final = 1.0
_OUT_OF_TIME: Final = 124
_KILLED: Final = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    """A running container, what the checks in it are told, and its limits.

    `patience` is how many seconds longer than its own limit a check may take to end.
    """

    container: Container
    api: Any
    environment: Mapping[str, str]
    memory: int
    patience: float


def check_argv(check: Check, word: str) -> list[str]:
    """The command that runs the check's script to its last word, with a time limit of its own."""
    limit = ["timeout", "-k", str(KILL_SECONDS), str(check.seconds)]
    command = python_argv("python", check.path, word)
    return [*limit, *(_AS_BUILT if check.container == AS_ROOT else ()), *command]


def first_environment(container: Container) -> dict[str, str]:
    """The environment of the container's first process.

    What a CDI device adds to it is not passed on to a command that is run in there later.
    """
    answer: Any = container.exec_run(["cat", "/proc/1/environ"])
    entries = answer.output.decode(errors="replace").split("\0")
    pairs = (entry.partition("=") for entry in entries)
    return {name: text for name, equals, text in pairs if equals}


def run_check(there: RunningContainer, check: Check) -> ScriptResult:
    """How the script ended; whatever it does, it does so in time."""
    began, word = time.monotonic(), new_word()
    call = _Call(there, check_argv(check, word))
    is_over = call.wait(check.seconds + KILL_SECONDS + there.patience)
    if not is_over:
        _kill(there.container)
        call.wait(there.patience)
    seconds = time.monotonic() - began
    code = call.code() if is_over else _KILLED
    is_late = not is_over or seconds >= check.seconds
    if code == 0:
        call.listen(word, there.patience)
    ending = _ending(_state(there), code, is_late=is_late)
    ran = ScriptResult(
        code=code,
        stdout=call.stdout,
        stderr=call.stderr,
        seconds=seconds,
        ending=ending,
        limit=_limit_text(ending, check, there),
    )
    return judged_by_end(ran, word)


def is_clean(there: RunningContainer) -> bool:
    """Whether the container still runs, and nothing in it but its first process."""
    state = _state(there)
    if not state.get("Running") or state.get("OOMKilled"):
        return False
    # The engine is asked, because where processes have run out no command runs in there.
    counted = there.api.stats(there.container.id, stream=False, one_shot=True)
    return int((counted.get("pids_stats") or {}).get("current") or 1) == 1


def _state(there: RunningContainer) -> Mapping[str, Any]:
    state: Mapping[str, Any] = there.api.inspect_container(there.container.id)["State"]
    return state


def _ending(state: Mapping[str, Any], code: int, *, is_late: bool) -> Ending:
    if code != 0 and state.get("OOMKilled"):
        return "out of memory"
    if is_late and code in (_OUT_OF_TIME, _KILLED):
        return "out of time"
    return "exited" if state.get("Running") else "without its container"


def _limit_text(ending: Ending, check: Check, there: RunningContainer) -> str:
    if ending == "out of memory":
        return f"{there.memory / 1e9:.1f} GB"
    return f"{check.seconds} s"


def _kill(container: Container) -> None:
    # One that has died by itself in between is as good as killed.
    with contextlib.suppress(docker.errors.APIError):
        container.kill()


class _Call:
    """A command that runs in a container while a thread of ours collects what it prints."""

    def __init__(self, there: RunningContainer, argv: Sequence[str]) -> None:
        self._api = there.api
        self._id = self._api.exec_create(
            there.container.id, list(argv), environment=dict(there.environment), workdir=WORK
        )["Id"]
        self._printed = {"stdout": bytearray(), "stderr": bytearray()}
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it ended within these seconds.

        Its output is no sign of that: the command may have closed it and stay, or have left
        another one behind that holds it open.
        """
        deadline = time.monotonic() + seconds
        self._thread.join(min(seconds, _POLL_SECONDS))
        while self._runs():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._thread.is_alive():
                self._thread.join(min(left, _POLL_SECONDS))
            else:
                time.sleep(min(left, _POLL_SECONDS / 10))
        self._thread.join(_POLL_SECONDS)  # what it printed last may still be on its way
        return True

    def listen(self, word: str, seconds: float) -> None:
        """Wait for a last word that is still on its way, as long as there is somebody to hear."""
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and not has_ended(self.stdout, word):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._thread.join(min(left, _POLL_SECONDS))

    def _runs(self) -> bool:
        about = self._api.exec_inspect(self._id)
        # Before it has begun it does not run either, and has no exit code yet.
        return bool(about["Running"]) or (about["ExitCode"] is None and self._thread.is_alive())

    def code(self) -> int:
        """The exit code; that of a killed process where the engine does not know it."""
        code = self._api.exec_inspect(self._id)["ExitCode"]
        return _KILLED if code is None else int(code)

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    def _text(self, name: str) -> str:
        return bytes(self._printed[name][-_MOST_OUTPUT:]).decode(errors="replace")

    def _collect(self) -> None:
        # A broken stream is the end of the output: what was printed until then counts.
        with contextlib.suppress(docker.errors.APIError, OSError, ValueError):
            stream = self._api.exec_start(self._id, stream=True, demux=True)
            # The stream's own close() leaves the connection to the garbage collector.
            with contextlib.closing(stream._response):  # noqa: SLF001
                for parts in stream:
                    self._keep(parts)

    def _keep(self, parts: Sequence[bytes | None]) -> None:
        for name, part in zip(("stdout", "stderr"), parts, strict=True):
            kept = self._printed[name]
            kept += part or b""
            if len(kept) > 2 * _MOST_OUTPUT:
                del kept[:-_MOST_OUTPUT]
