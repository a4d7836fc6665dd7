"""Detection of NVIDIA GPUs by the driver, never by a framework.

A framework that sees no GPU cannot tell "there is none" from "I am broken"; the driver can.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import _verdict

NVML = "libnvidia-ml.so.1"
NOT_SUPPORTED = 3  # nvmlReturn_t: no such figure on this GPU (memory where host and GPU share it)


class Gpu(NamedTuple):
    """One GPU; `memory` in MiB, None where the driver has no such figure."""

    uuid: str
    name: str
    driver: str
    capability: str
    memory: int | None


class Sight(NamedTuple):
    """GPUs as NVML reports them, device files, and why NVML reports none."""

    gpus: list[Gpu]
    nodes: list[str]
    trouble: str


class DriverError(Exception):
    """The driver's library is missing or refuses to answer."""


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def expected() -> bool:
    """Return whether this container was started with a GPU."""
    return os.environ.get("DLIMG_GPU") == "expected"


def device_nodes(devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs' device files; `nvidiactl` alone is a driver without a GPU."""
    return sorted(str(node) for node in devices.glob("nvidia[0-9]*"))


def ask_driver(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> list[Gpu]:
    """Return the GPUs by NVML. Raises DriverError where it does not answer."""
    try:
        nvml = load(NVML)
    except OSError as error:
        is_missing = "No such file" in str(error)
        message = f"there is no {NVML}" if is_missing else f"{NVML} does not load: {error}"
        raise DriverError(message) from error
    _call(nvml, "nvmlInit_v2")
    try:
        driver = _text(nvml, "nvmlSystemGetDriverVersion")
        count = ctypes.c_uint()
        _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [_gpu(nvml, index, driver) for index in range(count.value)]
    finally:
        nvml.nvmlShutdown()


def look() -> Sight:
    """Return the GPUs and device files of this machine."""
    try:
        gpus = ask_driver()
    except DriverError as error:
        return Sight([], device_nodes(), str(error))
    return Sight(gpus, device_nodes(), "" if gpus else "NVML counts no GPU")


def require(seen: Sight) -> list[Gpu]:
    """Return the GPUs. Without any, end as not run, or fail if the container was given a GPU."""
    if seen.gpus:
        return seen.gpus
    if expected():
        _verdict.fail(f"a GPU was handed to this container, but {seen.trouble}")
    if seen.nodes:
        _verdict.fail(f"{', '.join(seen.nodes)} is here, but {seen.trouble}")
    return _verdict.not_run(f"no GPU here: no /dev/nvidia0, and {seen.trouble}")


def is_one_of(device: str, gpus: list[Gpu]) -> bool:
    """Return whether this names one of these GPUs, or a MIG part of one (a longer name)."""
    return any(device.startswith(gpu.name) for gpu in gpus)


def holds(address: int, load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> bool:
    """Return whether the driver says that this address lies in a GPU's memory.

    By cuPointerGetAttribute: CU_POINTER_ATTRIBUTE_MEMORY_TYPE is 2, CU_MEMORYTYPE_DEVICE is 2.
    """
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return False
    kind = ctypes.c_uint()
    code = cuda.cuPointerGetAttribute(ctypes.byref(kind), 2, ctypes.c_uint64(address))
    return code == 0 and kind.value == 2


def cudnn_engines(maps: Path = Path("/proc/self/maps")) -> list[str]:
    """Return the cuDNN engines in this process; they are loaded at their first use."""
    names = {line.rsplit("/", 1)[-1] for line in maps.read_text().splitlines() if "/" in line}
    return sorted(name for name in names if name.startswith(("libcudnn_engines", "libcudnn_cnn")))


def _gpu(nvml: ctypes.CDLL, index: int, driver: str) -> Gpu:
    handle = ctypes.c_void_p()
    _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    major, minor = ctypes.c_int(), ctypes.c_int()
    figures = (ctypes.byref(major), ctypes.byref(minor))
    _call(nvml, "nvmlDeviceGetCudaComputeCapability", handle, *figures)
    return Gpu(
        uuid=_text(nvml, "nvmlDeviceGetUUID", handle),
        name=_text(nvml, "nvmlDeviceGetName", handle),
        driver=driver,
        capability=f"{major.value}.{minor.value}",
        memory=_memory(nvml, handle),
    )


def _memory(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> int | None:
    memory = _Memory()
    code = nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    if code == NOT_SUPPORTED:
        return None
    _refuse("nvmlDeviceGetMemoryInfo", code)
    return int(memory.total) >> 20


def _text(nvml: ctypes.CDLL, function: str, *arguments: object) -> str:
    buffer = ctypes.create_string_buffer(96)
    _call(nvml, function, *arguments, buffer, ctypes.c_uint(len(buffer)))
    return buffer.value.decode()


def _call(nvml: ctypes.CDLL, function: str, *arguments: object) -> None:
    _refuse(function, getattr(nvml, function)(*arguments))


def _refuse(function: str, code: int) -> None:
    if code != 0:
        raise DriverError(f"{function} answers with error {code}")
