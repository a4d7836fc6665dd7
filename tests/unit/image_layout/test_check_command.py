"""How `dlimg-check` ends for checks that pass, fail and cannot run."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

LAYOUT = Path(__file__).parents[3] / "images" / "_layout"
PROGRAM = """\
import sys
sys.path.append(sys.argv.pop(1))
import check
check.CHECKS, check.PYTHON, check.SECONDS = sys.argv.pop(1), sys.executable, 2
sys.exit(check.main())
"""
GOOD = "print('a'); print('as locked')"
BAD = "import sys; sys.exit('six is gone')"
UNABLE = "import sys; print('no GPU'); sys.exit(77)"
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
HANGS = "import time; time.sleep(60)"
SILENT = "import sys; sys.exit(1)"


def check(
    folder: Path, scripts: Mapping[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text)
    arguments = [sys.executable, "-BIS", "-c", PROGRAM, str(LAYOUT), str(folder), *options]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("scripts", "code", "rows"),
    [
        ({"packages": GOOD}, 0, [["packages", "passed", "as locked"]]),
        ({"b": GOOD, "a": BAD}, 1, [["a", "failed", "six is gone"], ["b", "passed", "as locked"]]),
        (
            {"gpu": UNABLE, "a": GOOD},
            3,
            [["a", "passed", "as locked"], ["gpu", "not-run", "no GPU"]],
        ),
        (
            {"gpu": UNABLE, "a": BAD},
            1,
            [["a", "failed", "six is gone"], ["gpu", "not-run", "no GPU"]],
        ),
        ({"a": DIES}, 1, [["a", "failed", "signal 11: it says nothing"]]),
        ({"a": HANGS}, 1, [["a", "failed", "it takes more than 2 s"]]),
        ({"a": SILENT}, 1, [["a", "failed", "it says nothing"]]),
        ({}, 3, []),
    ],
)
def test_each_check_has_a_verdict_and_the_worst_decides(
    tmp_path: Path, scripts: dict[str, str], code: int, rows: list[list[str]]
) -> None:
    done = check(tmp_path, scripts, "--json")
    assert done.returncode == code, done.stderr
    content = json.loads(done.stdout)
    found = [[row["check"], row["verdict"], row["words"]] for row in content["checks"]]
    assert (found, content["exit_code"]) == (rows, code)


def test_the_text_has_a_line_for_each_check(tmp_path: Path) -> None:
    done = check(tmp_path, {"packages": GOOD, "gpu": UNABLE})
    texts = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in texts] == [["gpu", "not-run"], ["packages", "passed"]]


def test_a_name_chooses_a_check(tmp_path: Path) -> None:
    done = check(tmp_path, {"a": GOOD, "b": BAD}, "a", "--json")
    assert done.returncode == 0
    assert [row["check"] for row in json.loads(done.stdout)["checks"]] == ["a"]
    done = check(tmp_path, {}, "c")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no check is called c; there are: a, b" in done.stderr
    assert check(tmp_path, {}, "--help").stdout.startswith("dlimg-check [--json] [NAME...]")


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    done = check(tmp_path, {"a": GOOD}, "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--all is no option" in done.stderr
