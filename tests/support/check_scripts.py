"""Check scripts for tests: loaded as modules, or run as processes of their own."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

IMAGES: Final = Path(__file__).parents[2] / "images"
COMMON: Final = IMAGES / "common" / "checks"
SCRIPTS: Final = sorted(IMAGES.glob("*/checks/*.py"))
FAMILIES: Final = ("jax", "pytorch", "tensorflow")
PASSED, FAILED, NOT_RUN = 0, 1, 77

Run = Callable[..., subprocess.CompletedProcess[str]]
# The child goes on below the loop, and ends as any Python ends that was started with a script.
FORKING: Final = """
import json, os, runpy, sys
import numpy
for line in sys.stdin:
    script, environment, *outputs = json.loads(line)
    if os.fork() == 0:
        break
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
else:
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
for number, output in enumerate(outputs, 1):
    os.dup2(os.open(output, os.O_WRONLY), number)
os.environ.clear()
os.environ.update(environment)
sys.argv, sys.path[0] = [script], os.path.dirname(script)
runpy.run_path(script, run_name="__main__")
"""

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
    command = [sys.executable, str(IMAGES / script)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=_environment(environment)
    )


@contextlib.contextmanager
def forking() -> Iterator[Run]:
    """As `run`, without the time that Python and NumPy take to start.

    Variables that Python reads when it starts, such as PYTHONPATH, come too late.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as python,
    ):
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]

        def run_there(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
            for output in outputs:
                output.write_text("")
            wanted = [str(IMAGES / script), _environment(environment), *map(str, outputs)]
            assert python.stdin is not None
            assert python.stdout is not None
            print(json.dumps(wanted), file=python.stdin, flush=True)
            code = int(python.stdout.readline())
            return subprocess.CompletedProcess(
                [script], code, *(output.read_text() for output in outputs)
            )

        yield run_there


def _environment(more: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DLIMG_")}
    return {**kept, **more}


def script(path: str) -> ModuleType:
    """The script as a module: its `main` is not called."""
    name = path.replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, IMAGES / f"{path}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
