"""A machine without an engine: which of its Pythons has the framework, and which GPUs it has.

Both are asked by what the checks use themselves: a family's own module tells its framework, and
`_gpu` tells what the driver sees.
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
from dlimg.errors import BadInput, Problem, nearest
from dlimg.host.process import SandboxResult, run_sandboxed
from dlimg.render.frameworks import ADAPTER

DEVICES: Final = Path("/dev")
# Seconds for the first import of a framework from a cold disk, and for the driver.
_IMPORT_SECONDS: Final = 300
_DRIVER_SECONDS: Final = 60
_ABOUT: Final = """\
import json, sys, sysconfig, _adapter
from pathlib import Path
name = _adapter.load().NAME
python = "%d.%d" % sys.version_info[:2]
headers = Path(sysconfig.get_path("include"), "Python.h").exists()
print(json.dumps({"name": name, "python": python, "headers": headers}))
"""
_SEE: Final = """\
import json, _gpu
seen = _gpu.look()
print(json.dumps({"gpus": [gpu.name for gpu in seen.gpus], "trouble": seen.trouble}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python that has the framework: `name` is the framework's with its version."""

    path: str
    python: str
    name: str
    has_headers: bool

    @property
    def version(self) -> str:
        """The framework's version, fit for the name of a file."""
        return re.sub(r"[^\w.+-]", "-", (self.name.split() or ["unknown"])[-1])


def require_family(family: str, images: Path) -> None:
    """Raises BadInput where there are no scripts of this family."""
    common = images / COMMON / "checks"
    if not common.is_dir():
        hint = "run in the project's folder, or name its matrix with --matrix"
        raise BadInput("there are no check scripts", where=str(common), hint=hint)
    families = {path.parent.name for path in images.glob(f"*/{ADAPTER}")}
    if family not in families:
        raise BadInput(f"--bare {family}: no such family", hint=nearest(family, families))


def script_environment(own: Mapping[str, str]) -> Mapping[str, str]:
    """What a script's process has in its environment, but for what a check is told."""
    kept = {name: text for name, text in own.items() if not name.startswith("DLIMG_")}
    return MappingProxyType(kept | {"PYTHONDONTWRITEBYTECODE": "1"})


def with_python_path(environment: Mapping[str, str], modules: Sequence[Path]) -> Mapping[str, str]:
    """The same, and the modules of these folders are found."""
    before = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    return {**environment, "PYTHONPATH": ":".join([*map(str, modules), *before])}


def find_interpreter(
    family: str, named: str, environment: Mapping[str, str], *, scratch: Path
) -> Interpreter:
    """The named Python, else the first of this machine's that has the family's framework.

    The last one to try is our own. Raises BadInput with every Python that was tried, and what
    it said.
    """
    problems = []
    for path in (
        [named] if named else dict.fromkeys([*candidate_pythons(environment), sys.executable])
    ):
        argv = [path, "-c", _ABOUT]
        ended = run_sandboxed(argv, env=environment, cwd=scratch, seconds=_IMPORT_SECONDS)
        found = _object(ended)
        if found.keys() >= {"name", "python", "headers"}:
            return Interpreter(
                path=path,
                python=str(found["python"]),
                name=str(found["name"]),
                has_headers=bool(found["headers"]),
            )
        problems.append(_complaint(family, path, ended))
    hint = "name the Python that has the framework and NumPy: --python FILE"
    where = "--python" if named else "PATH"
    last = Problem(message=f"no Python here runs the checks of {family}", where=where, hint=hint)
    raise BadInput.of([*problems, last])


def candidate_pythons(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Pythons in the order of trying: an active environment's, then those on the PATH."""
    active = [environment.get(name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    places = [f"{folder}/bin" for folder in active if folder]
    places += [folder for folder in environment.get("PATH", "").split(":") if folder]
    paths = [Path(place, name) for place in places for name in ("python3", "python")]
    return tuple(dict.fromkeys(str(path) for path in paths if path.is_file()))


def find_gpus(
    python: str, environment: Mapping[str, str], *, scratch: Path, devices: Path = DEVICES
) -> tuple[tuple[str, ...], bool]:
    """The GPUs' names by the driver, and whether one is expected: a device file is enough.

    A driver that hangs or dies is no reason to expect nothing.
    """
    argv = [python, "-c", _SEE]
    found = _object(run_sandboxed(argv, env=environment, cwd=scratch, seconds=_DRIVER_SECONDS))
    names = tuple(map(str, found.get("gpus", ())))
    return names, bool(names or any(devices.glob("nvidia[0-9]*")))


def _object(ended: SandboxResult) -> Mapping[str, Any]:
    """What the process printed, or nothing where it ended otherwise."""
    return {} if ended.code or ended.is_late else parse_figures(ended.stdout)


def _complaint(family: str, path: str, ended: SandboxResult) -> Problem:
    said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    why = said[-1] if said else f"exit code {ended.code}"
    if ended.is_late:
        why = f"the import takes more than {_IMPORT_SECONDS} s"
    return Problem(message=f"it does not run the checks of {family}: {why}", where=path)
