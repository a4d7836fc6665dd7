"""Check scripts for tests: loaded as modules, or run as processes of their own."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

IMAGES: Final = Path(__file__).parents[2] / "images"
COMMON: Final = IMAGES / "common" / "checks"
SCRIPTS: Final = sorted(IMAGES.glob("*/checks/*.py"))
FAMILIES: Final = ("jax", "pytorch", "tensorflow")
PASSED, FAILED, NOT_RUN = 0, 1, 77

sys.path.append(str(COMMON))

no_gpu_here = pytest.mark.skipif(
    any(Path("/dev").glob("nvidia[0-9]*")),
    reason="this machine has a GPU: tests/gpu holds its cases",
)


def code_of(call: Callable[[], object]) -> int:
    """The exit code that this call ends a check with."""
    try:
        call()
    except SystemExit as end:
        return int(end.code or 0)
    return PASSED


def raiser(error: Exception) -> Callable[..., Any]:
    def call(*_: object) -> Any:
        raise error

    return call


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script as its own process, as in an image."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DLIMG_")}
    command = [sys.executable, str(IMAGES / script)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**kept, **environment}
    )


def script(path: str) -> ModuleType:
    """The script as a module: its `main` is not called."""
    name = path.replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, IMAGES / f"{path}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
