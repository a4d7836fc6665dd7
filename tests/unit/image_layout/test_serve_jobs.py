"""A stop of the servers' modes: jobs are told first, and given their time."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.layout_scripts import LAYOUT, load_script

serve_jobs: Any = load_script("serve_jobs")

# A process that stops what is below it, in the place of the entry point's.
STOP = f"""
import subprocess, sys, time
sys.path.insert(0, {str(LAYOUT)!r})
import serve_jobs
commands = sys.stdin.read().split("\\0")
started = [subprocess.Popen(["sh", "-c", command]) for command in commands]
time.sleep(1)
began = time.monotonic()
serve_jobs.end_jobs((started[0].pid,))
print("server", started[0].poll(), "after", round(time.monotonic() - began, 1))
started[0].kill()
"""


def stopped(*commands: str) -> tuple[str, str]:
    """What is printed where the first command is a server, and the others are jobs."""
    done = subprocess.run(
        [sys.executable, "-c", STOP],
        input="\0".join(commands),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_jobs_end_before_the_server_and_have_their_time(tmp_path: Path) -> None:
    saving = f"sleep 1; echo saved > {tmp_path}/checkpoint; exit 0"
    job = f"trap '{saving}' TERM; while :; do sleep 0.1; done"
    out, err = stopped("exec sleep 100", job, "exec sleep 100")
    assert (tmp_path / "checkpoint").read_text() == "saved\n"
    assert out.startswith("server None after ")
    assert 1 <= float(out.split()[-1]) < 5
    assert "dlimg: SIGTERM to " in err
    assert "sleep (" in err


@pytest.mark.slow
def test_what_ignores_the_signal_is_not_waited_for() -> None:
    out, _ = stopped("exec sleep 100", "trap '' TERM; exec sleep 3")
    assert float(out.split()[-1]) < 1


def process(pid: int, parent: int, name: str, **options: bool) -> Any:
    defaults = {"is_leader": False, "has_terminal": False, "ignores_term": False}
    return serve_jobs.Process(pid=pid, parent=parent, name=name, began=0, **defaults | options)


def table(*processes: Any) -> dict[int, Any]:
    return {entry.pid: entry for entry in processes}


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        # The container's own numbers: also what `docker exec` has started, below nothing.
        ("tini", {"serve", "bash", "train"}),
        # Those of the machine, or of other containers of a pod.
        ("systemd", {"serve", "bash"}),
        ("pause", {"serve", "bash"}),
    ],
)
def test_only_this_container_s_processes_are_its_jobs(
    first: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 20)
    monkeypatch.setattr(os, "getppid", lambda: 1 if first == "tini" else 10)
    entries = [
        process(1, 0, first),
        process(20, 1 if first == "tini" else 10, "serve"),
        process(21, 20, "bash"),
        process(30, 0, "train"),
    ]
    entries += [] if first == "tini" else [process(10, 5, "tini"), process(5, 0, "shim")]
    names = {entry.name for entry in serve_jobs.in_scope(table(*entries))}
    assert names == expected


def test_a_command_inside_has_only_its_own_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 20)
    monkeypatch.setattr(os, "getppid", lambda: 15)
    entries = table(
        process(1, 0, "tini"),
        process(15, 0, "bash"),
        process(20, 15, "serve"),
        process(21, 20, "jupyter-lab"),
        process(30, 15, "train"),
    )
    assert {entry.name for entry in serve_jobs.in_scope(entries)} == {"jupyter-lab"}


def test_an_unused_terminal_is_found_by_its_device() -> None:
    first, second = os.openpty()
    with subprocess.Popen(["sleep", "30"], stdin=second) as sleeper:
        time.sleep(0.2)
        assert not serve_jobs.is_unused(sleeper.pid, 3600)
        old = time.time() - 7200
        os.utime(os.ttyname(second), (old, old))
        assert serve_jobs.is_unused(sleeper.pid, 3600)
        sleeper.kill()
    os.close(first)
    os.close(second)


def test_this_process_is_read_as_it_is() -> None:
    with subprocess.Popen(
        ["sh", "-c", "trap '' TERM; exec sleep 30"], start_new_session=True
    ) as shell:
        time.sleep(0.3)
        (entry,) = (entry for entry in serve_jobs.processes() if entry.pid == shell.pid)
        shell.kill()
    assert (entry.parent, entry.name, entry.is_leader) == (os.getpid(), "sleep", True)
    assert (entry.has_terminal, entry.ignores_term) == (False, True)
