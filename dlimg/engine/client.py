"""A container engine that answers: its address, what it can do, its Docker SDK.

An address and an environment come in; an `Engine` comes out, or a `NoEngine` that says what
is missing or too old. Nothing is opened when this module is imported.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests
import urllib3
from docker import DockerClient
from docker.errors import APIError, DockerException

from dlimg.errors import NoEngine
from dlimg.host.process import failure_text, run

API_NEEDED: Final = (1, 43)  # Docker 24: build contexts by image name, `docker load` of OCI
BUILDX_NEEDED: Final = (0, 13)  # the first with `--progress=rawjson`
ANSWER_SECONDS: Final = 10
REQUEST_SECONDS: Final = 600
UNREACHABLE: Final = (DockerException, requests.RequestException, OSError)
# The SDK lets some errors of the libraries below it through, mostly those of a broken stream.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that is new enough; `environment` is complete for `docker` and buildx calls."""

    host: str
    private: bool
    version: str
    docker: Path
    environment: Mapping[str, str] = field(repr=False)
    root: str
    sdk: DockerClient


def connect(
    host: str, *, private: bool, command: Path | None, environment: Mapping[str, str]
) -> Engine:
    """The engine at this address, driven by this `docker` command.

    `environment` must lead there by itself (DOCKER_HOST, certificates). Raises `NoEngine`
    when nothing answers there, when what answers is too old, or without a `docker` command.
    """
    if command is None:
        raise NoEngine(
            "a container engine answers, but there is no `docker` command", hint=INSTALL_HINT
        )
    where = f"no container engine answers at {host}"
    try:
        sdk = open_sdk(environment, seconds=REQUEST_SECONDS)
    except UNREACHABLE as error:
        raise NoEngine(f"{where}: {error_reason(error)}") from error
    try:
        version, about = sdk.version(), sdk.info()
    except UNREACHABLE as error:
        sdk.close()
        raise NoEngine(f"{where}: {error_reason(error)}") from error
    check_engine(version, host)
    return Engine(
        host=host,
        private=private,
        version=str(version["Version"]),
        docker=command,
        environment=environment,
        root=str(about.get("DockerRootDir", "")),
        sdk=sdk,
    )


def open_sdk(environment: Mapping[str, str], *, seconds: int) -> DockerClient:
    """The SDK for the engine that the environment names; raises one of `UNREACHABLE`.

    Raises `NoEngine` for an address of ssh where the SDK cannot speak it.
    """
    host = environment.get("DOCKER_HOST", "")
    ssh = host.startswith("ssh://")
    # The SDK starts the `ssh` command itself, but needs this library all the same.
    if ssh and importlib.util.find_spec("paramiko") is None:
        raise NoEngine(
            f"{host} is reached over ssh, for which the Python package paramiko is not there",
            hint="`pip install 'docker[ssh]'` beside dlimg, or forward the socket:"
            " `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock HOST &` and"
            " DOCKER_HOST=unix:///tmp/docker.sock",
        )
    return DockerClient.from_env(environment=dict(environment), timeout=seconds, use_ssh_client=ssh)


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """Inside (or in a function so decorated), an engine that ends or fails is a `NoEngine`."""
    try:
        yield
    except _LOST as error:
        said = error.explanation if isinstance(error, APIError) else None
        raise NoEngine(
            f"the container engine does not do its work any more: {said or error_reason(error)}",
            hint="see that it runs (`docker info`, `dlimg engine status`), then run it again; "
            "what was finished is kept",
        ) from error


def unreachable_reason(environment: Mapping[str, str]) -> str:
    """Why no engine answers where the environment leads; nothing when one does."""
    host = environment.get("DOCKER_HOST", "")
    try:
        if host.startswith("unix://"):
            # Asked beforehand, because the SDK forgets to close a socket that is refused.
            with socket.socket(socket.AF_UNIX) as knock:
                knock.settimeout(ANSWER_SECONDS)
                knock.connect(host.removeprefix("unix://"))
        open_sdk(environment, seconds=ANSWER_SECONDS).close()
    except UNREACHABLE as error:
        return error_reason(error)
    return ""


def engine_version(environment: Mapping[str, str]) -> str:
    """The version of the engine that the environment names; nothing when none answers."""
    try:
        sdk = open_sdk(environment, seconds=ANSWER_SECONDS)
        with contextlib.closing(sdk):
            return str(sdk.version()["Version"])
    except UNREACHABLE:
        return ""


def check_engine(version: Mapping[str, Any], host: str) -> None:
    """Nothing; `NoEngine` when the engine's own words say that it cannot do the work."""
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


def check_buildx(command: Path, environment: Mapping[str, str]) -> None:
    """Nothing; `NoEngine` when this `docker` has no usable buildx.

    That starts three programs, so it is asked by whoever is about to use it.
    """
    outcome = run([str(command), "buildx", "version"], env=environment, timeout=60)
    if outcome.returncode != 0:
        raise NoEngine(
            f"{command} has no buildx plugin: {failure_text(outcome)}",
            hint="install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's own)",
        )
    found = version_numbers(outcome.stdout.removeprefix("github.com/docker/buildx"))
    if found < BUILDX_NEEDED:
        raise NoEngine(
            f"buildx of {command} is too old ({'.'.join(map(str, found)) or 'unknown'}):"
            " version 0.13 is needed",
            hint=INSTALL_HINT,
        )


def docker_command(environment: Mapping[str, str]) -> Path | None:
    """The `docker` on the environment's PATH."""
    found = shutil.which("docker", path=environment.get("PATH", os.defpath))
    return Path(found) if found else None


def has_containerd_store(engine: Engine) -> bool:
    """Whether images are kept in containerd's store; else the engine has Docker's own, older one.

    The older one keeps no manifests and unpacks every layer; its BuildKit has no OCI exporter.
    """
    status = engine.sdk.info().get("DriverStatus") or ()
    return ["driver-type", "io.containerd.snapshotter.v1"] in [list(pair) for pair in status]


def free_bytes(engine: Engine) -> int | None:
    """Free bytes where the engine keeps its data; nothing when that is not on this machine."""
    if not engine.host.startswith("unix://") or not engine.root:
        return None
    try:
        return shutil.disk_usage(engine.root).free
    except OSError:
        return None


def error_reason(error: BaseException) -> str:
    """What the system said, out of the nested errors of the libraries in between."""
    chain = [error]
    for one in chain:
        inner = (*one.args, one.__cause__, one.__context__)
        chain += [e for e in inner if isinstance(e, BaseException) and e not in chain]
    said = [_said(e) for e in chain if isinstance(e, OSError) and e.errno]
    return said[-1] if said else str(error)


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or error.strerror or error)
    # A name that leads nowhere has a number of the resolver's, which is negative.
    return os.strerror(error.errno or 0) if (error.errno or 0) > 0 else str(error.strerror)


def version_numbers(text: str) -> tuple[int, ...]:
    """The first dotted number of a text: `v0.29.1+ds1` gives 0, 29, 1."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
