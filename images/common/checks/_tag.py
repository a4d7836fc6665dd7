"""The axes of a tag (DLIMG_CELL), compared with the image."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import _verdict

SITE = ("site-packages", "dist-packages")


def cell() -> dict[str, str]:
    """Return the axes of this image's tag; empty on a host."""
    try:
        axes = json.loads(os.environ.get("DLIMG_CELL") or "{}")
        return {str(axis): str(value) for axis, value in axes.items()}
    except (ValueError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_CELL is no JSON object: {error}")


def contradictions(expected: Mapping[str, str]) -> list[str]:
    """Return where the tag's axes contradict each other; only `cuda` is compared with the image."""
    accelerator, cuda = expected["accelerator"], expected["cuda"]
    named = re.match(r"cuda([0-9]+\.[0-9]+)", accelerator)
    mismatches = []
    if (accelerator == "cpu") is bool(cuda) or (named and named[1] != cuda):
        mismatches.append(f"accelerator: the tag says {accelerator}, and CUDA {cuda or 'none'}")
    return mismatches + [
        f"{axis}: the tag says {expected[axis]}, and CUDA none"
        for axis in ("cudnn", "nccl", "architectures")
        if expected[axis] and not cuda
    ]


def basic_mismatches(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return mismatches of OS, glibc, architecture, Python and the framework's version."""
    mismatches = []
    if actual["os"] != expected["os"]:
        mismatches.append(f"os: the tag says {expected['os']}, this is {actual['os']}")
    if not within(actual["python"], expected["python"]):
        mismatches.append(f"python: the tag says {expected['python']}, this is {actual['python']}")
    mismatches += platform_mismatches(expected, actual)
    mismatches += [
        f"{axis}: the tag says {expected['version']}, found {actual[axis] or 'none'}"
        for axis in ("version", "package")
        if not same_version(expected["version"], actual[axis])
    ]
    return mismatches


def platform_mismatches(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return where architecture and glibc differ from the facts and the wheels' platform."""
    machine, _, floor = expected["platform"].partition("-manylinux_")
    mismatches = []
    if actual["machine"] != machine:
        mismatches.append(f"platform: the wheels are for {machine}, this is {actual['machine']}")
    if expected["glibc"] and actual["glibc"] != expected["glibc"]:
        mismatches.append(
            f"glibc: {expected['glibc']} is promised, this is {actual['glibc'] or 'none'}"
        )
    if not actual["glibc"] or numbers(actual["glibc"]) < numbers(floor.replace("_", ".")):
        mismatches.append(
            f"glibc: wheels of {expected['platform']} may be here, "
            f"this is {actual['glibc'] or 'none'}"
        )
    return mismatches


def cpu_mismatches(
    actual: Mapping[str, str], installed: Mapping[str, str], files: Sequence[Path]
) -> list[str]:
    """Return the parts of CUDA in a CPU image; `files` are libraries of CUDA."""
    mismatches = []
    if actual["built_cuda"]:
        mismatches.append(
            f"cuda: the tag says cpu, the framework is built for {actual['built_cuda']}"
        )
    if actual["version"].partition("+")[2] not in ("", "cpu"):
        mismatches.append(f"cuda: the tag says cpu, the framework is {actual['version']}")
    parts = [name for name in installed if name.startswith(("nvidia-", "jax-cuda"))]
    if parts:
        mismatches.append(f"cuda: the tag says cpu, but {', '.join(sorted(parts))} is installed")
    if files:
        mismatches.append(f"cuda: the tag says cpu, but there is {files[0]}")
    return mismatches


def cuda_mismatches(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return where CUDA's libraries, cuDNN and the framework's build differ from the tag."""
    mismatches = []
    runtime, built = actual["cudart"] or "none", actual["built_cuda"]
    cudnn, wanted = actual.get("cudnn") or "none", expected["cudnn"] or "none"
    if runtime != expected["cuda"]:
        mismatches.append(
            f"cuda: the tag says {expected['cuda']}, the runtime that loads is {runtime}"
        )
    if not built:
        mismatches.append(f"cuda: the tag says {expected['cuda']}, the framework is a CPU build")
    elif not serves(runtime, built):
        mismatches.append(f"cuda: the framework is built for {built}, the runtime is {runtime}")
    # The library does not know the fourth part of the wheel's version.
    if not (cudnn == wanted or within(cudnn, ".".join(wanted.split(".")[:3]))):
        mismatches.append(f"cudnn: the tag says {wanted}, {cudnn} loads")
    nccl, promised = actual.get("nccl") or "none", expected["nccl"] or "none"
    if not (nccl == promised or within(nccl, ".".join(promised.split(".")[:3]))):
        mismatches.append(f"nccl: {promised} is promised, {nccl} loads")
    if actual["built_cudnn"] and not serves(cudnn, actual["built_cudnn"]):
        mismatches.append(f"cudnn: built for {actual['built_cudnn']}, {cudnn} loads")
    local = actual["version"].partition("+")[2]
    if local not in ("", "cu" + "".join(built.split(".")[:2])):
        mismatches.append(
            f"cuda: the framework is {actual['version']}, but built for {built or 'cpu'}"
        )
    return mismatches


def same_version(expected: str, actual: str) -> bool:
    """Return whether versions are equal; the expected one may lack a local part (`+cpu`)."""
    if "+" in expected:
        return actual == expected
    return bool(expected) and actual.partition("+")[0] == expected


def within(actual: str, expected: str) -> bool:
    """Return whether a version such as `3.13.5` belongs to `3.13`; a bare `3` is refused."""
    wanted = expected.split(".")
    return len(wanted) > 1 and actual.split(".")[: len(wanted)] == wanted


def serves(runtime: str, built: str) -> bool:
    """Return whether a library serves a build for another minor: the same major, not older."""
    if runtime == "none":
        return False
    ours, theirs = (numbers(text)[:2] for text in (runtime, built))
    return ours[0] == theirs[0] and ours[: len(theirs)] >= theirs


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def glibc() -> str:
    """Return the version of glibc, such as `2.41`, or an empty text for another C library."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def os_name(release: Path = Path("/etc/os-release")) -> str:
    """Return ID and VERSION_ID together: `debian13`, `ubuntu24.04`."""
    rows = [line.partition("=") for line in release.read_text().splitlines()]
    fields = {key: value.strip("\"'") for key, _, value in rows}
    return fields.get("ID", "") + fields.get("VERSION_ID", "")


def distributions() -> dict[str, str]:
    """Return versions of installed packages by name; of two with one name, the imported one."""
    actual: dict[str, str] = {}
    for distribution in installed():
        actual.setdefault(normal(distribution.metadata["Name"] or ""), distribution.version)
    return actual


def installed() -> list[metadata.Distribution]:
    """Return the installed packages, without those that a package carries in a folder of its own.

    A package may put such a folder on `sys.path` when it is imported, as setuptools does.
    """
    return list(metadata.distributions(path=search_path(sys.path)))


def search_path(folders: Sequence[str]) -> list[str]:
    """Return these folders without those inside of a package: below `site-packages`.

    An egg, which is a folder or a file there, is a package that was installed.
    """
    return [
        folder
        for folder in folders
        if folder.endswith(".egg")
        or not any(parent.name in SITE for parent in Path(folder).parents)
    ]


def normal(name: str) -> str:
    """Return a distribution's name as packaging standards compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
