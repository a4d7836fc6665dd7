"""Running check scripts on a host without an engine, each in a process of its own.

The host's GPUs and its Python with the framework are found with the modules that checks use.

Time is limited and the process group is killed; memory and network are not limited. The verdicts
come from the same functions as in a container.
"""

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import dlimg
from dlimg.checks.completion import check_completion, new_token, python_argv
from dlimg.checks.container_setup import prepare_check
from dlimg.checks.discover import COMMON, CheckFolders, checks_for_host, read_scripts, script_path
from dlimg.checks.evidence import CheckSets, group_by_folder, read_last_run, report_missing_checks
from dlimg.checks.header import COMPILER
from dlimg.checks.host import this_host
from dlimg.checks.verdicts import (
    NO_DEVICE,
    NOT_RUN_CODE,
    ScriptResult,
    parse_figures,
    run_with_retry,
    verdict_line,
    verdict_of,
)
from dlimg.context import Context
from dlimg.errors import BadInput, Problem, nearest
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.host.interrupt import interruptible
from dlimg.host.process import SandboxResult, run_sandboxed
from dlimg.image_files import ImageFiles
from dlimg.model import Check, Evidence, Verdict
from dlimg.render.frameworks import ADAPTER

# The device and the prefix of the cell in evidence of a host: all its GPUs.
DEVICE: Final = "host"
SCRIPTS: Final = "scripts"
COMPILERS: Final = ("cc", "c++")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheckRequest:
    """The family whose checks are to run on the host, and the user's own checks.

    `images` is the project's folder of that name, `revision` its commit. `python` is empty for
    the first Python with the framework.
    """

    family: str
    images: ImageFiles
    own_checks: Path | None = None
    python: str = ""
    revision: Revision = NO_REVISION


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHost:
    """The host that checks run on; `scratch` holds their scripts and is writable.

    `gpus` are those that the driver reports; `has_gpu` may be true without any, by device files.
    """

    request: HostCheckRequest
    scripts: Mapping[str, bytes]
    interpreter: Interpreter
    gpus: tuple[str, ...]
    has_gpu: bool
    environment: Mapping[str, str]
    scratch: Path
    log: Callable[[str], None] = field(repr=False)

    @property
    def cell(self) -> str:
        """The name that evidence has instead of a cell's id."""
        python = self.interpreter
        return f"{DEVICE}-{self.request.family}-{python.version}-py{python.python}"

    @property
    def device(self) -> str:
        return DEVICE if self.has_gpu else NO_DEVICE


@contextmanager
def open_check_host(
    request: HostCheckRequest,
    context: Context,
    *,
    devices: Path = DEVICES,
) -> Iterator[CheckHost]:
    """Yield this host, with a scratch folder that is removed afterwards.

    Raises BadInput for an unknown family, or if no Python has its framework.
    """
    require_family(request.family, request.images)
    scripts = read_scripts(request.images, request.family, request.own_checks)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="dlimg-", ignore_cleanup_errors=True) as folder,
    ):
        scratch = Path(folder)
        write_scripts(scripts, scratch / SCRIPTS)
        inherited = script_environment(context)
        modules = [scratch / SCRIPTS / name / "checks" for name in (request.family, COMMON)]
        with_modules = with_python_path(inherited, modules)
        python = find_interpreter(request.family, request.python, with_modules, scratch=scratch)
        gpus, has_gpu = find_gpus(python.path, with_modules, scratch=scratch, devices=devices)
        context.log(f"{python.path} has {python.name}; {_gpu_text(gpus, has_gpu=has_gpu)}")
        yield CheckHost(
            request=request,
            scripts=scripts,
            interpreter=python,
            gpus=gpus,
            has_gpu=has_gpu,
            environment=inherited,
            scratch=scratch,
            log=context.log,
        )


def checks_on_host(host: CheckHost) -> tuple[Check, ...]:
    """Return the checks that apply to this host, with the paths of their copies in `scratch`.

    Checks that need a compiler are not required on a host without one.
    """
    has_compiler = not _missing_compiler(host)
    request, scripts = host.request, host.scripts
    folder = host.scratch / SCRIPTS
    return tuple(
        replace(
            prepare_check(check, request.images, scripts),
            path=str(folder / script_path(Path(check.path), request.images, scripts)),
            required=check.required and (has_compiler or COMPILER not in check.needs),
        )
        for check in checks_for_host(
            request.family,
            CheckFolders(images=request.images, own=request.own_checks),
            has_gpu=host.has_gpu,
        )
    )


def write_scripts(scripts: Mapping[str, bytes], folder: Path) -> None:
    """Write the scripts and modules with the same relative paths as in a container."""
    for name, content in scripts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run_checks_on_host(host: CheckHost, checks: Sequence[Check], *, folder: Path) -> Evidence:
    """Run these checks and return the evidence; the caller saves it.

    `folder` has the record of the last run, which shows the checks that have disappeared since.
    """
    verdicts = tuple(run_check_on_host(host, check) for check in checks)
    last_run = read_last_run(folder, host.cell, log=host.log)
    sets = group_by_folder_on_host(host, checks)
    return Evidence(
        digest="",
        cell=host.cell,
        device=host.device,
        day=datetime.now(UTC).date().isoformat(),
        dlimg=dlimg.__version__,
        engine="",
        verdicts=verdicts,
        host=this_host(),
        on_host=host.request.family,
        vanished=report_missing_checks(last_run, sets, log=host.log),
        revision=host.request.revision.commit,
        dirty=host.request.revision.dirty,
    )


def group_by_folder_on_host(host: CheckHost, checks: Sequence[Check]) -> CheckSets:
    """Return the names of these checks by the folder that they come from."""
    names = [check.name for check in checks]
    return group_by_folder(names, host.scripts, host.request.images, host.request.own_checks)


def run_check_on_host(host: CheckHost, check: Check) -> Verdict:
    """Run the check, a second time if it is flaky and fails, and log the verdict."""
    verdict = run_with_retry(check, lambda: _attempt(host, check), between=lambda: None)
    host.log(verdict_line(host.cell, verdict))
    return verdict


def _attempt(host: CheckHost, check: Check) -> Verdict:
    missing = _missing_compiler(host) if COMPILER in check.needs else ""
    if missing:
        result = ScriptResult(code=NOT_RUN_CODE, stderr=missing)
    else:
        result = _run_script(host, check)
    return verdict_of(check, result, device=host.device)


def _run_script(host: CheckHost, check: Check) -> ScriptResult:
    token = new_token()
    with tempfile.TemporaryDirectory(dir=host.scratch, ignore_cleanup_errors=True) as folder:
        variables = {"DLIMG_GPU": "expected" if host.has_gpu else "none", "TMPDIR": folder}
        process = run_sandboxed(
            python_argv(host.interpreter.path, check.path, token),
            env={**host.environment, **variables},
            cwd=Path(folder),
            seconds=check.seconds,
        )
    result = ScriptResult(
        code=process.code,
        stdout=process.stdout,
        stderr=process.stderr,
        seconds=process.seconds,
        ending="out of time" if process.is_late else "exited",
        limit=f"{check.seconds} s",
    )
    return check_completion(result, token)


def _missing_compiler(host: CheckHost) -> str:
    """Return the reason why no extension can be compiled, or an empty text."""
    for name in COMPILERS:
        if shutil.which(name, path=host.environment.get("PATH")) is None:
            return f"no compiler: {name} is not on the PATH"
    if not host.interpreter.has_headers:
        return f"no compiler: {host.interpreter.path} has no Python.h"
    return ""


def _gpu_text(names: Sequence[str], *, has_gpu: bool) -> str:
    if names:
        return f"the driver sees {' and '.join(names)}"
    return "a GPU's device file exists, but the driver sees none" if has_gpu else "no GPU"


def require_family(family: str, images: ImageFiles) -> None:
    """Raise BadInput for a family without check scripts."""
    common = images.folders[0] / COMMON / "checks"
    if not images.matching(f"{COMMON}/checks/*.py"):
        hint = "run in the project's folder, or name its matrix with --matrix"
        raise BadInput("there are no check scripts", where=str(common), hint=hint)
    families = {path.parent.name for path in images.matching(f"*/{ADAPTER}").values()}
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
