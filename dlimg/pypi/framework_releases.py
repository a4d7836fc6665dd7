"""What the index and its wheels say of the frameworks' releases, as rows of facts."""

import re
import runpy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.version import Version

from dlimg.facts.pypi_metadata import companions, page_row, pin, pins
from dlimg.pypi.cache import PackageIndexCache, RemoteWheel

Row = dict[str, Any]
FLAGS: Final = re.compile(rb"(?:(?:sm|compute)_[0-9]+[af]? )+(?:sm|compute)_[0-9]+[af]?")
FLAGGED: Final = "wheel: torch._C._cuda_getArchFlags()"
# A companion for a release is among its newest.
LATEST: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkReleases:
    """How the releases of a framework are looked at.

    `page` is what the index's page and METADATA say, of any release; `inside` what only the
    libraries say, which is read for a new one.
    """

    project: str
    page: Callable[[PackageIndexCache, str, Mapping[str, Any]], Row]
    inside: Callable[[PackageIndexCache, str, Row], Row]


def _torch_page(market: PackageIndexCache, version: str, _: Mapping[str, Any]) -> Row:
    row = page_row(market.releases("torch")[version])
    cuda = _torch_cuda(market.read_wheel("torch", version, _torch_version))
    found = pins(market.requirements("torch", version, python=row["pythons"][-1]))
    return {**row, "cuda": cuda, **({"pins": {cuda[0]: found}} if cuda else {})}


def _torch_version(wheel: RemoteWheel) -> str:
    return wheel.text("torch/version.py")


def _torch_cuda(text: str | None) -> list[str]:
    found = re.search(r"^cuda\b.*= '([0-9.]+)'$", text or "", re.MULTILINE)
    return [found[1]] if found else []


def _torch_inside(market: PackageIndexCache, version: str, row: Row) -> Row:
    found: Row = {"companions": {}}
    for name in ("torchvision", "torchaudio"):
        found["companions"][name] = versions = _paired(market, name, version)
        if not versions:
            newest = max(market.releases(name), key=Version, default="")
            found[f"{name}_note"] = f"none pins this torch; the newest {name} is {newest}"
    held = market.read_wheel("torch", version, _flags)
    if held and row["cuda"]:
        found |= {"architectures": {row["cuda"][0]: held}, "architectures_source": f"the {FLAGGED}"}
        # Arch flags name no PTX.
        found["ptx_known"] = False
    other = market.read_wheel("torch", version, _torch_version, "aarch64")
    if other:
        found["aarch64_cuda"] = cuda = _torch_cuda(other)
        held = market.read_wheel("torch", version, _flags, "aarch64") if cuda else None
        if held:
            found["aarch64_architectures"] = {cuda[0]: held}
            found["aarch64_architectures_source"] = f"the aarch64 {FLAGGED}"
            found["aarch64_ptx_known"] = False
    return found


def _flags(wheel: RemoteWheel) -> list[str]:
    found = FLAGS.search(wheel.content("torch/lib/libtorch_python.so"))
    return found[0].decode().split() if found else []


def _paired(market: PackageIndexCache, companion: str, torch: str) -> list[str]:
    newest = list(market.releases(companion))[-LATEST:]
    return companions({one: market.requirements(companion, one) for one in newest}, torch)


def _jax_page(market: PackageIndexCache, version: str, _: Mapping[str, Any]) -> Row:
    page = page_row(market.releases("jax")[version])
    asked = market.requirements("jax", version)
    library = _newest(market, "jaxlib", asked.get("jaxlib"))
    row: Row = {name: page[name] for name in ("released", "requires_python") if name in page}
    row["jaxlib"] = pin(asked["jaxlib"])
    row["pythons"] = page_row(market.releases("jaxlib")[library])["pythons"] if library else []
    row |= {"cuda": [], "plugin": {}, "pins": {}}
    for major in ("12", "13"):
        name = f"jax-cuda{major}-plugin"
        wanted = market.requirements("jax", version, extra=f"cuda{major}").get(name)
        plugin = _newest(market, name, wanted)
        if plugin:
            row["cuda"].append(major)
            row["plugin"][major] = plugin
            row["pins"][major] = pins(market.requirements(name, plugin, extra="with-cuda"))
    return row


def _newest(market: PackageIndexCache, project: str, wanted: Requirement | None) -> str:
    """The newest release that a requirement takes; empty where there is none."""
    if wanted is None:
        return ""
    fitting = [one for one in market.releases(project) if wanted.specifier.contains(one)]
    return max(fitting, key=Version, default="")


def _jax_inside(market: PackageIndexCache, _: str, row: Row) -> Row:
    held = {}
    for major in row["cuda"]:
        project = f"jax-cuda{major}-pjrt"
        found = market.read_wheel(project, row["plugin"][major], _plugin)
        if found:
            held[major] = _fatbin(market, found)
    if not held:
        return {}
    way = "the wheels of its PJRT plugins: the fatbinaries of xla_cuda_plugin.so"
    return {"architectures": held, "architectures_source": way}


def _plugin(wheel: RemoteWheel) -> bytes:
    return wheel.content("/xla_cuda_plugin.so")


def _fatbin(market: PackageIndexCache, library: bytes) -> list[str]:
    """What every fatbinary of a library holds, as the check scripts read it."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(library)
        file.flush()
        held: list[str] = runpy.run_path(str(market.fatbin))["held"](Path(file.name)).everywhere
    return held


def _tensorflow_page(market: PackageIndexCache, version: str, old: Mapping[str, Any]) -> Row:
    package = old.get("package", "tensorflow")
    row = page_row(market.releases(package)[version])
    row["package"] = package
    if version in market.releases("tensorflow-cpu") and Version(version) >= Version("2.1"):
        row["cpu_package"] = "tensorflow-cpu"
    if Version(version) < Version("2.14"):
        return {**row, "cuda": old.get("cuda", [])}
    asked = market.requirements(package, version, extra="and-cuda", python=row["pythons"][-1])
    return {**row, **_and_cuda(pins(asked))}


def _and_cuda(found: Mapping[str, str]) -> Row:
    """The CUDA that the extra brings: a minor where the runtime is pinned exactly."""
    runtime = next((pair for pair in found.items() if "cuda-runtime" in pair[0]), ("", ""))
    major = runtime[0].rpartition("-cu")[2]
    exact = re.fullmatch(r"([0-9]+\.[0-9]+)\..*", runtime[1])
    cuda = exact[1] if exact else major
    return {"cuda": [cuda], "pins": {cuda: dict(found)}} if cuda else {"cuda": []}


def _tensorflow_inside(market: PackageIndexCache, version: str, row: Row) -> Row:
    text = market.read_wheel(row["package"], version, _build_info)
    if not text:
        return {}
    found: Row = {}
    built = re.search(r"['\"]cuda_version['\"], ['\"]([0-9]+\.[0-9.]+)['\"]", text)
    if built:
        found["built_for_cuda"] = built[1]
    listed = re.search(r"['\"]cuda_compute_capabilities['\"], \[([^\]]*)\]", text)
    names = re.findall(r"(?:sm|compute)_[0-9]+", listed[1]) if listed else []
    if names and row["cuda"]:
        found["architectures"] = {row["cuda"][0]: list(_compiled(names))}
        way = f"the wheel of {version}: cuda_compute_capabilities of build_info.py"
        found["architectures_source"] = way
    return found


def _build_info(wheel: RemoteWheel) -> str:
    return wheel.text("tensorflow/python/platform/build_info.py")


def _compiled(names: list[str]) -> list[str]:
    """TensorFlow's `compute_NN` is machine code and PTX, its `sm_NN` machine code alone."""
    return [
        one
        for name in names
        for one in ((f"sm_{name.removeprefix('compute_')}", name) if "compute" in name else (name,))
    ]


FRAMEWORKS: Final[Mapping[str, FrameworkReleases]] = {
    "jax": FrameworkReleases(project="jax", page=_jax_page, inside=_jax_inside),
    "tensorflow": FrameworkReleases(
        project="tensorflow", page=_tensorflow_page, inside=_tensorflow_inside
    ),
    "torch": FrameworkReleases(project="torch", page=_torch_page, inside=_torch_inside),
}
