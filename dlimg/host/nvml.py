"""The GPUs and driver of this machine, asked for through NVML; what goes wrong is a finding.

The one function takes the library's Python module, or an object like it, and the root of the file
system, where it looks for what NVML cannot tell: why there is no driver to ask.
"""

# ruff: noqa: N802 - the names are NVIDIA's

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

from dlimg.compat.host_gpus import DetectedGpu, LocalMachine
from dlimg.errors import Problem

ROOT: Final = Path("/")
_NVIDIA: Final = "0x10de"
_DISPLAY: Final = "0x03"  # VGA and 3D controllers; an NVIDIA card's sound is no GPU

_NO_PERMISSION: Final = 4
_NOT_LOADED: Final = 9
_NO_LIBRARY: Final = 12
_LOST: Final = 15
_RESET: Final = 16
_MISMATCH: Final = 18
_HINTS: Final = {
    _NO_PERMISSION: "let this user read and write /dev/nvidia*",
    _LOST: "the GPU has fallen off the bus: look into the kernel's log, then restart",
    _RESET: "the GPU has to be reset, or the machine restarted",
    _MISMATCH: "the driver was updated under a running kernel module: restart the machine",
}
_INSTALL: Final = "install NVIDIA's driver; the images bring everything else"
_HAND_ON: Final = (
    "hand the GPUs on: `--gpus all` with the NVIDIA Container Toolkit on the host, and "
    "NVIDIA_DRIVER_CAPABILITIES with `utility`"
)


class Nvml(Protocol):
    """The functions of the module `pynvml` that are used here."""

    @property
    def NVMLError(self) -> type[Exception]: ...
    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...
    def nvmlSystemGetCudaDriverVersion_v2(self) -> int: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...  # noqa: ANN401
    def nvmlDeviceGetName(self, handle: object, /) -> str | bytes: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: object, /) -> tuple[int, int]: ...
    def nvmlDeviceGetMigMode(self, handle: object, /) -> tuple[int, int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object, /) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int, /) -> object: ...


def load_nvml() -> Nvml:
    """NVIDIA's own bindings; they look for the driver's library at the first call, not before."""
    return cast("Nvml", import_module("pynvml"))


def detect_gpus(library: Nvml, root: Path = ROOT) -> LocalMachine:
    """The GPUs that the driver shows, or why there are none; nothing is raised."""
    findings = list(_ground(root))
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return LocalMachine(findings=(*_no_driver(error, root), *findings))
    try:
        seen = _asked(library, findings)
    except library.NVMLError as error:
        seen = LocalMachine(findings=(_refused("the driver", error),))
    finally:
        _quietly(library, library.nvmlShutdown)
    return replace(seen, findings=(*seen.findings, *findings))


def _asked(library: Nvml, noticed: list[Problem]) -> LocalMachine:
    driver = _text(library.nvmlSystemGetDriverVersion())
    number = _quietly(library, library.nvmlSystemGetCudaDriverVersion_v2) or 0
    gpus = []
    for index in range(library.nvmlDeviceGetCount()):
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            gpus.append(_gpu(library, handle))
            noticed += _split(library, handle, index)
        except library.NVMLError as error:
            noticed.append(_refused(f"GPU {index}", error))
    if not gpus and not noticed:
        hint = "look into the kernel's log; a container is given GPUs by `--gpus all`"
        noticed.append(Problem(message=f"driver {driver} shows no GPU", hint=hint))
    cuda = f"{number // 1000}.{number % 1000 // 10}" if number else ""
    return LocalMachine(gpus=tuple(gpus), driver=driver, cuda=cuda)


def _gpu(library: Nvml, handle: object) -> DetectedGpu:
    major, minor = library.nvmlDeviceGetCudaComputeCapability(handle)
    name = _text(library.nvmlDeviceGetName(handle))
    return DetectedGpu(name=name, capability=f"{major}.{minor}")


def _split(library: Nvml, handle: object, index: int) -> Iterator[Problem]:
    """What MIG does to this GPU; most GPUs do not know what that is."""
    mode = _quietly(library, library.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        return
    most = _quietly(library, library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    parts = []
    for number in range(most):
        part = _quietly(library, library.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if part is not None:
            name = _quietly(library, library.nvmlDeviceGetName, part)
            parts.append(_text(name or "an instance"))
    if parts:
        message = f"GPU {index} is split by MIG: {', '.join(parts)}"
        hint = "a program sees one instance at a time; name it, e.g. `--gpus device=0:0`"
    else:
        message = f"GPU {index} has MIG switched on and no instance, so nothing can run on it"
        hint = "make instances with `nvidia-smi mig -cgi ... -C`, or switch MIG off"
    yield Problem(message=message, hint=hint)


def _no_driver(error: Exception, root: Path) -> Iterator[Problem]:
    """Why the driver does not answer, as far as files can tell."""
    code = getattr(error, "value", None)
    module = root / "proc/driver/nvidia/version"
    if code not in {_NO_LIBRARY, _NOT_LOADED}:
        yield _refused("the driver", error)
    elif module.exists() or (root / "dev/nvidiactl").exists():
        message = "a driver runs in the kernel, and its library libnvidia-ml.so.1 is not here"
        hint = _HAND_ON if _contained(root) else "install the driver's library of the same version"
        yield Problem(message=message, hint=hint)
    elif cards := tuple(_cards(root)):
        number = "an NVIDIA GPU is" if len(cards) == 1 else f"{len(cards)} NVIDIA GPUs are"
        message = f"{number} in this machine, and no driver runs"
        yield Problem(message=message, hint=_HAND_ON if _contained(root) else _INSTALL)
    elif _is_wsl(root):
        hint = "install NVIDIA's driver for Windows, never one inside WSL; then `wsl --update`"
        yield Problem(message="Windows gives this WSL no NVIDIA GPU", hint=hint)
    elif _contained(root):
        message = "no NVIDIA GPU and no driver in this container"
        yield Problem(message=message, hint=f"if the host has one, {_HAND_ON}")
    else:
        yield Problem(message="no NVIDIA GPU and no driver in this machine")


def _ground(root: Path) -> Iterator[Problem]:
    """What is true of this machine whether or not the driver answers."""
    if _is_wsl(root) and (root / "dev/dxg").exists():
        yield Problem(
            message="this is WSL: the driver is that of Windows",
            hint="update it in Windows; a driver inside WSL hides it",
        )


def _is_wsl(root: Path) -> bool:
    return "microsoft" in _read(root / "proc/sys/kernel/osrelease").lower()


def _contained(root: Path) -> bool:
    return any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))


def _cards(root: Path) -> Iterator[str]:
    """The PCI addresses of NVIDIA's GPUs, driver or not."""
    folder = root / "sys/bus/pci/devices"
    for card in sorted(folder.iterdir()) if folder.is_dir() else ():
        vendor, kind = (_read(card / name).strip() for name in ("vendor", "class"))
        if vendor == _NVIDIA and kind.startswith(_DISPLAY):
            yield card.name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _refused(who: str, error: Exception) -> Problem:
    hint = _HINTS.get(getattr(error, "value", 0), "look into the kernel's log")
    return Problem(message=f"{who} does not answer: {error}", hint=hint)


def _quietly(library: Nvml, ask: Callable[..., Any], *about: object) -> Any:  # noqa: ANN401
    """The answer, or nothing: an older driver or GPU does not know every question."""
    try:
        return ask(*about)
    except library.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    # Bindings before 12 give bytes.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
