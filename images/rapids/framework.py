"""RAPIDS' adapter for the checks: the build of cuDF, and its GPUs."""

import importlib
import importlib.util
import re
from pathlib import Path

import _adapter
import _tag
import _verdict
import cudf
import cupy
import libcudf

# cuML loads libraries of its own, by which its modules are then found.
if importlib.util.find_spec("cuml"):
    importlib.import_module("cuml")
NAME = f"cudf {cudf.__version__}"


def package() -> str:
    """Return the package of cuDF: its name ends with the CUDA that it is built for."""
    names = [name for name in _tag.distributions() if re.fullmatch(r"cudf-cu[0-9]+", name)]
    _verdict.demand(len(names) == 1, f"one cuDF is to be installed, found {names or 'none'}")
    return names[0]


def build() -> _adapter.Build:
    name = package()
    version = _tag.distributions()[name]
    # The module writes 26.06.00 for the package's 26.6.0.
    imported = [int(part) for part in cudf.__version__.split(".")]
    _verdict.demand(
        imported == _tag.numbers(version), f"{name} {version} is installed, {NAME} is imported"
    )
    return _adapter.Build(
        version=version,
        cuda=name.rpartition("cu")[2],
        library=Path(libcudf.__file__).parent / "lib64/libcudf.so",
    )


def device() -> str:
    if not device_count():
        return ""
    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def device_count() -> int:
    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
