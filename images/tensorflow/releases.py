"""Rows of facts about releases of TensorFlow, from the package index and its wheels."""

import re
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from dlimg.pypi.framework_releases import PackageIndexCache, RemoteWheel, Row, page_row, pins

FRAMEWORK = PACKAGE = "tensorflow"
CPU_PACKAGE = "tensorflow-cpu"
# Before, the package without a suffix was the build for the CPU.
CPU_PACKAGE_SINCE = Version("2.1")
EXTRA = "and-cuda"
EXTRA_SINCE = Version("2.14")


def index_row(index: PackageIndexCache, version: str, old: Mapping[str, Any]) -> Row:
    package = old.get("package", PACKAGE)
    row = page_row(index.releases(package)[version])
    row["package"] = package
    if version in index.releases(CPU_PACKAGE) and Version(version) >= CPU_PACKAGE_SINCE:
        row["cpu_package"] = CPU_PACKAGE
    if version in index.releases(package, "aarch64"):
        row["aarch64_cuda"] = []
    if Version(version) < EXTRA_SINCE:
        return {**row, "cuda": old.get("cuda", [])}
    requirements = index.requirements(package, version, extra=EXTRA, python=row["pythons"][-1])
    return {**row, **_cuda_of_extra(pins(requirements))}


def _cuda_of_extra(extra_pins: Mapping[str, str]) -> Row:
    """Return the CUDA that the extra brings: a minor where the runtime is pinned exactly."""
    runtimes = (pair for pair in extra_pins.items() if "cuda-runtime" in pair[0])
    name, version = next(runtimes, ("", ""))
    exact = re.fullmatch(r"([0-9]+\.[0-9]+)\..*", version)
    cuda = exact[1] if exact else name.rpartition("-cu")[2]
    return {"cuda": [cuda], "pins": {cuda: dict(extra_pins)}} if cuda else {"cuda": []}


def wheel_row(index: PackageIndexCache, version: str, row: Row) -> Row:
    build_info = index.read_wheel(row["package"], version, _build_info)
    if not build_info:
        return {}
    added: Row = {}
    cuda = re.search(r"['\"]cuda_version['\"], ['\"]([0-9]+\.[0-9.]+)['\"]", build_info)
    if cuda:
        added["built_for_cuda"] = cuda[1]
    code = re.search(r"['\"]cuda_compute_capabilities['\"], \[([^\]]*)\]", build_info)
    names = re.findall(r"(?:sm|compute)_[0-9]+", code[1]) if code else []
    if names and row["cuda"]:
        added["architectures"] = {row["cuda"][0]: _compiled(names)}
        source = f"the wheel of {version}: cuda_compute_capabilities of build_info.py"
        added["architectures_source"] = source
    return added


def _build_info(wheel: RemoteWheel) -> str:
    return wheel.text("tensorflow/python/platform/build_info.py")


def _compiled(names: list[str]) -> list[str]:
    """Return the GPU code for TensorFlow's names: `compute_NN` means machine code and PTX."""
    code = []
    for name in names:
        if name.startswith("compute_"):
            code.append(f"sm_{name.removeprefix('compute_')}")
        code.append(name)
    return code
