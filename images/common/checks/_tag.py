"""What a tag promises (DLIMG_CELL) against what is found in here: every axis is read back."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import _verdict


def cell() -> dict[str, str]:
    """The axes of this image's tag; empty on a machine that is no image of dlimg."""
    try:
        axes = json.loads(os.environ.get("DLIMG_CELL") or "{}")
        return {str(axis): str(value) for axis, value in axes.items()}
    except (ValueError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_CELL is no JSON object: {error}")


def contradictions(said: Mapping[str, str]) -> list[str]:
    """Where the tag's axes deny each other: only `cuda` is compared with what is found."""
    accelerator, cuda = said["accelerator"], said["cuda"]
    named = re.match(r"cuda([0-9]+\.[0-9]+)", accelerator)
    lies = []
    if (accelerator == "cpu") is bool(cuda) or (named and named[1] != cuda):
        lies.append(f"accelerator: the tag says {accelerator}, and CUDA {cuda or 'none'}")
    return lies + [
        f"{axis}: the tag says {said[axis]}, and CUDA none"
        for axis in ("cudnn", "nccl", "architectures")
        if said[axis] and not cuda
    ]


def basic_lies(said: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Axes that every image has: OS, glibc, machine, Python, the framework's version."""
    lies = []
    if found["os"] != said["os"]:
        lies.append(f"os: the tag says {said['os']}, this is {found['os']}")
    if not within(found["python"], said["python"]):
        lies.append(f"python: the tag says {said['python']}, this is {found['python']}")
    lies += platform_lies(said, found)
    lies += [
        f"{what}: the tag says {said['version']}, found {found[what] or 'none'}"
        for what in ("version", "package")
        if not same_version(said["version"], found[what])
    ]
    return lies


def platform_lies(said: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Where machine and glibc leave what the facts and the wheels' platform promise."""
    machine, _, floor = said["platform"].partition("-manylinux_")
    lies = []
    if found["machine"] != machine:
        lies.append(f"platform: the wheels are for {machine}, this is {found['machine']}")
    if said["glibc"] and found["glibc"] != said["glibc"]:
        lies.append(f"glibc: {said['glibc']} is promised, this is {found['glibc'] or 'none'}")
    if not found["glibc"] or numbers(found["glibc"]) < numbers(floor.replace("_", ".")):
        lies.append(
            f"glibc: wheels of {said['platform']} may be here, this is {found['glibc'] or 'none'}"
        )
    return lies


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
    nccl, promised = found.get("nccl") or "none", said["nccl"] or "none"
    if not (nccl == promised or within(nccl, ".".join(promised.split(".")[:3]))):
        lies.append(f"nccl: {promised} is promised, {nccl} loads")
    if found["built_cudnn"] and not serves(cudnn, found["built_cudnn"]):
        lies.append(f"cudnn: built for {found['built_cudnn']}, {cudnn} loads")
    local = found["version"].partition("+")[2]
    if local not in ("", "cu" + "".join(built.split(".")[:2])):
        lies.append(f"cuda: the framework is {found['version']}, but built for {built or 'cpu'}")
    return lies


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
    ours, theirs = (numbers(text)[:2] for text in (runtime, built))
    return ours[0] == theirs[0] and ours[: len(theirs)] >= theirs


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def glibc() -> str:
    """The C library that runs, such as `2.41`, or an empty text where it is another one."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


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
