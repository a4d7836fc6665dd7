"""Connections to container engines, and whether an engine is new enough."""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
import urllib3
from docker import DockerClient
from docker.errors import APIError, DockerException, NotFound

from dlimg.context import Context
from dlimg.errors import NoEngine
from dlimg.host.process import failure_text, run
from dlimg.host.ssh import SshHost

API_NEEDED: Final = (1, 43)  # Docker 24: build contexts by image name, `docker load` of OCI
BUILDX_NEEDED: Final = (0, 13)  # the first with `--progress=rawjson`
# Requests of checks that run side by side: with fewer, urllib3 warns and connects again.
MOST_CONNECTIONS: Final = 128
ANSWER_SECONDS: Final = 10
REQUEST_SECONDS: Final = 600
LIST_ATTEMPTS: Final = 30
LIST_PAUSE: Final = 0.1
UNREACHABLE: Final = (DockerException, requests.RequestException, OSError)
# The SDK does not wrap all errors of its libraries, mostly not those of a broken stream.
_LOST: Final = (
    DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    ConnectionResetError,
    ConnectionRefusedError,
)
INSTALL_HINT: Final = (
    "install Docker Engine 24 or newer with buildx 0.13 or newer and start it"
    " (docs.docker.com/engine/install), or set DOCKER_HOST to an engine that has them"
)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A connected engine; the variables of its `context` lead to it.

    `architecture` is that of the images that it runs and builds: `amd64` or `arm64`. With `ssh`
    it is on another machine, where its `docker` is a command, too. `security` are its security
    options, as it stated them when it was connected to; None if it was not asked.
    """

    host: str
    private: bool
    version: str
    docker: Path
    context: Context
    root: str
    sdk: DockerClient
    architecture: str = "amd64"
    ssh: SshHost | None = None
    security: tuple[str, ...] | None = None

    def docker_argv(self, *arguments: str, terminal: bool = False) -> list[str]:
        """Return the argument list of a `docker` command, through ssh for an engine elsewhere."""
        if self.ssh:
            return self.ssh.argv([*self.ssh.docker, *arguments], terminal=terminal)
        return [str(self.docker), *arguments]

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead `docker` and buildx commands to the engine."""
        return self.context.environment


def connect(host: str, *, private: bool, command: Path | None, context: Context) -> Engine:
    """Connect to the engine at this address, to be used with this `docker` command.

    `context` must lead to the engine by itself (DOCKER_HOST, certificates). Raises
    `NoEngine` when no engine answers, when it is too old, or without a `docker` command.
    """
    if command is None:
        raise NoEngine(
            "a container engine answers, but there is no `docker` command", hint=INSTALL_HINT
        )
    no_answer = f"no container engine answers at {host}"
    try:
        sdk = open_sdk(context, seconds=REQUEST_SECONDS)
    except UNREACHABLE as error:
        raise NoEngine(f"{no_answer}: {error_reason(error)}") from error
    try:
        version, info = sdk.version(), sdk.info()
    except UNREACHABLE as error:
        sdk.close()
        raise NoEngine(f"{no_answer}: {error_reason(error)}") from error
    check_engine(version, host)
    return Engine(
        host=host,
        private=private,
        version=str(version["Version"]),
        docker=command,
        context=context,
        root=str(info.get("DockerRootDir", "")),
        sdk=sdk,
        architecture=str(version.get("Arch", "unknown")),
        security=tuple(info.get("SecurityOptions") or ()),
    )


def security_options(engine: Engine) -> tuple[str, ...]:
    """Return the engine's security options: rootless, SELinux and others."""
    if engine.security is not None:
        return engine.security
    return tuple(engine.sdk.info().get("SecurityOptions") or ())


def is_rootless(engine: Engine) -> bool:
    """Return whether the root of the engine's containers is the caller on the host."""
    return any("rootless" in option for option in security_options(engine))


def open_sdk(context: Context, *, seconds: int) -> DockerClient:
    """Return the SDK for the engine that the context names; raise one of `UNREACHABLE`.

    Raises `NoEngine` for an ssh address when the SDK's library for it is missing.
    """
    host = context.environment.get("DOCKER_HOST", "")
    ssh = host.startswith("ssh://")
    # The SDK starts the `ssh` command itself, but needs this library all the same.
    if ssh and importlib.util.find_spec("paramiko") is None:
        raise NoEngine(
            f"{host} is reached over ssh, which needs the Python package paramiko",
            hint="`pip install 'docker[ssh]'` beside dlimg, or forward the socket:"
            " `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST &` and"
            " DOCKER_HOST=unix:///tmp/docker.sock",
        )
    variables = dict(context.environment)
    return DockerClient.from_env(
        environment=variables,
        timeout=seconds,
        use_ssh_client=ssh,
        max_pool_size=MOST_CONNECTIONS,
    )


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Turn errors of an engine that stops or fails into `NoEngine`; also a decorator."""
    try:
        yield
    except _LOST as error:
        explanation = error.explanation if isinstance(error, APIError) else None
        raise NoEngine(
            f"the container engine has failed: {explanation or error_reason(error)}",
            hint="check that it runs (`docker info`, `dlimg engine status`), then repeat the"
            " command; finished work is kept",
        ) from error


def unreachable_reason(context: Context) -> str:
    """Return why no engine answers at the context's address; empty when one does."""
    host = context.environment.get("DOCKER_HOST", "")
    try:
        if host.startswith("unix://") and hasattr(socket, "AF_UNIX"):
            # First without the SDK, which does not close a socket that is refused.
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(host.removeprefix("unix://"))
        open_sdk(context, seconds=ANSWER_SECONDS).close()
    except UNREACHABLE as error:
        return error_reason(error)
    return ""


def engine_version(context: Context) -> str:
    """Return the version of the engine that the context names; empty without an answer."""
    try:
        sdk = open_sdk(context, seconds=ANSWER_SECONDS)
        with contextlib.closing(sdk):
            return str(sdk.version()["Version"])
    except UNREACHABLE:
        return ""


def check_engine(version: Mapping[str, Any], host: str) -> None:
    """Raise `NoEngine` for an engine that is too old, or that has no BuildKit."""
    parts = {part.get("Name") for part in version.get("Components") or ()}
    if "Podman Engine" in parts:
        raise NoEngine(
            f"podman answers at {host}, which has no BuildKit",
            hint=INSTALL_HINT,
        )
    if version_numbers(str(version.get("ApiVersion", ""))) < API_NEEDED:
        raise NoEngine(
            f"docker {version.get('Version')} at {host} is too old: version 24 is needed",
            hint=INSTALL_HINT,
        )


def check_buildx(engine: Engine) -> None:
    """Raise `NoEngine` when the engine's `docker` has no usable buildx.

    This starts three programs, so call it only before buildx is used.
    """
    command = engine.docker
    completed = run(engine.docker_argv("buildx", "version"), env=engine.environment, timeout=60)
    if completed.returncode != 0:
        raise NoEngine(
            f"{command} has no buildx plugin: {failure_text(completed)}",
            hint="install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's own)",
        )
    version = version_numbers(completed.stdout.removeprefix("github.com/docker/buildx"))
    if version < BUILDX_NEEDED:
        raise NoEngine(
            f"buildx of {command} is too old ({'.'.join(map(str, version)) or 'unknown'}):"
            " version 0.13 is needed",
            hint=INSTALL_HINT,
        )


def docker_command(context: Context) -> Path | None:
    """Return the path of `docker` on the context's PATH."""
    path = shutil.which("docker", path=context.environment.get("PATH", os.defpath))
    return Path(path) if path else None


def list_images(
    engine: Engine, filters: Mapping[str, Any] | None = None, *, intermediate: bool = False
) -> Sequence[Mapping[str, Any]]:
    """Return the engine's images as rows; SDK objects would take a request each.

    `intermediate` adds the images that a classic builder made for its steps.
    """
    api: Any = engine.sdk.api
    return _repeat_if_removed(lambda: api.images(filters=filters, all=intermediate))


def disk_usage(engine: Engine) -> Mapping[str, Any]:
    """Return the engine's disk usage, with a row for each record of the build cache."""
    return _repeat_if_removed(engine.sdk.df)


def _repeat_if_removed(request: Callable[[], _Answer]) -> _Answer:
    # containerd's image store fails a whole list with 404 when any image is removed meanwhile.
    for _ in range(LIST_ATTEMPTS - 1):
        with contextlib.suppress(NotFound):
            return request()
        time.sleep(LIST_PAUSE)
    return request()


def has_containerd_store(engine: Engine) -> bool:
    """Return whether images are in containerd's store, not in Docker's older classic store.

    The classic store keeps no manifests and unpacks every layer; its BuildKit has no OCI
    exporter.
    """
    status = engine.sdk.info().get("DriverStatus") or ()
    return ["driver-type", "io.containerd.snapshotter.v1"] in [list(pair) for pair in status]


def free_bytes(engine: Engine) -> int | None:
    """Return the free bytes on the engine's disk; None when that is not on this host."""
    if not engine.host.startswith("unix://") or not engine.root:
        return None
    try:
        return shutil.disk_usage(engine.root).free
    except OSError:
        return None


def error_reason(error: BaseException) -> str:
    """Return the system's message from inside the nested errors of libraries."""
    chain = [error]
    for outer in chain:
        inner = (*outer.args, outer.__cause__, outer.__context__)
        chain += [e for e in inner if isinstance(e, BaseException) and e not in chain]
    messages = [_system_message(e) for e in chain if isinstance(e, OSError) and e.errno]
    return messages[-1] if messages else str(error)


def _system_message(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or error.strerror or error)
    # The resolver has negative error numbers, which `strerror` does not know.
    return os.strerror(error.errno or 0) if (error.errno or 0) > 0 else str(error.strerror)


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the first dotted number in a text: `v0.29.1+ds1` gives 0, 29, 1."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
