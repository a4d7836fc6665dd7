"""One check in a running container: it ends, by itself or by force, and we know how."""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.containers import Container

from dlimg.model import Check
from dlimg.smoke.scripts import WORK
from dlimg.smoke.verdicts import Ending, Ran

KILL_SECONDS: Final = 5

_MOST_OUTPUT: Final = 1_000_000
_OUT_OF_TIME: Final = 124
_KILLED: Final = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A running container, what the checks in it are told, and its limits.

    `patience` is how many seconds longer than its own limit a check may take to end.
    """

    container: Container
    api: Any
    environment: Mapping[str, str]
    memory: int
    patience: float


def check_argv(check: Check) -> list[str]:
    """The command that runs the check's script, with a time limit of its own."""
    return ["timeout", "-k", str(KILL_SECONDS), str(check.seconds), "python", check.path]


def first_environment(container: Container) -> dict[str, str]:
    """The environment of the container's first process.

    What a CDI device adds to it is not passed on to a command that is run in there later.
    """
    answer: Any = container.exec_run(["cat", "/proc/1/environ"])
    entries = answer.output.decode(errors="replace").split("\0")
    pairs = (entry.partition("=") for entry in entries)
    return {name: text for name, equals, text in pairs if equals}


def run_check(there: Place, check: Check) -> Ran:
    """How the script ended. What a killed one left behind is gone before the next one starts."""
    began = time.monotonic()
    limit = check.seconds + KILL_SECONDS + there.patience
    call = _Call(there, check_argv(check))
    is_over = call.wait(limit)
    if not is_over:
        _kill(there.container)
        call.wait(there.patience)
    seconds = time.monotonic() - began
    code = call.code() if is_over else _KILLED
    ending = _ending(there, code, is_late=not is_over or seconds >= check.seconds)
    if ending != "exited":
        there.container.restart(timeout=0)
    return Ran(
        code=code,
        stdout=call.stdout,
        stderr=call.stderr,
        seconds=seconds,
        ending=ending,
        limit=_limit_text(ending, check, there),
    )


def _ending(there: Place, code: int, *, is_late: bool) -> Ending:
    there.container.reload()
    if code != 0 and there.container.attrs["State"].get("OOMKilled"):
        return "out of memory"
    if is_late and code in (_OUT_OF_TIME, _KILLED):
        return "out of time"
    return "exited"


def _limit_text(ending: Ending, check: Check, there: Place) -> str:
    if ending == "out of memory":
        return f"{there.memory / 1e9:.1f} GB"
    return f"{check.seconds} s"


def _kill(container: Container) -> None:
    # One that has died by itself in between is as good as killed.
    with contextlib.suppress(docker.errors.APIError):
        container.kill()


class _Call:
    """A command that runs in a container while a thread of ours collects what it prints."""

    def __init__(self, there: Place, argv: Sequence[str]) -> None:
        self._api = there.api
        self._id = self._api.exec_create(
            there.container.id, list(argv), environment=dict(there.environment), workdir=WORK
        )["Id"]
        self._printed = {"stdout": b"", "stderr": b""}
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it ended within these seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def code(self) -> int:
        """The exit code; that of a killed process where the engine does not know it."""
        code = self._api.exec_inspect(self._id)["ExitCode"]
        return _KILLED if code is None else int(code)

    @property
    def stdout(self) -> str:
        return self._printed["stdout"].decode(errors="replace")

    @property
    def stderr(self) -> str:
        return self._printed["stderr"].decode(errors="replace")

    def _collect(self) -> None:
        # A broken stream is the end of the command: what it printed until then counts.
        with contextlib.suppress(docker.errors.APIError, OSError, ValueError):
            stream = self._api.exec_start(self._id, stream=True, demux=True)
            # The stream's own close() leaves the connection to the garbage collector.
            with contextlib.closing(stream._response):  # noqa: SLF001
                for parts in stream:
                    self._keep(parts)

    def _keep(self, parts: Sequence[bytes | None]) -> None:
        for name, part in zip(("stdout", "stderr"), parts, strict=True):
            self._printed[name] = (self._printed[name] + (part or b""))[-_MOST_OUTPUT:]
