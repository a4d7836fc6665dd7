"""The Python with the framework, and the GPUs, of a host without an engine.

Both are found with the modules that the checks themselves use.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from dlimg.checks.discover import COMMON
from dlimg.checks.verdicts import parse_figures
from dlimg.context import Context
from dlimg.errors import BadInput, Problem, nearest
from dlimg.host.process import SandboxResult, run_sandboxed
from dlimg.render.frameworks import ADAPTER

DEVICES: Final = Path("/dev")
# Seconds for the first import of a framework from a cold disk, and for the driver.
_IMPORT_SECONDS: Final = 300
_DRIVER_SECONDS: Final = 60
_DESCRIBE_PYTHON: Final = """\
import json, sys, sysconfig, _adapter
from pathlib import Path
name = _adapter.load().NAME
python = "%d.%d" % sys.version_info[:2]
headers = Path(sysconfig.get_path("include"), "Python.h").exists()
print(json.dumps({"name": name, "python": python, "headers": headers}))
"""
_LIST_GPUS: Final = """\
import json, _gpu
seen = _gpu.look()
print(json.dumps({"gpus": [gpu.name for gpu in seen.gpus], "trouble": seen.trouble}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that has the framework; `name` is the framework with its version."""

    path: str
    python: str
    name: str
    has_headers: bool

    @property
    def version(self) -> str:
        """The framework's version, with characters for a file name."""
        return re.sub(r"[^\w.+-]", "-", (self.name.split() or ["unknown"])[-1])


def require_family(family: str, images: Path) -> None:
    """Raise BadInput for a family without check scripts."""
    common = images / COMMON / "checks"
    if not common.is_dir():
        hint = "run in the project's folder, or name its matrix with --matrix"
        raise BadInput("there are no check scripts", where=str(common), hint=hint)
    families = {path.parent.name for path in images.glob(f"*/{ADAPTER}")}
    if family not in families:
        raise BadInput(f"--on-host {family}: no such family", hint=nearest(family, families))


def script_environment(context: Context) -> Mapping[str, str]:
    """Return the environment of a script's process, without the inputs of checks."""
    inherited = {
        name: value for name, value in context.environment.items() if not name.startswith("DLIMG_")
    }
    return MappingProxyType(inherited | {"PYTHONDONTWRITEBYTECODE": "1"})


def with_python_path(environment: Mapping[str, str], folders: Sequence[Path]) -> Mapping[str, str]:
    """Return the environment with these folders first on PYTHONPATH."""
    before = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    return {**environment, "PYTHONPATH": ":".join([*map(str, folders), *before])}


def find_interpreter(
    family: str, python: str, environment: Mapping[str, str], *, scratch: Path
) -> Interpreter:
    """Return the given Python, or the first one on this host that has the family's framework.

    dlimg's own Python is tried last. Raises BadInput with every Python that was tried and its
    error.
    """
    candidates = [python] if python else [*candidate_pythons(environment), sys.executable]
    problems = []
    for path in dict.fromkeys(candidates):
        argv = [path, "-c", _DESCRIBE_PYTHON]
        process = run_sandboxed(argv, env=environment, cwd=scratch, seconds=_IMPORT_SECONDS)
        answer = _parse_output(process)
        if answer.keys() >= {"name", "python", "headers"}:
            return Interpreter(
                path=path,
                python=str(answer["python"]),
                name=str(answer["name"]),
                has_headers=bool(answer["headers"]),
            )
        problems.append(_problem(family, path, process))
    last = Problem(
        message=f"no Python on this host runs the checks of {family}",
        where="--python" if python else "PATH",
        hint="name the Python that has the framework and NumPy: --python FILE",
    )
    raise BadInput.of([*problems, last])


def candidate_pythons(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the Pythons to try, in order: the active environment's, then those on the PATH."""
    active = [environment.get(name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    folders = [f"{folder}/bin" for folder in active if folder]
    folders += [folder for folder in environment.get("PATH", "").split(":") if folder]
    paths = [Path(folder, name) for folder in folders for name in ("python3", "python")]
    return tuple(dict.fromkeys(str(path) for path in paths if path.is_file()))


def find_gpus(
    python: str, environment: Mapping[str, str], *, scratch: Path, devices: Path = DEVICES
) -> tuple[tuple[str, ...], bool]:
    """Return the GPUs' names by the driver, and whether the host has a GPU.

    A device file is enough for the latter: the driver may hang or crash.
    """
    process = run_sandboxed(
        [python, "-c", _LIST_GPUS], env=environment, cwd=scratch, seconds=_DRIVER_SECONDS
    )
    names = tuple(map(str, _parse_output(process).get("gpus", ())))
    return names, bool(names or any(devices.glob("nvidia[0-9]*")))


def _parse_output(process: SandboxResult) -> Mapping[str, Any]:
    """Return the JSON object that the process printed; empty when it failed."""
    return {} if process.code or process.is_late else parse_figures(process.stdout)


def _problem(family: str, path: str, process: SandboxResult) -> Problem:
    lines = [line.strip() for line in process.stderr.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit code {process.code}"
    if process.is_late:
        reason = f"the import takes more than {_IMPORT_SECONDS} s"
    return Problem(message=f"it does not run the checks of {family}: {reason}", where=path)
