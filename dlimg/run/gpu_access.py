"""The way in which an engine gives GPUs to containers, asked of the engine."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence, parse_yaml
from dlimg.engine.client import Engine
from dlimg.engine.gpu import NVIDIA, check_device, default_device
from dlimg.errors import BadInput, Problem
from dlimg.run.model import NO_GPU, GpuAccess

NVIDIA_CDI: Final = "nvidia.com/gpu"
TOOLKIT_HINT: Final = (
    "install the NVIDIA Container Toolkit (docs.nvidia.com/datacenter/cloud-native), then "
    "`sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`"
)


def gpu_access(engine: Engine, device: str = "") -> GpuAccess:
    """Return how this engine gives a named device, or else NVIDIA's GPUs; `NO_GPU` without any.

    Raises BadInput for a device that the engine does not have.
    """
    if device:
        check_device(device, engine)
    name = device or default_device(engine)
    if not name:
        return NO_GPU
    if name != NVIDIA:
        return GpuAccess(kind="cdi", devices=(name,))
    runtimes = engine.sdk.info().get("Runtimes") or {}
    return GpuAccess(kind="runtime" if NVIDIA in runtimes else "gpus")


def stale_cdi(engine: Engine) -> Problem | None:
    """Return the problem of a CDI file of NVIDIA's that names a missing file on this machine."""
    if not engine.host.startswith("unix://"):
        return None
    for folder in engine.sdk.info().get("CDISpecDirs") or ():
        for file in sorted((*Path(folder).glob("*.json"), *Path(folder).glob("*.yaml"))):
            missing = next((path for path in host_paths(file) if not Path(path).exists()), "")
            if missing:
                return stale_problem(file, missing)
    return None


def stale_problem(file: Path, missing: str) -> Problem:
    return Problem(
        message=f"the CDI file is stale: {missing} does not exist; the driver has changed",
        where=str(file),
        hint=f"sudo nvidia-ctk cdi generate --output={file}",
    )


def host_paths(file: Path) -> tuple[str, ...]:
    """Return the files of the host that a CDI file of NVIDIA's names; nothing for other files."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".yaml":
            spec = _plain(parse_yaml(text, file.name)[0])
        else:
            spec = json.loads(text)
        is_nvidia = isinstance(spec, dict) and spec.get("kind") == NVIDIA_CDI
        return tuple(_host_paths(spec)) if is_nvidia else ()
    except (OSError, ValueError, RecursionError, BadInput):
        return ()


def _plain(node: Node | None) -> Any:  # noqa: ANN401 - JSON's values
    match node:
        case YamlMapping(entries=entries):
            return {name: _plain(value) for name, value in entries.items()}
        case YamlSequence(nodes=nodes):
            return [_plain(value) for value in nodes]
        case YamlScalar(value=value):
            return value
        case _:
            return None


def _host_paths(value: object) -> Iterator[str]:
    """Yield the host's paths of all mounts and device nodes in a CDI specification."""
    match value:
        case dict():
            host_path = value.get("hostPath")
            if isinstance(host_path, str) and host_path.startswith("/"):
                yield host_path
            for inner in value.values():
                yield from _host_paths(inner)
        case list():
            for inner in value:
                yield from _host_paths(inner)
        case _:
            return


def no_access(findings: Sequence[Problem]) -> Problem:
    """Return why `--gpu` is refused: a finding about this machine, or the missing toolkit."""
    if findings:
        return findings[0]
    return Problem(
        message="this machine has a GPU, but the engine gives none to containers",
        where="--gpu",
        hint=TOOLKIT_HINT,
    )
