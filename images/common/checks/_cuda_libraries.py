"""CUDA's libraries in the image: paths, duplicates, and the version that loads."""

import ctypes
import os
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

LIBRARIES = {
    "cudart": "libcudart.so.*",
    "cudnn": "libcudnn.so.*",
    "nccl": "libnccl.so.*",
}


def cuda_files(folders: Iterable[Path]) -> list[Path]:
    """Return the files of the CUDA runtime, cuDNN and NCCL below these folders."""
    tops = {folder.resolve() for folder in folders}
    apart = [top for top in tops if tops.isdisjoint(top.parents)]
    return sorted(
        Path(folder, name)
        for top in apart
        for folder, _, names in os.walk(top)
        for name in names
        if re.match(r"lib(cudart|cudnn|nccl).*\.so", name)
    )


def library_files(library: str) -> list[Path]:
    """Return this library's files in nvidia/<part>/lib or nvidia/cu13/lib."""
    places = [Path(entry) for entry in sys.path if entry]
    pattern = f"nvidia/*/lib/{LIBRARIES[library]}"
    return sorted({file.resolve() for place in places for file in place.glob(pattern)})


def load(library: str) -> tuple[str, str]:
    """Return the version that the loader loads, and a fault if there are several copies.

    None of the three needs a GPU to tell its version, and only CUDA 11's runtime a driver.
    """
    files = library_files(library)
    if len(files) != 1:
        return "", f"{library}: one is to be installed, found {_names(files) or 'none'}"
    try:
        loaded = ctypes.CDLL(str(files[0]))
    except OSError as error:
        return "", f"{library}: it does not load: {error}"
    # One that the framework had loaded from elsewhere by then shows here as a second.
    mapped = mapped_files(LIBRARIES[library].rstrip("*"))
    if mapped != files:
        return "", f"{library}: {_names(files)} is installed, loaded is {_names(mapped)}"
    return VERSIONS[library](loaded), ""


def _names(files: list[Path]) -> str:
    return ", ".join(map(str, files))


def mapped_files(prefix: str, maps: Path = Path("/proc/self/maps")) -> list[Path]:
    """Return the files of this name that the process has mapped."""
    paths = {Path(line[line.index("/") :]) for line in maps.read_text().splitlines() if "/" in line}
    return sorted(path for path in paths if path.name.startswith(prefix))


def _cudart_version(library: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    if library.cudaRuntimeGetVersion(ctypes.byref(number)) == 0:
        return cuda_text(number.value)
    # Before CUDA 12 it needs a driver to tell. Then its wheel says it; pip_check hashes its files.
    return ".".join(_version_of("nvidia-cuda-runtime-cu11").split(".")[:2])


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cudnn_version(library: ctypes.CDLL) -> str:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    return cudnn_text(library.cudnnGetVersion())


def _nccl_version(library: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    library.ncclGetVersion(ctypes.byref(number))
    return nccl_text(number.value)


VERSIONS = {"cudart": _cudart_version, "cudnn": _cudnn_version, "nccl": _nccl_version}


def cuda_text(number: int) -> str:
    """Return 13.2 for 13020, by CUDART_VERSION's definition."""
    return f"{number // 1000}.{number % 1000 // 10}"


def cudnn_text(number: int) -> str:
    """Return 9.26.0 for 92600; up to cuDNN 8 the major version counted thousands (8907)."""
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"


def nccl_text(number: int) -> str:
    """Return 2.30.7 for 23007; up to NCCL 2.8 the major version counted thousands (2804)."""
    major = 10000 if number >= 10000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"
