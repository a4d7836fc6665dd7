"""`dlimg run --print`: the text on standard output, notes on standard error, nothing started."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run_print(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # No engine is there: it would be looked for at this address.
    variables = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "DOCKER_HOST": "unix:///nowhere.sock",
    }
    argv = [sys.executable, "-m", "dlimg", "run", "--cpu", "--print", *arguments]
    return subprocess.run(
        argv, check=False, capture_output=True, text=True, cwd=folder, env=variables
    )


def test_a_project_is_printed_without_an_engine(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import jax\n")
    (tmp_path / "dlimg.yaml").write_text("name: hello\nenv: {LEVEL: '3'}\nstop_time: 30s\n")
    outcome = run_print(tmp_path, "compose")
    assert outcome.returncode == 0, outcome.stderr
    assert "name: hello\n" in outcome.stdout
    assert 'LEVEL: "3"' in outcome.stdout
    assert 'stop_grace_period: "30s"' in outcome.stdout
    assert "note: dlimg/jax:" in outcome.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *([".cache"] if (tmp_path / ".cache").exists() else []),
        "dlimg.yaml",
        "train.py",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compose", "--on", "me@vm"), "--print and --on exclude each other"),
        (("compose", "--queue"), "--queue"),
        (("composer",), "invalid choice"),
        (("kubeflow", "--", "python", "x.py"), "a Notebook starts Jupyter"),
    ],
)
def test_what_cannot_be_printed_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "train.py").touch()
    outcome = run_print(tmp_path, *arguments)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert message in outcome.stderr
