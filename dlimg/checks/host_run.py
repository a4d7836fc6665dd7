"""The check scripts on a machine without an engine: unchanged, each a process of its own.

Time is limited and the process group dies; memory is not limited and the network is not cut. The
verdicts come from the same functions as in a container, and the evidence says that it is bare.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import dlimg
from dlimg.host.interrupt import (interruptible)
from dlimg.checks.completion import judged_by_end, new_word, python_argv
from dlimg.checks.discover import COMMON, checks_of_machine, place, scripts
from dlimg.checks.evidence import CheckSets, check_sets, read_last, vanished
from dlimg.checks.header import COMPILER
from dlimg.checks.host import this_host
from dlimg.checks.host_python import (
    DEVICES,
    Interpreter,
    environment_of,
    gpus,
    interpreter,
    look_up,
    with_modules,
)
from dlimg.checks.script_files import placed
from dlimg.checks.verdicts import NO_DEVICE, NOT_RUN_CODE, ScriptResult, sought, told_text, verdict
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.host.process import (run_sandboxed)
from dlimg.model import Check, Evidence, Verdict

DEVICE: Final = "bare"  # all GPUs of the machine
SCRIPTS: Final = "scripts"
COMPILERS: Final = ("cc", "c++")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheckRequest:
    """Whose checks are to run: a family's and a user's own; `python` is empty for the first found.

    `images` is the project's folder of that name, `revision` the commit that it is at.
    """

    family: str
    images: Path
    own: Path | None = None
    python: str = ""
    revision: Revision = NO_REVISION


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckHost:
    """A machine that checks run on; `scratch` is where they are, and where they may write.

    `gpus` are those that the driver sees; one may be expected where it sees none.
    """

    wanted: HostCheckRequest
    scripts: Mapping[str, bytes]
    interpreter: Interpreter
    gpus: tuple[str, ...]
    has_gpu: bool
    environment: Mapping[str, str]
    scratch: Path
    log: Callable[[str], None]

    @property
    def cell(self) -> str:
        """What stands in evidence where an image has its cell's id."""
        found = self.interpreter
        return f"bare-{self.wanted.family}-{found.version}-py{found.python}"

    @property
    def device(self) -> str:
        return DEVICE if self.has_gpu else NO_DEVICE


@contextmanager
def machine(
    wanted: HostCheckRequest,
    environment: Mapping[str, str],
    *,
    log: Callable[[str], None],
    devices: Path = DEVICES,
) -> Iterator[CheckHost]:
    """The machine we are on, with a scratch folder that is gone afterwards.

    Raises BadInput for an unknown family, and where no Python has its framework.
    """
    look_up(wanted.family, wanted.images)
    found = scripts(wanted.images, wanted.family, wanted.own)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="dlimg-", ignore_cleanup_errors=True) as folder,
    ):
        scratch = Path(folder)
        lay_out(found, scratch / SCRIPTS)
        inherited = environment_of(environment)
        modules = [scratch / SCRIPTS / name / "checks" for name in (wanted.family, COMMON)]
        asking = with_modules(inherited, modules)
        known = interpreter(wanted.family, wanted.python, asking, scratch=scratch)
        names, has_gpu = gpus(known.path, asking, scratch=scratch, devices=devices)
        log(f"{known.path} has {known.name}; {_sight(names, has_gpu)}")
        yield CheckHost(
            wanted=wanted,
            scripts=found,
            interpreter=known,
            gpus=names,
            has_gpu=has_gpu,
            environment=inherited,
            scratch=scratch,
            log=log,
        )


def checks_here(there: CheckHost) -> tuple[Check, ...]:
    """The checks that apply to this machine; no compiler was promised, so none is required.

    They run from copies, laid out as in a container, which nothing but them changes.
    """
    lacks = bool(_lacks(there))
    wanted, found = there.wanted, there.scripts
    return tuple(
        replace(
            placed(check, wanted.images, found),
            path=str(there.scratch / SCRIPTS / place(Path(check.path), wanted.images, found)),
            required=check.required and not (lacks and COMPILER in check.needs),
        )
        for check in checks_of_machine(
            wanted.family, wanted.images, wanted.own, has_gpu=there.has_gpu
        )
    )


def lay_out(found: Mapping[str, bytes], folder: Path) -> None:
    """Write the scripts and modules as they lie in a container."""
    for name, content in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_bare(there: CheckHost, checks: Sequence[Check], *, folder: Path) -> Evidence:
    """What these checks say of the machine's framework; the caller keeps it.

    `folder` is where the last evidence is, by which a check that is gone is missed.
    """
    verdicts = tuple(tried(there, check) for check in checks)
    last = read_last(folder, there.cell, log=there.log)
    return Evidence(
        digest="",
        cell=there.cell,
        device=there.device,
        day=datetime.now(UTC).date().isoformat(),
        dlimg=dlimg.__version__,
        engine="",
        verdicts=verdicts,
        host=this_host(),
        bare=there.wanted.family,
        vanished=vanished(last, sets_of(there, checks), log=there.log),
        revision=there.wanted.revision.commit,
        dirty=there.wanted.revision.dirty,
    )


def sets_of(there: CheckHost, checks: Sequence[Check]) -> CheckSets:
    """These checks by the folder that they come from."""
    names = [check.name for check in checks]
    return check_sets(names, there.scripts, there.wanted.images, there.wanted.own)


def tried(there: CheckHost, check: Check) -> Verdict:
    """The verdict on one check, told of; one that may fail by no fault of its own has two tries."""
    found = sought(check, lambda: _verdict(there, check), between=lambda: None)
    there.log(told_text(there.cell, found))
    return found


def _verdict(there: CheckHost, check: Check) -> Verdict:
    lack = _lacks(there) if COMPILER in check.needs else ""
    ran = ScriptResult(code=NOT_RUN_CODE, stderr=lack) if lack else _run(there, check)
    return verdict(check, ran, device=there.device)


def _run(there: CheckHost, check: Check) -> ScriptResult:
    word = new_word()
    with tempfile.TemporaryDirectory(dir=there.scratch, ignore_cleanup_errors=True) as folder:
        told = {"DLIMG_GPU": "expected" if there.has_gpu else "none", "TMPDIR": folder}
        ended = run_sandboxed(
            python_argv(there.interpreter.path, check.path, word),
            env={**there.environment, **told},
            cwd=Path(folder),
            seconds=check.seconds,
        )
    ran = ScriptResult(
        code=ended.code,
        stdout=ended.stdout,
        stderr=ended.stderr,
        seconds=ended.seconds,
        ending="out of time" if ended.is_late else "exited",
        limit=f"{check.seconds} s",
    )
    return judged_by_end(ran, word)


def _lacks(there: CheckHost) -> str:
    """What of a compiler is not here, or an empty text."""
    for name in COMPILERS:
        if shutil.which(name, path=there.environment.get("PATH")) is None:
            return f"no compiler here: there is no {name} on the PATH"
    if not there.interpreter.has_headers:
        return f"no compiler here: {there.interpreter.path} has no Python.h"
    return ""


def _sight(names: Sequence[str], has_gpu: bool) -> str:  # noqa: FBT001 - seen apart from names
    if names:
        return f"the driver sees {' and '.join(names)}"
    return "a GPU's device file is here, but the driver sees none" if has_gpu else "no GPU here"
