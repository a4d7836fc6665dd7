"""The GPUs and the driver of this host, from NVML, or the reason why none were found."""

# ruff: noqa: N802 - the names are NVIDIA's

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

from dlimg.errors import Problem
from dlimg.model import DetectedGpu, LocalMachine

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
    _LOST: "the GPU has fallen off the bus: read the kernel's log, then restart the machine",
    _RESET: "the GPU has to be reset, or the machine restarted",
    _MISMATCH: "the driver was updated under a running kernel module: restart the machine",
}
_INSTALL: Final = "install NVIDIA's driver; the images bring everything else"
_GPUS_HINT: Final = (
    "give the container GPUs: `--gpus all` with the NVIDIA Container Toolkit on the host, and "
    "NVIDIA_DRIVER_CAPABILITIES with `utility`"
)


class Nvml(Protocol):
    """The functions of the module `pynvml` that dlimg uses."""

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
    """Import NVIDIA's bindings, which load the driver's library at the first call."""
    return cast("Nvml", import_module("pynvml"))


def detect_gpus(library: Nvml, root: Path = ROOT) -> LocalMachine:
    """Return the GPUs that the driver shows, and findings such as the reason for none.

    `root` is the root of the file system, which is searched for causes that NVML does not report.
    """
    findings = list(_wsl_findings(root))
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return LocalMachine(findings=(*_no_driver(error, root), *findings))
    try:
        machine = _query(library, findings)
    except library.NVMLError as error:
        machine = LocalMachine(findings=(_no_answer("the driver", error),))
    finally:
        _try(library, library.nvmlShutdown)
    return replace(machine, findings=(*machine.findings, *findings))


def _query(library: Nvml, findings: list[Problem]) -> LocalMachine:
    driver = _text(library.nvmlSystemGetDriverVersion())
    number = _try(library, library.nvmlSystemGetCudaDriverVersion_v2) or 0
    gpus = []
    for index in range(library.nvmlDeviceGetCount()):
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            gpus.append(_gpu(library, handle))
            findings += _mig_findings(library, handle, index)
        except library.NVMLError as error:
            findings.append(_no_answer(f"GPU {index}", error))
    if not gpus and not findings:
        hint = "read the kernel's log; a container gets GPUs by `--gpus all`"
        findings.append(Problem(message=f"driver {driver} shows no GPU", hint=hint))
    cuda = f"{number // 1000}.{number % 1000 // 10}" if number else ""
    return LocalMachine(gpus=tuple(gpus), driver=driver, cuda=cuda)


def _gpu(library: Nvml, handle: object) -> DetectedGpu:
    major, minor = library.nvmlDeviceGetCudaComputeCapability(handle)
    name = _text(library.nvmlDeviceGetName(handle))
    return DetectedGpu(name=name, capability=f"{major}.{minor}")


def _mig_findings(library: Nvml, handle: object, index: int) -> Iterator[Problem]:
    """Yield a problem for a GPU that MIG splits; most GPUs do not support it."""
    mode = _try(library, library.nvmlDeviceGetMigMode, handle)
    if not mode or not mode[0]:
        return
    most = _try(library, library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
    instances = []
    for number in range(most):
        instance = _try(library, library.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
        if instance is not None:
            name = _try(library, library.nvmlDeviceGetName, instance)
            instances.append(_text(name or "an instance"))
    if instances:
        message = f"GPU {index} is split by MIG: {', '.join(instances)}"
        hint = "a program sees one instance at a time; name it, e.g. `--gpus device=0:0`"
    else:
        message = f"GPU {index} has MIG enabled and no instance, so nothing can run on it"
        hint = "create instances with `nvidia-smi mig -cgi ... -C`, or disable MIG"
    yield Problem(message=message, hint=hint)


def _no_driver(error: Exception, root: Path) -> Iterator[Problem]:
    """Yield the reason why the driver does not answer, as far as files show it."""
    code = getattr(error, "value", None)
    module = root / "proc/driver/nvidia/version"
    if code not in {_NO_LIBRARY, _NOT_LOADED}:
        yield _no_answer("the driver", error)
    elif module.exists() or (root / "dev/nvidiactl").exists():
        message = "the kernel has a driver, but its library libnvidia-ml.so.1 is missing"
        hint = (
            _GPUS_HINT
            if _is_container(root)
            else "install the driver's library of the same version"
        )
        yield Problem(message=message, hint=hint)
    elif cards := tuple(_cards(root)):
        number = "an NVIDIA GPU is" if len(cards) == 1 else f"{len(cards)} NVIDIA GPUs are"
        message = f"{number} in this machine, but no driver runs"
        yield Problem(message=message, hint=_GPUS_HINT if _is_container(root) else _INSTALL)
    elif _is_wsl(root):
        hint = "install NVIDIA's driver for Windows, never one inside WSL; then `wsl --update`"
        yield Problem(message="Windows gives this WSL no NVIDIA GPU", hint=hint)
    elif _is_container(root):
        message = "no NVIDIA GPU and no driver in this container"
        yield Problem(message=message, hint=f"if the host has one, {_GPUS_HINT}")
    else:
        yield Problem(message="no NVIDIA GPU and no driver in this machine")


def _wsl_findings(root: Path) -> Iterator[Problem]:
    """Yield a finding for WSL, whether or not the driver answers."""
    if _is_wsl(root) and (root / "dev/dxg").exists():
        yield Problem(
            message="this is WSL: the driver is that of Windows",
            hint="update it in Windows; a driver inside WSL hides it",
        )


def _is_wsl(root: Path) -> bool:
    return "microsoft" in _read(root / "proc/sys/kernel/osrelease").lower()


def _is_container(root: Path) -> bool:
    return any((root / name).exists() for name in (".dockerenv", "run/.containerenv"))


def _cards(root: Path) -> Iterator[str]:
    """Yield the PCI addresses of NVIDIA's GPUs, with or without a driver."""
    folder = root / "sys/bus/pci/devices"
    for card in sorted(folder.iterdir()) if folder.is_dir() else ():
        vendor, device_class = (_read(card / name).strip() for name in ("vendor", "class"))
        if vendor == _NVIDIA and device_class.startswith(_DISPLAY):
            yield card.name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _no_answer(part: str, error: Exception) -> Problem:
    hint = _HINTS.get(getattr(error, "value", 0), "read the kernel's log")
    return Problem(message=f"{part} does not answer: {error}", hint=hint)


def _try(library: Nvml, query: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    """Return the answer, or None: an older driver or GPU does not support every query."""
    try:
        return query(*arguments)
    except library.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    # Bindings before 12 return bytes.
    return value.decode(errors="replace") if isinstance(value, bytes) else value
