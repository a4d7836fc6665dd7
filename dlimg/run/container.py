"""The container of a run: create, start, inspect, stop and remove it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.types import DeviceRequest
from docker.types import Mount as EngineMount

from dlimg.engine.client import Engine
from dlimg.engine.gpu import NVIDIA, device_request
from dlimg.errors import Negative
from dlimg.run.model import RUN_LABEL, GpuAccess, Mount, PortMapping, RunSpec
from dlimg.run.names import container_name

_SECRETS_BYTES: Final = 2**20
# The engine's messages about a failed start, each with a remedy.
_HINTS: Final = (
    (
        "port is already allocated",
        "another program has the port: name a free one, `--port HOST:PORT`",
    ),
    ("address already in use", "another program has the port: name a free one, `--port HOST:PORT`"),
    ("executable file not found", "check the command behind `--`: the image has no such program"),
    ("no such file or directory", "check the command behind `--`: the image has no such program"),
    ("permission denied", "the command is no program: write `python FILE`, or make it executable"),
    (
        "could not select device driver",
        "the engine gives no GPUs: install the NVIDIA Container Toolkit",
    ),
    ("unresolvable CDI devices", "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
    ("no space left on device", "make room: `dlimg rm --ended`, `dlimg prune`"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """The state of a container; times are the engine's texts, `exit_code` None while it runs."""

    status: str
    started: str = ""
    finished: str = ""
    exit_code: int | None = None
    out_of_memory: bool = False
    ports: Mapping[int, int] | None = None


def container_options(spec: RunSpec) -> dict[str, Any]:
    """Return the arguments of the SDK's `create_container`, without the host configuration."""
    options: dict[str, Any] = {
        "image": spec.image,
        "command": list(spec.command),
        "environment": dict(spec.variables),
        "labels": {**spec.labels, RUN_LABEL: str(spec.run)},
        "working_dir": spec.working_folder,
        "stop_timeout": spec.stop_seconds,
        "ports": sorted({port.container for port in spec.ports}),
        "tty": spec.terminal,
        "stdin_open": spec.terminal,
    }
    if spec.user:
        options["user"] = spec.user
    if spec.entrypoint:
        options["entrypoint"] = list(spec.entrypoint)
    name = container_name(spec.run)
    return {**options, "name": name} if name else options


def host_options(spec: RunSpec) -> dict[str, Any]:
    """Return the arguments of the SDK's `create_host_config`."""
    options: dict[str, Any] = {
        "mounts": [_engine_mount(mount) for mount in spec.mounts],
        "port_bindings": _bindings(spec.ports),
        "shm_size": spec.shm_bytes,
        # Without an init the command would be process 1, which ignores SIGTERM by default.
        "init": True,
    }
    if spec.security:
        options["security_opt"] = list(spec.security)
    if spec.gpu:
        options |= _gpu_options(spec.gpu)
    return options


def _engine_mount(mount: Mount) -> EngineMount:
    if mount.kind == "tmpfs":
        return EngineMount(
            mount.target, None, type="tmpfs", tmpfs_size=_SECRETS_BYTES, tmpfs_mode=0o1777
        )
    return EngineMount(mount.target, mount.source, type=mount.kind, read_only=mount.read_only)


def _bindings(ports: tuple[PortMapping, ...]) -> dict[int, list[tuple[str, int | None]]]:
    bindings: dict[int, list[tuple[str, int | None]]] = {}
    for port in ports:
        bindings.setdefault(port.container, []).append((port.address, port.host or None))
    return bindings


def _gpu_options(gpu: GpuAccess) -> dict[str, Any]:
    if gpu.kind == "runtime":
        return {"runtime": NVIDIA}
    requests: list[DeviceRequest] = [device_request(name) for name in gpu.devices or (NVIDIA,)]
    return {"device_requests": requests}


def create_container(spec: RunSpec, engine: Engine) -> str:
    """Create the container and return its id. Raises Negative with the engine's reason."""
    api = engine.sdk.api
    try:
        host_config = api.create_host_config(**host_options(spec))
        return str(api.create_container(**container_options(spec), host_config=host_config)["Id"])
    except docker.errors.APIError as error:
        raise start_failure(error) from error


def start_container(container: str, engine: Engine) -> None:
    """Start the container; when that fails remove it, and raise Negative with the reason."""
    try:
        engine.sdk.api.start(container)
    except docker.errors.APIError as error:
        remove_container(container, engine)
        raise start_failure(error) from error


def start_failure(error: docker.errors.APIError) -> Negative:
    reason = " ".join(str(error.explanation or error).split())
    hint = next((hint for text, hint in _HINTS if text in reason), "")
    return Negative(f"the engine does not start the container: {reason}", hint=hint)


def container_state(container: str, engine: Engine) -> ContainerState | None:
    """Return the state of a container; None if the engine has none of this id."""
    try:
        attributes = engine.sdk.api.inspect_container(container)
    except docker.errors.NotFound:
        return None
    return parse_state(attributes)


def parse_state(attributes: Mapping[str, Any]) -> ContainerState:
    """Return the state of a container from the engine's `inspect`."""
    state = attributes["State"]
    is_over = state["Status"] in {"exited", "dead"}
    published = (attributes.get("NetworkSettings") or {}).get("Ports") or {}
    ports = {
        int(port.partition("/")[0]): int(bindings[0]["HostPort"])
        for port, bindings in published.items()
        if bindings
    }
    return ContainerState(
        status=state["Status"],
        started=_time(state.get("StartedAt", "")),
        finished=_time(state.get("FinishedAt", "")) if is_over else "",
        exit_code=int(state["ExitCode"]) if is_over else None,
        out_of_memory=bool(state.get("OOMKilled")),
        ports=ports,
    )


def _time(text: str) -> str:
    """Return the engine's time to the millisecond; empty for the year 1, which means never."""
    return "" if text.startswith("0001-") else text.rstrip("Z")[:23]


def stop_container(container: str, seconds: int, engine: Engine) -> None:
    """Stop a container: SIGTERM, and SIGKILL after these seconds."""
    with contextlib.suppress(docker.errors.NotFound):
        engine.sdk.api.stop(container, timeout=seconds)


def signal_container(container: str, signal: str, engine: Engine) -> None:
    """Send a signal to the command; one that has ended already is no error."""
    with contextlib.suppress(docker.errors.APIError):
        engine.sdk.api.kill(container, signal)


def remove_container(container: str, engine: Engine) -> None:
    """Remove a container and its anonymous volumes; one that is gone is no error."""
    with contextlib.suppress(docker.errors.NotFound):
        engine.sdk.api.remove_container(container, v=True, force=True)
