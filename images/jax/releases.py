"""Rows of facts about releases of JAX and its CUDA plugins, from the package index."""

from collections.abc import Mapping
from typing import Any

from dlimg.pypi.framework_releases import (
    PackageIndexCache,
    RemoteWheel,
    Row,
    code_in_library,
    newest_release,
    page_row,
    pin,
    pins,
)

FRAMEWORK = PACKAGE = "jax"
LIBRARY = "jaxlib"
CUDA_MAJORS = ("12", "13")


def index_row(index: PackageIndexCache, version: str, _: Mapping[str, Any]) -> Row:
    page = page_row(index.releases(PACKAGE)[version])
    # Before 0.4.30 the library came with an extra only.
    requirements = index.requirements(PACKAGE, version, extra="cpu")
    library = newest_release(index, LIBRARY, requirements.get(LIBRARY))
    row: Row = {name: page[name] for name in ("released", "requires_python") if name in page}
    row["library"] = pin(requirements[LIBRARY])
    of_library = page_row(index.releases(LIBRARY)[library]) if library else {}
    row["pythons"] = of_library.get("pythons", [])
    if "free_threaded" in of_library:
        row["free_threaded"] = of_library["free_threaded"]
    row |= {"cuda": [], "plugin": {}, "pins": {}}
    arm = []
    for major in CUDA_MAJORS:
        name = f"jax-cuda{major}-plugin"
        own = index.requirements(PACKAGE, version, extra=f"cuda{major}")
        plugin = newest_release(index, name, own.get(name))
        if plugin:
            row["cuda"].append(major)
            row["plugin"][major] = plugin
            of_plugin = index.requirements(name, plugin, extra="with-cuda")
            row["pins"][major] = {**pins(own), **pins(of_plugin)}
            arm += [major] if plugin in index.releases(name, "aarch64") else []
    if library in index.releases(LIBRARY, "aarch64"):
        row["aarch64_cuda"] = arm
    return row


def wheel_row(index: PackageIndexCache, _: str, row: Row) -> Row:
    code = {}
    for major in row["cuda"]:
        library = index.read_wheel(f"jax-cuda{major}-pjrt", row["plugin"][major], _plugin_library)
        if library:
            code[major] = code_in_library(index, library)
    if not code:
        return {}
    source = "the wheels of its PJRT plugins: the fatbinaries of xla_cuda_plugin.so"
    return {"architectures": code, "architectures_source": source}


def _plugin_library(wheel: RemoteWheel) -> bytes:
    return wheel.content("/xla_cuda_plugin.so")
