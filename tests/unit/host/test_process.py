"""Child processes: their output, their end, and no leftovers."""

import functools
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlimg.errors import Negative
from dlimg.host import process

PYTHON = sys.executable


def python(text: str) -> list[str]:
    return [PYTHON, "-c", text]


@pytest.mark.parametrize(
    ("argv", "returncode", "stdout", "stderr"),
    [
        (["true"], 0, "", ""),
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, "out\n", "err\n"),
        (["no-such-program-anywhere"], process.MISSING, "", "No such file"),
        (["sh", "-c", "printf no-newline >&2"], 0, "", "no-newline"),
        (["printf", r"\377"], 0, "\N{REPLACEMENT CHARACTER}", ""),
    ],
)
def test_run_says_how_it_ended(argv: list[str], returncode: int, stdout: str, stderr: str) -> None:
    outcome = process.run(argv)
    assert outcome.argv == tuple(argv)
    assert outcome.returncode == returncode
    assert outcome.stdout == stdout
    assert stderr in outcome.stderr


def test_input_folder_and_environment_reach_the_child(tmp_path: Path) -> None:
    outcome = process.run(
        ["sh", "-c", "cat; pwd; echo $WORD"],
        stdin="hello\n",
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "WORD": "there"},
    )
    assert outcome.stdout == f"hello\n{tmp_path}\nthere\n"


def test_a_child_that_ignores_its_input_is_no_failure() -> None:
    assert process.run(["true"], stdin="x" * 1_000_000).returncode == 0


def test_both_pipes_may_fill_at_once() -> None:
    text = "import sys; sys.stderr.write('e\\n' * 100_000); sys.stdout.write('o\\n' * 100_000)"
    outcome = process.run(python(text))
    assert (len(outcome.stdout), len(outcome.stderr)) == (200_000, 200_000)


def test_lines_arrive_while_the_child_still_runs() -> None:
    arrived: list[tuple[str, float]] = []
    process.run_streaming(
        ["sh", "-c", "echo one >&2; sleep 0.5; echo two >&2"],
        on_line=lambda line: arrived.append((line, time.monotonic())),
    )
    assert [line for line, _ in arrived] == ["one", "two"]
    assert arrived[1][1] - arrived[0][1] > 0.4


def test_a_timeout_ends_the_child_and_keeps_what_it_said() -> None:
    started = time.monotonic()
    outcome = process.run(["sh", "-c", "echo begun >&2; exec sleep 30"], timeout=0.3)
    assert outcome.returncode == process.TIMED_OUT
    assert outcome.stderr == "begun\n"
    assert time.monotonic() - started < 10


def test_check_shows_the_command_and_the_end_of_its_words() -> None:
    with pytest.raises(Negative, match=r"sh -c .* ended with 2:\nbroken here"):
        process.run_checked(["sh", "-c", "echo broken here >&2; exit 2"])


def test_check_of_a_missing_program() -> None:
    with pytest.raises(Negative, match="no-such-program-anywhere could not start"):
        process.run_checked(["no-such-program-anywhere"])


def test_an_interrupt_ends_a_child_that_ignores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child ignores SIGINT and SIGTERM, and has a child of its own; neither is left."""
    monkeypatch.setattr(process, "GRACE", 0.3)
    note = tmp_path / "pids"
    text = (
        "import os, signal, subprocess, sys, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        f"grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{grandchild.pid}}\\n')\n"
        "time.sleep(60)\n"
    )

    def interrupt() -> None:
        process.wait_until(lambda: note.exists() and note.read_text().endswith("\n"), 30)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        process.run(python(text))
    for pid in note.read_text().split():
        ended = functools.partial(_is_gone, int(pid))
        assert process.wait_until(ended, 30), pid


def _is_gone(pid: int) -> bool:
    return not process.is_running(pid)


def test_a_listener_that_raises_ends_the_child(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="line"):
        process.run_streaming(
            ["sh", "-c", f"echo $$ > {note}; echo line >&2; exec sleep 60"], on_line=refuse
        )
    assert not process.is_running(int(note.read_text()))


def test_a_daemon_outlives_its_starter_and_can_be_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pid = process.start_daemon(
        ["sh", "-c", "echo started; exec sleep 61"], log=log, env=dict(os.environ)
    )
    assert process.wait_until(lambda: process.command_line(pid) == ("sleep", "61"), 30)
    assert process.is_running(pid)
    assert os.getsid(pid) != os.getsid(0)
    assert log.read_text() == "started\n"
    process.end_process(pid, patience=2)
    assert not process.is_running(pid)
    assert process.command_line(pid) == ()


def test_a_daemon_that_is_gone_can_be_ended_again() -> None:
    process.end_process(2**22 + 1, patience=0.1)
    assert not process.is_running(2**22 + 1)


def test_an_interrupt_ends_a_child_in_its_own_way(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    asked: list[int] = []

    def end(child: process.Child) -> None:
        asked.append(child.pid)
        process.end_group(child)

    argv = python(f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(process.run_until_interrupted, argv, env=os.environ, end=end)
        assert process.wait_until(ready.exists, 30)  # one that still starts ends otherwise
        while not asked:
            process.end_children()
        outcome = running.result(timeout=30)
    assert outcome.returncode < 0
    assert len(set(asked)) == 1


def test_a_missing_program_is_not_interrupted() -> None:
    outcome = process.run_until_interrupted(["/no/such"], env={}, end=process.end_group)
    assert outcome.returncode == process.MISSING
