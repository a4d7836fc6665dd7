"""The container that checks run in, and running one script in it within its time limit."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.containers import Container
from docker.types import Mount

from dlimg.checks.completion import check_completion, is_complete, new_token, python_argv
from dlimg.checks.container_setup import ROOT, WORK
from dlimg.checks.header import AS_ROOT
from dlimg.checks.verdicts import Ending, ScriptResult
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError
from dlimg.host.interrupt import interruptible
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
# How often the engine is asked whether a silent command still runs.
_POLL_SECONDS: Final = 1.0
_OUT_OF_TIME: Final = 124
_KILLED: Final = 137


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningContainer:
    """A running container with the environment for checks, and its limits.

    `memory` is bytes; `grace` is the seconds that a check may take to end beyond its own limit.
    """

    container: Container
    api: Any
    environment: Mapping[str, str]
    memory: int
    grace: float


def check_argv(check: Check, token: str) -> list[str]:
    """Return the command that runs the check's script with its time limit."""
    limit = ["timeout", "-k", str(KILL_SECONDS), str(check.seconds)]
    command = python_argv("python", check.path, token)
    return [*limit, *(_AS_BUILT if check.container == AS_ROOT else ()), *command]


def first_environment(container: Container) -> dict[str, str]:
    """Return the environment of the container's first process.

    Commands run later do not get the variables that a CDI device adds to it.
    """
    answer: Any = container.exec_run(["cat", "/proc/1/environ"])
    entries = answer.output.decode(errors="replace").split("\0")
    pairs = (entry.partition("=") for entry in entries)
    return {name: value for name, equals, value in pairs if equals}


def run_check(container: RunningContainer, check: Check) -> ScriptResult:
    """Run the check's script and return its result; it is killed after its time limit."""
    began, token = time.monotonic(), new_token()
    command = _Command(container, check_argv(check, token))
    has_ended = command.wait(check.seconds + KILL_SECONDS + container.grace)
    if not has_ended:
        _kill(container.container)
        command.wait(container.grace)
    seconds = time.monotonic() - began
    code = command.code() if has_ended else _KILLED
    is_late = not has_ended or seconds >= check.seconds
    if code == 0:
        command.wait_for_token(token, container.grace)
    ending = _ending(_state(container), code, is_late=is_late)
    result = ScriptResult(
        code=code,
        stdout=command.stdout,
        stderr=command.stderr,
        seconds=seconds,
        ending=ending,
        limit=_limit_text(ending, check, container),
    )
    return check_completion(result, token)


def is_clean(container: RunningContainer) -> bool:
    """Return whether the container runs with its first process alone."""
    state = _state(container)
    if not state.get("Running") or state.get("OOMKilled"):
        return False
    # The engine is asked: without free process ids no command could run in the container.
    stats = container.api.stats(container.container.id, stream=False, one_shot=True)
    return int((stats.get("pids_stats") or {}).get("current") or 1) == 1


def _state(container: RunningContainer) -> Mapping[str, Any]:
    state: Mapping[str, Any] = container.api.inspect_container(container.container.id)["State"]
    return state


def _ending(state: Mapping[str, Any], code: int, *, is_late: bool) -> Ending:
    if code != 0 and state.get("OOMKilled"):
        return "out of memory"
    if is_late and code in (_OUT_OF_TIME, _KILLED):
        return "out of time"
    return "exited" if state.get("Running") else "without its container"


def _limit_text(ending: Ending, check: Check, container: RunningContainer) -> str:
    if ending == "out of memory":
        return f"{container.memory / 1e9:.1f} GB"
    return f"{check.seconds} s"


def _kill(container: Container) -> None:
    # It may have ended by itself in between.
    with contextlib.suppress(docker.errors.APIError):
        container.kill()


class _Command:
    """A command that runs in a container while a thread collects its output."""

    def __init__(self, container: RunningContainer, argv: Sequence[str]) -> None:
        self._api = container.api
        self._id = self._api.exec_create(
            container.container.id,
            list(argv),
            environment=dict(container.environment),
            workdir=WORK,
        )["Id"]
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the command to end, and return whether it did within these seconds.

        The end of its output does not show that: the command may close it and go on, or leave a
        child that holds it open.
        """
        deadline = time.monotonic() + seconds
        self._thread.join(min(seconds, _POLL_SECONDS))
        while self._is_running():
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                return False
            if self._thread.is_alive():
                self._thread.join(min(seconds_left, _POLL_SECONDS))
            else:
                time.sleep(min(seconds_left, _POLL_SECONDS / 10))
        self._thread.join(_POLL_SECONDS)  # its last output may still be on the way
        return True

    def wait_for_token(self, token: str, seconds: float) -> None:
        """Wait while the token may still be on the way in the output."""
        deadline = time.monotonic() + seconds
        while self._thread.is_alive() and not is_complete(self.stdout, token):
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                return
            self._thread.join(min(seconds_left, _POLL_SECONDS))

    def _is_running(self) -> bool:
        state = self._api.exec_inspect(self._id)
        # Before its start it is not running either, and has no exit code yet.
        return bool(state["Running"]) or (state["ExitCode"] is None and self._thread.is_alive())

    def code(self) -> int:
        """Return the exit code; that of a killed process if the engine does not know it."""
        code = self._api.exec_inspect(self._id)["ExitCode"]
        return _KILLED if code is None else int(code)

    @property
    def stdout(self) -> str:
        return self._decode("stdout")

    @property
    def stderr(self) -> str:
        return self._decode("stderr")

    def _decode(self, name: str) -> str:
        return bytes(self._output[name][-_MOST_OUTPUT:]).decode(errors="replace")

    def _collect(self) -> None:
        # A broken stream ends the output; what came before counts.
        with contextlib.suppress(docker.errors.APIError, OSError, ValueError):
            stream = self._api.exec_start(self._id, stream=True, demux=True)
            # The stream's own close() leaves the connection to the garbage collector.
            with contextlib.closing(stream._response):  # noqa: SLF001
                for parts in stream:
                    self._add(parts)

    def _add(self, parts: Sequence[bytes | None]) -> None:
        for name, part in zip(("stdout", "stderr"), parts, strict=True):
            output = self._output[name]
            output += part or b""
            if len(output) > 2 * _MOST_OUTPUT:
                del output[:-_MOST_OUTPUT]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """The parts of a container: the image, the engine's options, the files as a tar.

    `refusal` makes the error for an engine that cannot create it; `grace` is as in
    `RunningContainer`.
    """

    digest: str
    options: Mapping[str, Any]
    files: bytes
    has_device: bool
    memory: int
    grace: float
    refusal: Callable[[docker.errors.APIError], DlimgError]


class CheckContainer:
    """An idle container, created when it is first needed, and again after `remove`."""

    def __init__(self, engine: Engine, spec: ContainerSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._name = ""
        self._running: RunningContainer | None = None
        self._is_ended = False

    def running(self) -> RunningContainer:
        """Return the running container; raises the `refusal` of an engine that cannot make it."""
        if self._is_ended:
            raise CancelledError
        if self._running is None:
            self._running = self._start()
        return self._running

    def remove(self) -> None:
        """Remove the container; the next check gets a fresh one."""
        self._running = None
        if self._name:
            with contextlib.suppress(docker.errors.NotFound):
                self._engine.sdk.api.remove_container(self._name, force=True, v=True)
        self._name = ""

    def end(self) -> None:
        """Remove the container and never create it again; another thread may be using it."""
        self._is_ended = True
        name = self._name
        if name:
            # It may not have been created yet, or be gone already.
            with contextlib.suppress(docker.errors.APIError, OSError):
                self._engine.sdk.api.remove_container(name, force=True, v=True)

    def _start(self) -> RunningContainer:
        spec = self._spec
        # Named before it is created, so that an interrupt leaves no container behind.
        self._name = f"dlimg-check-{secrets.token_hex(6)}"
        try:
            container = self._engine.sdk.containers.create(
                spec.digest,
                name=self._name,
                entrypoint=["sleep", "infinity"],
                # A read-only container takes files only in a volume.
                mounts=[Mount(ROOT, None, type="volume")],
                mem_limit=spec.memory,
                memswap_limit=spec.memory,
                use_config_proxy=False,  # it may hold the user's password
                **spec.options,
            )
            container.start()
            container.put_archive(ROOT, spec.files)
        except docker.errors.APIError as error:
            raise spec.refusal(error) from error
        return self._describe(container)

    def _describe(self, container: Container) -> RunningContainer:
        return RunningContainer(
            container=container,
            api=self._engine.sdk.api,
            environment=first_environment(container) if self._spec.has_device else {},
            memory=self._spec.memory,
            grace=self._spec.grace,
        )


@contextlib.contextmanager
def open_container(engine: Engine, spec: ContainerSpec) -> Iterator[CheckContainer]:
    """Yield a container of this spec, and remove it at the end or after an error."""
    with interruptible():
        container = CheckContainer(engine, spec)
        try:
            yield container
        finally:
            container.remove()
