"""A run as a file for Docker Compose. Pure."""

from typing import Any

from dlimg.run.model import GpuAccess, Mount, PortMapping
from dlimg.run_formats.model import PrintedRun, comment, quoted
from dlimg.run_formats.yaml_text import yaml_text


def compose_text(run: PrintedRun) -> str:
    """Return a Compose file with one service; secrets are files, which its command exports."""
    notes = [f"docker compose --file FILE run --rm --service-ports {run.name}"]
    if run.output:
        notes.insert(0, quoted(("mkdir", "-p", run.output)))
    document: dict[str, Any] = {"name": run.name, "services": {run.name: _service(run)}}
    if run.secrets:
        document["secrets"] = {name: {"environment": name} for name in run.secrets}
    volumes = [mount.source for mount in run.spec.mounts if mount.kind == "volume"]
    if volumes:
        document["volumes"] = {name: {"external": True} for name in dict.fromkeys(volumes)}
    return comment(*notes) + yaml_text(_escaped(document))


def _service(run: PrintedRun) -> dict[str, Any]:
    spec = run.spec
    service = {
        "image": spec.image,
        "entrypoint": list(spec.entrypoint),
        "command": list(run.command_with_secrets),
        "init": True,
        "working_dir": spec.working_folder,
        "user": spec.user,
        "environment": dict(spec.variables),
        "secrets": list(run.secrets),
        "volumes": [_volume(mount) for mount in spec.mounts],
        "ports": [_port(port) for port in spec.ports],
        "shm_size": f"{spec.shm_bytes}b",
        "stop_grace_period": f"{spec.stop_seconds}s",
        "labels": dict(spec.labels),
        "tty": spec.terminal,
        "stdin_open": spec.terminal,
        "deploy": _deploy(spec.gpu),
    }
    return {name: value for name, value in service.items() if value}


def _volume(mount: Mount) -> dict[str, Any]:
    volume: dict[str, Any] = {"type": mount.kind, "source": mount.source, "target": mount.target}
    if not mount.source:
        del volume["source"]
    if mount.read_only:
        volume["read_only"] = True
    if mount.kind == "bind":
        volume["bind"] = {"create_host_path": False}
    return volume


def _port(port: PortMapping) -> dict[str, Any]:
    published = {"published": str(port.host)} if port.host else {}
    return {"host_ip": port.address, **published, "target": port.container}


def _deploy(gpu: GpuAccess) -> dict[str, Any]:
    if not gpu:
        return {}
    device: dict[str, Any] = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    if gpu.kind == "cdi":
        device = {"driver": "cdi", "device_ids": list(gpu.devices), "capabilities": ["gpu"]}
    return {"resources": {"reservations": {"devices": [device]}}}


def _escaped(value: Any) -> Any:  # noqa: ANN401 - JSON's values
    """Return the value with `$` doubled in its texts, as Compose replaces variables in them."""
    match value:
        case str():
            return value.replace("$", "$$")
        case dict():
            return {name: _escaped(inner) for name, inner in value.items()}
        case list():
            return [_escaped(inner) for inner in value]
        case _:
            return value
