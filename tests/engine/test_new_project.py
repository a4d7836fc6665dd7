"""A new user's way: the wheel in a fresh environment, `dlimg init`, `nox -s build`, `publish`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg import __version__
from dlimg.engine.client import Engine, list_images
from tests.support import small_images
from tests.support.fake_registry import FakeRegistry, running
from tests.support.jax_project import CELL, ROOT

PROJECT = f"project-{small_images.TOKEN}"
# Families of other names than their framework's: with a template of none and packages of its own,
# one of which needs packages of the system; and with no framework.
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
      cpu: ["jax=={version}", einops, opencv-python]
    apt: {any: [libgl1, libglib2.0-0t64]}

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
@pytest.mark.timeout(3600)
def test_a_project_started_from_the_wheel_builds_and_passes(tmp_path: Path, engine: Engine) -> None:
    try:
        build_from_wheel(tmp_path)
    finally:
        remove_images(engine, PROJECT)


def remove_images(engine: Engine, project: str) -> None:
    """Remove the project's names; the same image may have names of others, and run."""
    for image in list_images(engine, {"reference": f"{project}/*"}):
        for name in image["RepoTags"]:
            if name.startswith(f"{project}/"):
                engine.sdk.api.remove_image(name)


def build_from_wheel(tmp_path: Path) -> None:
    """Start a project, build it, and add two families to it."""
    run(ROOT, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    wheel = tmp_path / f"dlimg-{__version__}-py3-none-any.whl"
    run(tmp_path, sys.executable, "-m", "venv", "tool")
    pip = (f"{tmp_path}/tool/bin/python", "-m", "pip", "install", "--quiet")
    run(tmp_path, *pip, "--require-hashes", "-r", str(ROOT / "requirements/runtime.txt"))
    run(tmp_path, *pip, "--no-deps", str(wheel))
    dlimg = f"{tmp_path}/tool/bin/dlimg"
    run(tmp_path, dlimg, "init", "--family", "jax", "--wheel", str(wheel), PROJECT)
    project = tmp_path / PROJECT
    run(project, *pip, "-r", "requirements/nox.txt")
    nox = f"{tmp_path}/tool/bin/nox"
    lines = run(project, nox, "-s", "lint", "build").splitlines()
    assert any(line.startswith(f"{PROJECT}/jax:{CELL.removeprefix('jax-')}\t") for line in lines)
    assert not any(" failed" in line for line in lines)

    matrix = project / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("groups:\n", FAMILIES, 1))
    run(project, nox, "-s", "lock", "render")
    lines = run(project, nox, "-s", "build", "--", "jax-hf-*", "arrays-*").splitlines()
    passed = [line for line in lines if "\tpassed: all " in line]
    assert len(passed) == 2, lines

    with running(FakeRegistry()) as registry:
        run(project, nox, "-s", "publish", "--", "--to", f"{registry.host}/team", "jax-hf-*")
        names = {name for repository, name in registry.manifests if repository == "team/jax-hf"}
    assert CELL.removeprefix("jax-") in names
