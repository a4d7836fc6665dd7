"""GPUs that an engine can give to a container, by CDI name or by NVIDIA's runtime."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from docker.types import DeviceRequest

from dlimg.document.yaml_tree import YamlMapping, YamlScalar, YamlSequence, parse_yaml
from dlimg.engine.client import Engine, engine_errors, version_numbers
from dlimg.errors import BadInput

NVIDIA: Final = "nvidia"
_NVIDIA_GPU: Final = "nvidia.com/gpu"
_HOOK: Final = "nvidia-container-runtime-hook"
# The first Docker that lists the CDI devices that it has found.
_LISTS_DEVICES: Final = (28, 2)


@engine_errors()
def gpu_devices(engine: Engine) -> tuple[str, ...]:
    """Return the GPU device names that the engine accepts, best first.

    CDI names come before `nvidia`, the name for all GPUs through NVIDIA's runtime.
    """
    info: Mapping[str, Any] = engine.sdk.info()
    cdi_names = {
        device["ID"]
        for device in info.get("DiscoveredDevices") or ()
        if device.get("Source") == "cdi"
    }
    if not cdi_names and _is_local(engine):
        # Engines before 28.2 tell the folders, but not the devices in them.
        folders = info.get("CDISpecDirs") or ()
        cdi_names = {name for folder in folders for name in cdi_device_names(Path(folder))}
    names = sorted(cdi_names, key=_preference)
    has_hook = _is_local(engine) and shutil.which(_HOOK) is not None
    if NVIDIA in (info.get("Runtimes") or {}) or has_hook:
        names.append(NVIDIA)
    return tuple(names)


def default_device(engine: Engine) -> str | None:
    """Return the device to use by default: an NVIDIA GPU, never another vendor's device."""
    nvidia = (
        name for name in gpu_devices(engine) if name == NVIDIA or name.startswith(_NVIDIA_GPU)
    )
    return next(nvidia, None)


def check_device(device: str, engine: Engine) -> None:
    """Raise `BadInput` for a device that this engine does not have."""
    devices = gpu_devices(engine)
    is_listed = _is_local(engine) or version_numbers(engine.version) >= _LISTS_DEVICES
    if device not in devices and (is_listed or device == NVIDIA):
        raise BadInput(
            f"the engine has no device {device}",
            where="--device",
            hint=f"it has {', '.join(devices)}" if devices else "it has none; omit --device",
        )


def device_request(device: str) -> DeviceRequest:
    """Return the SDK's request for one of `gpu_devices`; `nvidia` means all GPUs."""
    if device == NVIDIA:
        return DeviceRequest(driver=NVIDIA, count=-1, capabilities=[["gpu"]])
    return DeviceRequest(driver="cdi", device_ids=[device])


def cdi_device_names(folder: Path) -> tuple[str, ...]:
    """Return the device names in a folder of CDI specifications; other files are ignored."""
    files = sorted((*folder.glob("*.json"), *folder.glob("*.yaml")))
    return tuple(name for file in files for name in _read_names(file))


def _read_names(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".yaml":
            return _names_in_yaml(text, file.name)
        spec = json.loads(text)
        return tuple(f"{spec['kind']}={device['name']}" for device in spec["devices"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, BadInput):
        return ()


def _names_in_yaml(text: str, source: str) -> tuple[str, ...]:
    match parse_yaml(text, source)[0]:
        case YamlMapping(
            entries={"kind": YamlScalar(value=kind), "devices": YamlSequence(nodes=listed)}
        ):
            tables = (device.entries for device in listed if isinstance(device, YamlMapping))
            names = (entries.get("name") for entries in tables)
            return tuple(f"{kind}={name.value}" for name in names if isinstance(name, YamlScalar))
        case _:
            return ()


def _is_local(engine: Engine) -> bool:
    return engine.host.startswith("unix://")


def _preference(name: str) -> tuple[bool, bool, str]:
    """Return a sort key: NVIDIA before other vendors, all GPUs before a single one."""
    return (not name.startswith("nvidia.com/"), not name.endswith("=all"), name)
