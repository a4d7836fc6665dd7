"""Check scripts as processes of their own, without GPU or framework; and `pip_check`."""

import ast
import base64
import hashlib
import importlib
import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.check_scripts import (
    FAILED,
    NOT_RUN,
    SCRIPTS,
    code_of,
    no_gpu_here,
    run,
)

pip_check = importlib.import_module("pip_check")

ROW = "GPU-1, NVIDIA H200, 580.159, 9.0, 143771"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_a_script_stands_alone_and_asserts_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    siblings = {other.stem for other in SCRIPTS if other.name.startswith("_")}
    allowed = sys.stdlib_module_names | siblings | {"numpy"}
    result = {name.partition(".")[0] for node in ast.walk(tree) for name in imported(node)}
    assert result <= allowed
    # An assert is gone under PYTHONOPTIMIZE, and the check would pass.
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def program(folder: Path, text: str) -> str:
    """A PATH on which nvidia-smi is this shell script."""
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (
            f"echo '{ROW}'",
            FAILED,
            "nvidia-smi reports NVIDIA H200, but there is no libnvidia-ml.so.1",
        ),
        ("echo no devices were found; exit 6", NOT_RUN, "no GPU here"),
        ("exit 0", NOT_RUN, "no GPU here"),
    ],
)
@no_gpu_here
def test_an_nvidia_smi_that_lies_does_not_pass(
    tmp_path: Path, text: str, code: int, reason: str
) -> None:
    done = run("common/checks/nvidia_smi.py", PATH=program(tmp_path, text))
    assert done.returncode == code
    assert reason in done.stderr.splitlines()[-1]


GPU_SCRIPTS = ["common/checks/nvidia_smi.py", "common/checks/is_gpu_available.py"]


@pytest.mark.parametrize("path", GPU_SCRIPTS)
@pytest.mark.parametrize(
    ("handed", "optimize", "code"),
    [("none", "", NOT_RUN), ("expected", "", FAILED), ("expected", "2", FAILED)],
)
@no_gpu_here
def test_without_a_gpu_a_script_says_so_before_the_framework_is_asked(
    path: str, handed: str, optimize: str, code: int
) -> None:
    done = run(path, DLIMG_GPU=handed, PYTHONOPTIMIZE=optimize)
    assert done.returncode == code, done.stderr
    assert "there is no libnvidia-ml.so.1" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


LOCKED = """\
# a comment
--no-binary :none:
Jinja2==3.1.6 \\
    --hash=sha256:00
ml_dtypes==0.5.4 ; python_version >= "3.11"
torch==2.13.0+cpu
"""


def test_the_lock_is_read_and_compared() -> None:
    locked = pip_check.pins(LOCKED)
    assert locked == {"jinja2": "3.1.6", "ml-dtypes": "0.5.4", "torch": "2.13.0+cpu"}
    assert pip_check.differences(locked, dict(locked)) == []
    assert pip_check.differences(locked, {"jinja2": "3.1.6", "torch": "2.13.0", "x": "1"}) == [
        "ml-dtypes: locked 0.5.4, installed not",
        "torch: locked 2.13.0+cpu, installed 2.13.0",
        "x: locked not, installed 1",
    ]


@pytest.mark.parametrize("line", ["torch", "torch>=2", "torch @ file:///x.whl"])
def test_a_lock_that_pins_nothing_fails(line: str) -> None:
    assert code_of(lambda: pip_check.pins(line)) == FAILED


def test_a_package_that_hides_another_is_named() -> None:
    assert pip_check.repeated(["numpy", "jax", "numpy"]) == ["numpy: installed 2 times"]


@pytest.fixture
def package(tmp_path: Path) -> metadata.Distribution:
    """A package of three files: RECORD gives one in full, one without its hash, one by name."""
    about = tmp_path / "thing-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: thing\nVersion: 1.0\n")
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("x = 1\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).decode().rstrip("=")
    rows = (f"a.py,sha256={digest},6", f"b.py,sha256={digest},", "thing-1.0.dist-info/RECORD,,")
    (about / "RECORD").write_text("\n".join(rows) + "\n")
    return metadata.Distribution.at(about)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("c.py", "x = 1000\n", ""),
        ("a.py", "x = 2\n", "thing: 1 files are gone or changed: a.py"),
        ("b.py", "x = 2\n", "thing: 1 files are gone or changed: b.py"),
        ("a.py", None, "thing: 1 files are gone or changed: a.py"),
        ("thing-1.0.dist-info/RECORD", "c.py,,6\n", "thing: 1 files are gone or changed: c.py"),
        ("thing-1.0.dist-info/RECORD", None, "thing: its RECORD is gone"),
        ("thing-1.0.dist-info/RECORD", "", "thing: its RECORD is gone"),
    ],
)
def test_a_package_that_is_not_whole_is_named(
    path: str, text: str | None, said: str, package: metadata.Distribution, tmp_path: Path
) -> None:
    assert pip_check.damages([package]) == []
    if text is None:
        (tmp_path / path).unlink()
    else:
        (tmp_path / path).write_text(text)
    assert pip_check.damages([package]) == ([said] if said else [])


def test_a_byte_of_a_large_file_is_missed(tmp_path: Path) -> None:
    about = tmp_path / "large-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: large\nVersion: 1.0\n")
    content = bytes(3 << 20)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    (about / "RECORD").write_text(f"large.so,sha256={digest},{len(content)}\n")
    library = tmp_path / "large.so"
    library.write_bytes(content)
    package = metadata.Distribution.at(about)
    assert pip_check.damages([package]) == []
    library.write_bytes(content[:-1] + b"x")
    assert pip_check.damages([package]) == ["large: 1 files are gone or changed: large.so"]
