"""`dlimg-run-one`: a lock that one job has, and what the others are told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.layout_scripts import LAYOUT

SCRIPT = LAYOUT / "run_one.py"
READY = "import sys, time; print('ready', flush=True); sys.stdin.readline()"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-IS", str(SCRIPT), *arguments],
        env={**os.environ, "DLIMG_LOCK_FOLDER": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    with start(folder, *arguments) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.fixture
def job(tmp_path: Path) -> subprocess.Popen[str]:
    """A job that has the lock until a line is written to it."""
    process = start(tmp_path, sys.executable, "-c", READY)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_command_runs_in_the_same_process_with_its_exit_code(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "echo done; exit 7")[:2] == (7, "done\n")
    assert run(tmp_path, "--", "sh", "-c", "kill -TERM $$")[0] == -15
    code, _, err = run(tmp_path, "no-such-command")
    assert code == 127
    assert "no-such-command: not found" in err


def test_a_second_job_is_refused_and_told_who_has_the_lock(
    tmp_path: Path, job: subprocess.Popen[str]
) -> None:
    code, out, err = run(tmp_path, "--no-wait", "echo", "never")
    assert (code, out) == (75, "")
    assert f"pid {job.pid} of " in err
    assert f"since {time.strftime('%Y-')}" in err
    assert f"{sys.executable} -c " in err
    assert "no other program that uses the GPU" in err
    assert run(tmp_path, "--no-wait", "--name", "gpu1", "echo", "other")[:2] == (0, "other\n")
    job.communicate("\n", timeout=30)
    assert run(tmp_path, "--no-wait", "echo", "now")[:2] == (0, "now\n")


def test_a_second_job_waits(tmp_path: Path, job: subprocess.Popen[str]) -> None:
    began = time.monotonic()
    code, _, err = run(tmp_path, "--wait", "0.3", "echo", "never")
    assert code == 75
    assert time.monotonic() - began >= 0.3
    assert "still there after 0.3 s" in err
    with start(tmp_path, "echo", "second") as second:
        assert second.stderr is not None
        lines = [second.stderr.readline() for _ in range(3)]
        assert "waiting for its end" in lines[2]
        assert second.poll() is None
        job.communicate("\n", timeout=30)
        assert second.communicate(timeout=30)[0] == "second\n"


def test_what_a_job_has_left_behind_has_the_lock(tmp_path: Path) -> None:
    _, out, _ = run(tmp_path, "sh", "-c", "sleep 30 >/dev/null 2>&1 & echo $!")
    try:
        code, _, err = run(tmp_path, "--no-wait", "true")
        assert code == 75
        assert f"it has ended, and processes that it has started ({out.strip()})" in err
    finally:
        os.kill(int(out), 9)


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("--no-wait",), ("--name", "../x", "true")),
        *(("--wait", text, "true") for text in ("nan", "inf", "1e300", "soon")),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert run(tmp_path, *arguments)[0] == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    code, _, err = run(tmp_path / "missing", "true")
    assert code == 2
    assert f"no lock in {tmp_path}/missing: No such file or directory" in err
    assert "DLIMG_LOCK_FOLDER names a folder" in err
