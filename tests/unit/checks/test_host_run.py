"""Checks on a machine without an engine: scripts of every kind, run for real by this Python."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.evidence import read_evidence
from dlimg.checks.host_run import (
    CheckHost,
    HostCheckRequest,
    candidate_pythons,
    checks_on_host,
    find_interpreter,
    open_check_host,
    run_check_on_host,
    run_checks_on_host,
)
from dlimg.cli.main import main
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.process import wait_until
from dlimg.model import CheckStatus, Evidence, Verdict
from tests.support.check_scripts import COMMON, no_gpu_here
from tests.support.image_folders import files_in

run_checks_on_host.__test__ = False  # type: ignore[attr-defined]

ROOT = Path(__file__).parents[3]
SCRIPTS = {
    "passes": ("needs: nothing", "print('{\"answer\": 42}')"),
    "fails": ("needs: nothing", "sys.exit('3 is more than 2')"),
    "lacks": ("needs: gpu\napplies: cuda", "print('no GPU here', file=sys.stderr); sys.exit(77)"),
    "hangs": ("needs: nothing\nseconds: 1", "import time; time.sleep(60)"),
    "crashes": ("needs: nothing", "os.kill(os.getpid(), 11)"),
    "talks": ("needs: nothing", "print('x' * 5_000_000); print('{\"after\": true}')"),
    "babbles": ("needs: nothing", "print('{no figures'); print('{\"a\": NaN}' * 2)"),
    "nests": ("needs: nothing", "print('{\"a\":' * 9000)"),
    "lies": ("needs: gpu\napplies: cuda", "pass"),
}
EXPECTED = {
    "passes": ("passed", ""),
    "fails": ("failed", "3 is more than 2"),
    "lacks": ("not-run", "no GPU here"),
    "hangs": ("failed", "time limit of 1 s"),
    "crashes": ("failed", "ended by SIGSEGV"),
    "talks": ("passed", ""),
    "babbles": ("passed", ""),
    "nests": ("passed", ""),
    "lies": ("not-run", "it passed, but was given no GPU"),
}


def write(folder: Path, name: str, header: str, body: str) -> None:
    header = header if "seconds:" in header else f"{header}\nseconds: 60"
    folder.mkdir(parents=True, exist_ok=True)
    text = f'"""It proves a thing.\n\n{header}\n"""\nimport os, sys\n{textwrap.dedent(body)}\n'
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A project's folder with a family whose framework every Python has, and no check."""
    path = tmp_path / "project" / "images"
    for name in ("_adapter", "_gpu", "_tag", "_verdict"):
        target = path / "common" / "checks" / f"{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(COMMON / f"{name}.py", target)
    family = path / "fake" / "checks"
    family.mkdir(parents=True)
    (family.parent / "framework.py").write_text('NAME = "framework 1.2+cpu"\n')
    (path.parent / "matrix.yaml").touch()
    return path


@pytest.fixture
def project(images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same, and what a user's state goes to a folder of the test's."""
    # Without dlimg's own checks, which would run here as well.
    monkeypatch.setattr("dlimg.image_files._PACKAGE", tmp_path / "site-packages" / "dlimg")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(images.parent)
    return images


def run(*arguments: str) -> int:
    return main(["test", "--on-host", "fake", "--python", sys.executable, *arguments])


def known(tmp_path: Path) -> tuple[Evidence, ...]:
    folder = tmp_path / "state" / "dlimg" / "evidence"
    return read_evidence(folder, "", log=print, on_host="fake")


@pytest.fixture
def there(images: Path, tmp_path: Path) -> Iterator[CheckHost]:
    """This machine as one that has a GPU's device file."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    wanted = HostCheckRequest(family="fake", images=files_in(images), python=sys.executable)
    with open_check_host(wanted, Context.of(os.environ, print), devices=tmp_path / "dev") as host:
        yield host


def verdict(there: CheckHost, name: str, header: str, body: str) -> Verdict:
    """What the check says; written before the machine was looked at, or after."""
    write(there.request.images.folders[0] / "fake" / "checks", name, header, body)
    with open_check_host(there.request, Context.of(there.environment, print)) as host:
        seen = replace(host, has_gpu=there.has_gpu)
        check = next(check for check in checks_on_host(seen) if check.name == name)
        return run_check_on_host(seen, check)


@no_gpu_here
def test_scripts_of_every_kind(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (header, body) in SCRIPTS.items():
        write(project / "fake" / "checks", name, header, body)
    before = sorted(project.rglob("*"))
    assert run("--format", "json") == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)[0]
    verdicts = {check["check"]: (check["status"], check["reason"]) for check in answer["checks"]}
    assert verdicts == EXPECTED
    figures = {check["check"]: check["figures"] for check in answer["checks"]}
    assert figures["passes"] == {"answer": 42}
    assert figures["talks"] == {"after": True}
    assert figures["babbles"] == figures["nests"] == {}
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    assert answer["cell"] == f"host-fake-1.2+cpu-{python}"
    assert (answer["outcome"], answer["device"], answer["gpu_tested"]) == ("failed", "none", False)
    assert "memory was not limited" in answer["limits"]
    assert "hangs failed in" in printed.err
    evidence = known(tmp_path)[0]
    assert (evidence.on_host, evidence.digest, evidence.engine) == ("fake", "", "")
    assert {one.check: (one.status.value, one.reason) for one in evidence.verdicts} == EXPECTED
    assert evidence.host.cores
    assert sorted(project.rglob("*")) == before
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize(("names", "code"), [("passes", 0), ("passes fails", 1)])
def test_the_exit_code_is_that_of_all_tests(names: str, code: int, project: Path) -> None:
    for name in names.split():
        write(project / "fake" / "checks", name, *SCRIPTS[name])
    assert run() == code


def test_own_checks_run_on_the_host(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "fake" / "checks", "passes", *SCRIPTS["passes"])
    own = tmp_path / "own"
    write(own / "fake", "mine", "needs: nothing", "import _helps, _gpu\nsys.exit(_helps.WHY)")
    (own / "_helps.py").write_text("WHY = 'mine says no'\n")
    assert run("--checks", str(own)) == 1
    assert "mine failed: mine says no" in capsys.readouterr().err
    assert run("--checks", str(tmp_path / "none")) == 2


@no_gpu_here
def test_without_a_gpu_a_gpus_checks_are_not_run(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "common" / "checks", "passes", *SCRIPTS["passes"])
    look = "sys.path.append(os.path.dirname(__file__) + '/../../common/checks')\n"
    look += "import _gpu; _gpu.require(_gpu.look())"
    write(project / "fake" / "checks", "sees", "needs: gpu\napplies: cuda", look)
    write(project / "fake" / "checks", "trains", "needs: gpu", "print(os.environ['DLIMG_GPU'])")
    assert run() == 3
    output = capsys.readouterr()
    assert "not-run: 2 of 3" in output.out
    assert "not tested on a GPU" in output.out
    assert "no GPU here: no /dev/nvidia0" in output.err
    verdicts = {one.check: one for one in known(tmp_path)[0].verdicts}
    assert verdicts["trains"].output == "none"


def test_an_expected_gpu_that_is_not_visible_fails(there: CheckHost) -> None:
    assert (there.has_gpu, there.device) == (True, "host")
    look = "sys.path.append(os.path.dirname(__file__) + '/../../common/checks')\n"
    look += "import _gpu; _gpu.look = lambda: _gpu.Sight([], [], 'NVML counts no GPU')\n"
    look += "_gpu.require(_gpu.look())"
    result = verdict(there, "sees", "needs: gpu", look)
    assert result.status is CheckStatus.FAILED
    assert result.reason == "a GPU was handed to this container, but NVML counts no GPU"


def test_with_a_gpu_checks_pass_and_count(there: CheckHost) -> None:
    assert verdict(there, "sees", "needs: gpu", "pass").status is CheckStatus.PASSED


def test_a_gpu_is_expected_where_nvml_answers(images: Path, tmp_path: Path) -> None:
    module = images / "common" / "checks" / "_gpu.py"
    gpu = "Gpu('GPU-1', 'NVIDIA H200', '580', '9.0', 1)"
    module.write_text(f"{module.read_text()}\nlook = lambda: Sight([{gpu}], [], '')\n")
    wanted = HostCheckRequest(family="fake", images=files_in(images), python=sys.executable)
    with open_check_host(wanted, Context.of(os.environ, print), devices=tmp_path) as host:
        assert (host.gpus, host.has_gpu) == (("NVIDIA H200",), True)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 11)", "raise SystemExit(1)", "print('{')"])
def test_a_device_file_is_enough_to_expect_a_gpu(end: str, images: Path, tmp_path: Path) -> None:
    (images / "common" / "checks" / "_gpu.py").write_text(f"import os\n{end}\n")
    wanted = HostCheckRequest(family="fake", images=files_in(images), python=sys.executable)
    for name, is_expected in (("nvidiactl", False), ("nvidia1", True)):
        (tmp_path / name).touch()
        with open_check_host(wanted, Context.of(os.environ, print), devices=tmp_path) as host:
            assert (host.gpus, host.has_gpu) == ((), is_expected)


def test_inputs_of_a_check_on_a_host(there: CheckHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIMG_CELL", '{"cuda": "13.2"}')
    body = """
    import json
    names = ("DLIMG_CELL", "DLIMG_GPU", "PYTHONPATH")
    told = {name: os.environ.get(name, "") for name in names}
    inside = os.path.samefile(os.environ["TMPDIR"], os.getcwd())
    print(json.dumps({**told, "inside": inside, "empty": not os.listdir()}))
    """
    result = verdict(there, "tells", "needs: nothing", body)
    expected = {"DLIMG_CELL": "", "DLIMG_GPU": "expected", "inside": True, "empty": True}
    assert result.figures == expected | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}


def test_checks_of_an_image_do_not_apply_to_a_host(there: CheckHost) -> None:
    folder = there.request.images.folders[0] / "fake" / "checks"
    for name, header in {
        "tag": "needs: image",
        "notebook": "needs: gpu, flavour workspace",
        "reads": "needs: nothing\ncontainer: read-only",
        "asks": "needs: network",
    }.items():
        write(folder, name, header, "pass")
    assert [check.name for check in checks_on_host(there)] == ["asks"]


@pytest.mark.parametrize(
    ("path", "has_headers", "reason"),
    [
        ("", True, "cc is not on the PATH"),
        ("cc", True, "c++ is not on the PATH"),
        ("cc c++", False, "has no Python.h"),
        ("cc c++", True, ""),
    ],
)
def test_checks_that_need_a_compiler_are_not_required_without_one(
    path: str, reason: str, there: CheckHost, tmp_path: Path, *, has_headers: bool
) -> None:
    write(
        there.request.images.folders[0] / "fake" / "checks", "compiles", "needs: compiler", "pass"
    )
    (tmp_path / "bin").mkdir()
    for name in path.split():
        (tmp_path / "bin" / name).touch(mode=0o755)
    known_python = replace(there.interpreter, has_headers=has_headers)
    environment = {**there.environment, "PATH": str(tmp_path / "bin")}
    with open_check_host(there.request, Context.of(os.environ, print)) as host:
        seen = replace(host, environment=environment, interpreter=known_python)
        verdict = run_check_on_host(seen, checks_on_host(seen)[0])
    assert verdict.status is (CheckStatus.NOT_RUN if reason else CheckStatus.PASSED)
    assert verdict.required is not bool(reason)
    assert reason in verdict.reason


def test_a_flaky_check_is_tried_twice(there: CheckHost, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    body = f"""
    if not os.path.exists({str(mark)!r}):
        open({str(mark)!r}, "w").close()
        sys.exit("out of memory")
    """
    header = "needs: nothing\nflaky: others use the GPU"
    result = verdict(there, "tries", header, body)
    assert (result.status, result.attempts) == (CheckStatus.PASSED, 2)
    assert result.first_reason == "out of memory"
    mark.unlink()
    assert verdict(there, "tries", "needs: nothing", body).status is CheckStatus.FAILED


def test_the_sha256_on_a_host_covers_modules(there: CheckHost) -> None:
    first = verdict(there, "one", "needs: nothing", "pass").sha256
    (there.request.images.folders[0] / "common" / "checks" / "_verdict.py").write_text("x = 1\n")
    assert verdict(there, "one", "needs: nothing", "pass").sha256 != first


def test_host_evidence_with_and_without_a_gpu_is_kept(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("passes", "fails"):
        write(project / "fake" / "checks", name, *SCRIPTS[name])
    run()
    path = tmp_path / "state" / "dlimg" / "evidence" / "host-fake.json"
    path.write_text(path.read_text().replace('"device": "none"', '"device": "host"'))
    (project / "fake" / "checks" / "fails.py").unlink()
    assert run() == 0
    assert {one.device for one in known(tmp_path)} >= {"host"}
    assert "check fails was there on" in capsys.readouterr().err


def test_the_first_python_with_the_framework_is_taken(there: CheckHost, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("active/bin", "first", "second")]
    for folder, text in zip(
        folders, ("exit 1", "echo '{'", f'exec {sys.executable} "$@"'), strict=True
    ):
        folder.mkdir(parents=True)
        (folder / "python3").write_text(f"#!/bin/sh\n{text}\n")
        (folder / "python3").chmod(0o755)
    scripts = there.scratch / "scripts" / "common" / "checks"
    environment = {
        "VIRTUAL_ENV": str(tmp_path / "active"),
        "PATH": f"{folders[1]}:{folders[2]}",
        "PYTHONPATH": str(scripts),
    }
    assert candidate_pythons(environment) == tuple(f"{folder}/python3" for folder in folders)
    result = find_interpreter("fake", "", environment, scratch=tmp_path)
    assert (result.path, result.name) == (f"{folders[2]}/python3", "framework 1.2+cpu")
    (there.scratch / "scripts" / "fake" / "framework.py").write_text("import _other\n")
    with pytest.raises(BadInput) as caught:
        find_interpreter("other", "", environment, scratch=tmp_path)
    places = [problem.where for problem in caught.value.problems]
    assert places == [*candidate_pythons(environment), sys.executable, "PATH"]
    assert "No module named '_other'" in caught.value.problems[2].message
    assert "--python" in caught.value.problems[-1].hint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on-host", "fakes"], "did you mean 'fake'?"),
        (["--on-host", "common"], "no such family"),
        (["--on-host", ""], "no such family"),
        (["--on-host", "fake", "--python", "/no/python"], "/no/python: it does not run the checks"),
        (["--python", sys.executable], "--python is for --on-host"),
        (["--on-host", "fake", "jax-*"], "--on-host goes with no PATTERN"),
        (["--on-host", "fake", "--group", "all"], "--on-host goes with no --group"),
        (["--on-host", "fake", "--device", "nvidia"], "--on-host goes with no --device"),
        (["--on-host", "fake", "--report", "x.txt"], ".txt names no format"),
    ],
)
@pytest.mark.usefixtures("project")
def test_wrong_options_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_family_without_scripts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == 2
    assert "--on-host fake: no such family" in capsys.readouterr().err


def is_alive(number: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


WITHOUT_SHIPPED_CHECKS = """
from pathlib import Path
from dlimg import image_files
from dlimg.cli.main import entry

image_files._PACKAGE = Path("no-package")
entry()
"""


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_leaves_nothing(number: signal.Signals, project: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    body = f"""
    import subprocess, time
    sleeper = subprocess.Popen(["sleep", "60"])
    open({str(mark) + ".new"!r}, "w").write(f"{{os.getpid()}} {{sleeper.pid}}")
    os.rename({str(mark) + ".new"!r}, {str(mark)!r})
    time.sleep(60)
    """
    write(project / "fake" / "checks", "hangs", "needs: nothing", body)
    arguments = ["test", "--on-host", "fake", "--python", sys.executable]
    environment: Mapping[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_SHIPPED_CHECKS, *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(mark.exists, 30)
        child.send_signal(number)
        _, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "nothing is left running" in errors
    assert not any(is_alive(int(number)) for number in mark.read_text().split())
    assert not list((tmp_path / "temporary").iterdir())
    assert not (tmp_path / "state").exists()
