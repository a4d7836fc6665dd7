"""Sandboxed children: they end, and nothing of their process group is left."""

import os
import sys
import time
from pathlib import Path

import pytest

from dlimg.host.process import MOST_OUTPUT, SandboxResult, run_sandboxed, wait_until


def python(text: str, folder: Path, seconds: float = 20.0) -> SandboxResult:
    return run_sandboxed([sys.executable, "-c", text], env=os.environ, cwd=folder, seconds=seconds)


def is_gone(folder: Path) -> bool:
    """Return whether the process that wrote this id has ended."""
    number = int((folder / "pid").read_text())
    return wait_until(lambda: not Path(f"/proc/{number}").exists() or is_zombie(number), 30)


def is_zombie(number: int) -> bool:
    try:
        return ") Z" in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return True


@pytest.mark.parametrize(
    ("text", "code", "stderr"),
    [
        ("pass", 0, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("raise SystemExit(77)", 77, ""),
        ("raise SystemExit(124)", 124, ""),
        ("import os; os.kill(os.getpid(), 11)", 139, "ended by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", 137, "ended by SIGKILL: this machine may be out"),
        ("import os; os.abort()", 134, "ended by SIGABRT"),
    ],
)
def test_a_confined_process_reports_how_it_ended(
    text: str, code: int, stderr: str, tmp_path: Path
) -> None:
    ended = python(text, tmp_path)
    assert (ended.code, ended.is_late) == (code, False)
    assert ended.stderr.startswith(stderr)
    assert bool(ended.stderr) == bool(stderr)


def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    ended = run_sandboxed([str(tmp_path / "none")], env={}, cwd=tmp_path, seconds=1)
    assert ended.code == 127
    assert "No such file" in ended.stderr


def test_input_is_empty_and_the_folder_is_the_given_one(tmp_path: Path) -> None:
    ended = python("import os, sys; print(repr(sys.stdin.read()), os.getcwd())", tmp_path)
    assert ended.stdout == f"'' {tmp_path}\n"


CHILD = """
import pathlib, signal, subprocess, sys, time
child = "import signal, time; signal.signal(2, 1); signal.signal(15, 1); print('up', flush=True);"
child += "time.sleep(60)"
one = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
one.stdout.readline()
pathlib.Path("pid").write_text(str(one.pid))
print("begun", flush=True)
"""


def test_a_hanging_process_is_ended_with_its_children(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = python(CHILD + "time.sleep(60)", tmp_path, seconds=2)
    assert ended.is_late
    assert ended.stdout == "begun\n"
    assert "ended by" not in ended.stderr
    assert time.monotonic() - began < 15
    assert is_gone(tmp_path)


def test_what_one_that_ended_well_left_behind_ends_too(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = python(CHILD + "import os; os._exit(0)", tmp_path)
    assert (ended.code, ended.stdout) == (0, "begun\n")
    assert time.monotonic() - began < 10
    assert is_gone(tmp_path)


def test_of_endless_output_the_end_is_kept(tmp_path: Path) -> None:
    text = "import sys\nfor _ in range(40): print('x' * 500_000)\nprint('the end')\n"
    text += "sys.stderr.write('y' * 3_000_000 + 'last')"
    ended = python(text, tmp_path)
    assert len(ended.stdout) == len(ended.stderr) == MOST_OUTPUT
    assert ended.stdout.endswith("x\nthe end\n")
    assert ended.stderr.endswith("ylast")
