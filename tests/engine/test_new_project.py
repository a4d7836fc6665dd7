"""A new user's way: the wheel in a fresh environment, `dlimg init`, `nox -s build`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg import __version__
from tests.support.jax_project import CELL, ROOT

# Families of other names than their framework's: with a template of none, and with no framework.
FAMILIES = """\
  jax-hf:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["jax=={version}"]

  arrays:
    framework: none
    axes:
      version: [2.5.5]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["numpy=={version}"]

groups:
"""


def run(folder: Path, *command: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.engine
@pytest.mark.slow  # two installations and all checks of three images: minutes
def test_a_project_started_from_the_wheel_builds_and_passes(tmp_path: Path) -> None:
    run(ROOT, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    wheel = tmp_path / f"dlimg-{__version__}-py3-none-any.whl"
    run(tmp_path, sys.executable, "-m", "venv", "tool")
    pip = (f"{tmp_path}/tool/bin/python", "-m", "pip", "install", "--quiet")
    run(tmp_path, *pip, "--require-hashes", "-r", str(ROOT / "requirements/runtime.txt"))
    run(tmp_path, *pip, "--no-deps", str(wheel))
    dlimg = f"{tmp_path}/tool/bin/dlimg"
    run(tmp_path, dlimg, "init", "--family", "jax", "--wheel", str(wheel), "project")
    project = tmp_path / "project"
    run(project, *pip, "-r", "requirements/nox.txt")
    nox = f"{tmp_path}/tool/bin/nox"
    lines = run(project, nox, "-s", "lint", "build").splitlines()
    assert any(line.startswith(f"project/jax:{CELL.removeprefix('jax-')}\t") for line in lines)
    assert not any(" failed" in line for line in lines)

    matrix = project / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("groups:\n", FAMILIES, 1))
    run(project, nox, "-s", "lock", "render")
    lines = run(project, nox, "-s", "build", "--", "jax-hf-*", "arrays-*").splitlines()
    passed = [line for line in lines if "\tpassed: all " in line]
    assert len(passed) == 2, lines
