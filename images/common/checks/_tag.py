"""What a tag promises (DLIMG_CELL) against what is found in here: every axis is read back."""

import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import _verdict

LIBRARIES = {"cudart": "libcudart.so.*", "cudnn": "libcudnn.so.*"}
SYSTEM = (Path("/usr"), Path("/opt"))


class Framework(NamedTuple):
    """What a framework says of itself; `cuda` and `cudnn` are what it was built for, or empty."""

    version: str
    cuda: str
    cudnn: str = ""


def cell() -> dict[str, str]:
    """The axes of this image's tag; empty on a machine that is no image of dlimg."""
    try:
        axes = json.loads(os.environ.get("DLIMG_CELL") or "{}")
        return {str(axis): str(value) for axis, value in axes.items()}
    except (ValueError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_CELL is no JSON object: {error}")


def judge(framework: Framework) -> None:
    """Show what is found, and fail with every axis in which the tag lies."""
    said = cell()
    if not said:
        _verdict.not_run("DLIMG_CELL is not set: there is no tag to compare with")
    installed = distributions()
    found = {
        "os": os_name(),
        "python": platform.python_version(),
        "user": str(os.geteuid()),
        "version": framework.version,
        "built_cuda": framework.cuda,
        "built_cudnn": framework.cudnn,
        "package": installed.get(said["package"], ""),
    }
    lies = [*contradictions(said), *basic_lies(said, found), *flavour_lies(said, installed)]
    if said["cuda"]:
        for library in LIBRARIES:
            found[library], trouble = load(library)
            lies += [trouble] if trouble else []
        lies += cuda_lies(said, found)
    else:
        lies += cpu_lies(found, installed, cuda_files([*SYSTEM, *map(Path, sys.path)]))
    _verdict.show(said=said, found=found)
    _verdict.demand(not lies, "; ".join(lies))


def contradictions(said: Mapping[str, str]) -> list[str]:
    """Where the tag's axes deny each other: only `cuda` is compared with what is found."""
    accelerator, cuda = said["accelerator"], said["cuda"]
    named = re.match(r"cuda([0-9]+\.[0-9]+)", accelerator)
    lies = []
    if (accelerator == "cpu") is bool(cuda) or (named and named[1] != cuda):
        lies.append(f"accelerator: the tag says {accelerator}, and CUDA {cuda or 'none'}")
    if said["cudnn"] and not cuda:
        lies.append(f"cudnn: the tag says {said['cudnn']}, and CUDA none")
    return lies


def basic_lies(said: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Axes that every image has: OS, Python, user, the framework's version."""
    lies = []
    if found["os"] != said["os"]:
        lies.append(f"os: the tag says {said['os']}, this is {found['os']}")
    if not within(found["python"], said["python"]):
        lies.append(f"python: the tag says {said['python']}, this is {found['python']}")
    if found["user"] == "0":
        lies.append("user: this runs as root")
    return lies + [
        f"{what}: the tag says {said['version']}, found {found[what] or 'none'}"
        for what in ("version", "package")
        if not same_version(said["version"], found[what])
    ]


def cpu_lies(
    found: Mapping[str, str], installed: Mapping[str, str], files: Sequence[Path]
) -> list[str]:
    """What of CUDA there is in an image that is to have none; `files` are such libraries."""
    lies = []
    if found["built_cuda"]:
        lies.append(f"cuda: the tag says cpu, the framework is built for {found['built_cuda']}")
    if found["version"].partition("+")[2] not in ("", "cpu"):
        lies.append(f"cuda: the tag says cpu, the framework is {found['version']}")
    parts = [name for name in installed if name.startswith(("nvidia-", "jax-cuda"))]
    if parts:
        lies.append(f"cuda: the tag says cpu, but {', '.join(sorted(parts))} is installed")
    if files:
        lies.append(f"cuda: the tag says cpu, but there is {files[0]}")
    return lies


def cuda_lies(said: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Where the toolkit's libraries, cuDNN and the framework's own build leave the tag."""
    lies = []
    runtime, built = found["cudart"] or "none", found["built_cuda"]
    cudnn, wanted = found["cudnn"] or "none", said["cudnn"] or "none"
    if runtime != said["cuda"]:
        lies.append(f"cuda: the tag says {said['cuda']}, the runtime that loads is {runtime}")
    if not built:
        lies.append(f"cuda: the tag says {said['cuda']}, the framework is a CPU build")
    elif not serves(runtime, built):
        lies.append(f"cuda: the framework is built for {built}, the runtime is {runtime}")
    # The library does not know the fourth part of the wheel's version.
    if not within(cudnn, ".".join(wanted.split(".")[:3])):
        lies.append(f"cudnn: the tag says {wanted}, {cudnn} loads")
    if found["built_cudnn"] and not serves(cudnn, found["built_cudnn"]):
        lies.append(f"cudnn: built for {found['built_cudnn']}, {cudnn} loads")
    local = found["version"].partition("+")[2]
    if local not in ("", "cu" + "".join(built.split(".")[:2])):
        lies.append(f"cuda: the framework is {found['version']}, but built for {built or 'cpu'}")
    return lies


def flavour_lies(said: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Tools that the flavour promises and that are not there."""
    flavour = said.get("flavour", "")
    lies = []
    if flavour in ("compile", "devel"):
        headers = Path(sysconfig.get_paths()["include"], "Python.h")
        if not (shutil.which("cc") or shutil.which("gcc")):
            lies.append(f"flavour: {flavour} promises a C compiler, and none is on the PATH")
        if not headers.exists():
            lies.append(f"flavour: {flavour} promises Python's headers, but no {headers}")
    if flavour == "notebook" and "jupyterlab" not in installed:
        lies.append("flavour: notebook promises jupyterlab, and it is not installed")
    return [*lies, *compiler_lies(flavour, said.get("cuda", ""), cuda_compiler())]


def compiler_lies(flavour: str, cuda: str, release: str) -> list[str]:
    """devel promises nvcc of the tag's CUDA; no other flavour has one."""
    if flavour == "devel" and release != cuda:
        return [f"flavour: devel promises nvcc {cuda}, and there is {release or 'none'}"]
    if flavour != "devel" and release:
        return [f"flavour: {flavour} has no nvcc, and there is {release}"]
    return []


def cuda_compiler() -> str:
    """The release of the nvcc on the PATH, such as `13.2`, or an empty text."""
    program = shutil.which("nvcc")
    if not program:
        return ""
    ended = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=60
    )
    release = re.search(r"release ([0-9]+\.[0-9]+)", ended.stdout)
    return release[1] if release else "unknown"


def same_version(said: str, found: str) -> bool:
    """Equal, but that a version may leave out its local part (`+cpu`)."""
    if "+" in said:
        return found == said
    return bool(said) and found.partition("+")[0] == said


def within(found: str, said: str) -> bool:
    """Whether `3.13.5` is a `3.13`; a single number says too little to be kept."""
    wanted = said.split(".")
    return len(wanted) > 1 and found.split(".")[: len(wanted)] == wanted


def serves(runtime: str, built: str) -> bool:
    """Whether a library serves what was built for another minor: the same major, not older."""
    if runtime == "none":
        return False
    ours, theirs = ([int(part) for part in text.split(".")[:2]] for text in (runtime, built))
    return ours[0] == theirs[0] and ours[: len(theirs)] >= theirs


def os_name(release: Path = Path("/etc/os-release")) -> str:
    """ID and VERSION_ID together: `debian13`, `ubuntu24.04`."""
    rows = [line.partition("=") for line in release.read_text().splitlines()]
    fields = {key: value.strip("\"'") for key, _, value in rows}
    return fields.get("ID", "") + fields.get("VERSION_ID", "")


def distributions() -> dict[str, str]:
    """Names and versions of what is installed; of two with one name, the one that is imported."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        found.setdefault(normal(one.metadata["Name"] or ""), one.version)
    return found


def normal(name: str) -> str:
    """A distribution's name, as packaging standards compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def cuda_files(folders: Iterable[Path]) -> list[Path]:
    """Every file of the CUDA runtime or of cuDNN below these folders."""
    tops = {folder.resolve() for folder in folders}
    apart = [top for top in tops if tops.isdisjoint(top.parents)]
    return sorted(
        Path(folder, name)
        for top in apart
        for folder, _, names in os.walk(top)
        for name in names
        if re.match(r"lib(cudart|cudnn).*\.so", name)
    )


def library_files(library: str) -> list[Path]:
    """Where the wheels have put this library: nvidia/<part>/lib, or nvidia/cu13/lib."""
    places = [Path(entry) for entry in sys.path if entry]
    pattern = f"nvidia/*/lib/{LIBRARIES[library]}"
    return sorted({file.resolve() for place in places for file in place.glob(pattern)})


def load(library: str) -> tuple[str, str]:
    """The version that loads, and what is wrong with it: it has to be the only one.

    Neither the CUDA runtime nor cuDNN needs a GPU or a driver to tell its version.
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
    return (_cudart_version if library == "cudart" else _cudnn_version)(loaded), ""


def _names(files: list[Path]) -> str:
    return ", ".join(map(str, files))


def mapped_files(prefix: str, maps: Path = Path("/proc/self/maps")) -> list[Path]:
    """The files of this name that the process has mapped."""
    paths = {Path(line[line.index("/") :]) for line in maps.read_text().splitlines() if "/" in line}
    return sorted(path for path in paths if path.name.startswith(prefix))


def _cudart_version(library: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    library.cudaRuntimeGetVersion(ctypes.byref(number))
    return cuda_text(number.value)


def _cudnn_version(library: ctypes.CDLL) -> str:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    return cudnn_text(library.cudnnGetVersion())


def cuda_text(number: int) -> str:
    """13020 is 13.2, by CUDART_VERSION's definition."""
    return f"{number // 1000}.{number % 1000 // 10}"


def cudnn_text(number: int) -> str:
    """92600 is 9.26.0; up to cuDNN 8 the major version counted thousands (8907 is 8.9.7)."""
    major = 10000 if number >= 90000 else 1000
    return f"{number // major}.{number % major // 100}.{number % 100}"
