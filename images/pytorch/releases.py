"""Rows of facts about releases of PyTorch, from the package index and its wheels."""

import re
from collections.abc import Mapping
from typing import Any

from packaging.version import Version

from dlimg.pypi.framework_releases import (
    PackageIndexCache,
    RemoteWheel,
    Row,
    page_row,
    paired_releases,
    pins,
)

FRAMEWORK = PACKAGE = "torch"
PAIRED_PACKAGES = ("torchvision", "torchaudio")
ARCH_FLAGS = re.compile(rb"(?:(?:sm|compute)_[0-9]+[af]? )+(?:sm|compute)_[0-9]+[af]?")
FLAGS_SOURCE = "wheel: torch._C._cuda_getArchFlags()"


def index_row(index: PackageIndexCache, version: str, _: Mapping[str, Any]) -> Row:
    row = page_row(index.releases(PACKAGE)[version])
    cuda = _cuda(index.read_wheel(PACKAGE, version, _version_file))
    requirements = index.requirements(PACKAGE, version, python=row["pythons"][-1])
    return {**row, "cuda": cuda, **({"pins": {cuda[0]: pins(requirements)}} if cuda else {})}


def _is_for_cuda(index: PackageIndexCache, name: str, release: str, cuda: list[str]) -> bool:
    """Return whether a package was built for the CUDA of a torch, by its local version."""
    text = index.read_wheel(name, release, lambda wheel: wheel.text(f"{name}/version.py")) or ""
    built = re.search(r"\+cu([0-9]+)", text)
    return bool(built) and [built[1]] == [minor.replace(".", "") for minor in cuda]


def _version_file(wheel: RemoteWheel) -> str:
    return wheel.text("torch/version.py")


def _cuda(version_file: str | None) -> list[str]:
    match = re.search(r"^cuda\b.*= '([0-9.]+)'$", version_file or "", re.MULTILINE)
    return [match[1]] if match else []


def wheel_row(index: PackageIndexCache, version: str, row: Row) -> Row:
    added: Row = {"paired_packages": {}}
    for name in PAIRED_PACKAGES:
        paired = paired_releases(index, name, PACKAGE, version)
        if len(paired) > 1:
            paired.sort(key=lambda release: _is_for_cuda(index, name, release, row["cuda"]))
        added["paired_packages"][name] = paired
        if not paired:
            newest = max(index.releases(name), key=Version, default="")
            added[f"{name}_note"] = f"none pins this torch; the newest {name} is {newest}"
    code = index.read_wheel(PACKAGE, version, _arch_flags)
    if code and row["cuda"]:
        added |= {
            "architectures": {row["cuda"][0]: code},
            "architectures_source": f"the {FLAGS_SOURCE}",
            # Arch flags name no PTX.
            "ptx_known": False,
        }
    version_file = index.read_wheel(PACKAGE, version, _version_file, "aarch64")
    if version_file:
        added["aarch64_cuda"] = cuda = _cuda(version_file)
        code = index.read_wheel(PACKAGE, version, _arch_flags, "aarch64") if cuda else None
        if code:
            added |= {
                "aarch64_architectures": {cuda[0]: code},
                "aarch64_architectures_source": f"the aarch64 {FLAGS_SOURCE}",
                "aarch64_ptx_known": False,
            }
    return added


def _arch_flags(wheel: RemoteWheel) -> list[str]:
    match = ARCH_FLAGS.search(wheel.content("torch/lib/libtorch_python.so"))
    return match[0].decode().split() if match else []
