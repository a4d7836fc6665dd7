"""A script that ends with 0 has passed when it came to its end, and at no other time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg.checks.completion import check_completion, new_token, python_argv
from dlimg.checks.verdicts import ScriptResult, verdict_of
from dlimg.model import Check, CheckStatus

CHECK = Check(name="mine", path="mine.py", script="", sha256="", proves="a thing")
SPAWNS = """
import multiprocessing
def call(number):
    return number + 1
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(call, [1]) == [2]
"""
CHILD = """
import os
if os.fork() == 0:
    raise SystemExit
os.wait()
os._exit(0)
"""
ALIKE = """
import sys
from pathlib import Path
wanted = [str(Path(__file__).parent), [__file__], "__main__", __file__]
found = [sys.path[0], sys.argv, __name__, sys.modules["__main__"].__file__]
sys.exit(f"{found}" if found != wanted else 0)
"""


def ran(folder: Path, script: str, python: str = sys.executable, **variables: str) -> ScriptResult:
    """How this script ended, run as in an image."""
    path = folder / "mine.py"
    path.write_text(script)
    (folder / "gone.py").write_text("raise SystemExit")
    word = new_token()
    environment = {**os.environ, **variables, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        python_argv(python, str(path), word),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return check_completion(
        ScriptResult(code=done.returncode, stdout=done.stdout, stderr=done.stderr), word
    )


@pytest.mark.parametrize(
    "script",
    [
        "",
        "raise SystemExit",
        "import sys; sys.exit(False)",
        "import sys; sys.stdout.close()",
        "import os; os.close(1)",
        "import unittest; unittest.main()" if sys.version_info < (3, 12) else "exit()",
        SPAWNS,
        ALIKE,
    ],
)
def test_a_completed_script_passes(tmp_path: Path, script: str) -> None:
    result = ran(tmp_path, script)
    assert verdict_of(CHECK, result, device="none").status is CheckStatus.PASSED, result


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import os; os._exit(0)", "before the end of the script"),
        ("import sys; sys.exit(256)", "before the end of the script"),
        ("import os; os.execvp('true', ['true'])", "before the end of the script"),
        (CHILD, "before the end of the script"),
        ("import gone", "an import ended the script"),
        ("import sys; sys.exit('no')", "no"),
        ("raise ValueError('wrong')", "ValueError: wrong"),
        ("import atexit, os; atexit.register(os._exit, 3)", "exit code 3"),
        ("this is no Python", "SyntaxError: invalid syntax"),
    ],
)
def test_a_script_that_exits_early_fails(tmp_path: Path, script: str, reason: str) -> None:
    verdict = verdict_of(CHECK, ran(tmp_path, script), device="none")
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason


@pytest.mark.parametrize("python", ["true", "echo"])
def test_another_program_named_python_proves_nothing(tmp_path: Path, python: str) -> None:
    verdict = verdict_of(CHECK, ran(tmp_path, "", python), device="none")
    assert verdict.status is CheckStatus.FAILED


def test_a_start_up_file_that_exits_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(0)")
    verdict = verdict_of(CHECK, ran(tmp_path, "", PYTHONPATH=str(tmp_path)), device="none")
    assert (verdict.status, verdict.reason) == (
        CheckStatus.FAILED,
        "it exited with 0 before the end of the script, which proves nothing",
    )


def test_the_completion_token_is_removed_from_the_output(tmp_path: Path) -> None:
    figures = "import sys; sys.stdout.write('seen\\n{\"loss\": 3}')"
    verdict = verdict_of(CHECK, ran(tmp_path, figures), device="none")
    assert (verdict.figures, verdict.output) == ({"loss": 3}, 'seen\n{"loss": 3}')


def test_a_traceback_begins_in_the_script(tmp_path: Path) -> None:
    result = ran(tmp_path, "def call():\n    raise ValueError('wrong')\ncall()")
    assert [line.strip() for line in result.stderr.splitlines() if "line" in line] == [
        f'File "{tmp_path}/mine.py", line 3, in <module>',
        f'File "{tmp_path}/mine.py", line 2, in call',
    ]


def test_a_script_that_exits_77_need_not_complete(tmp_path: Path) -> None:
    verdict = verdict_of(CHECK, ran(tmp_path, "import os; os._exit(77)"), device="none")
    assert verdict.status is CheckStatus.NOT_RUN
