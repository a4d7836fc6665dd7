"""The line to paste."""

import shlex

import pytest

from dlimg.model import Flavour
from dlimg.render.docker_run import docker_run, try_line
from tests.support import samples


@pytest.mark.parametrize(
    ("accelerator", "flavour", "there", "not_there"),
    [
        ("cpu", Flavour.RUNTIME, "--shm-size 8g", "--gpus"),
        ("cuda13.2", Flavour.RUNTIME, "--gpus all", "8888"),
        ("cpu", Flavour.WORKSPACE, "-p 127.0.0.1:8888:8888", "--gpus"),
        ("cuda13.2", Flavour.WORKSPACE, "--gpus all", "-p 8888"),
    ],
)
def test_the_docker_run_line_has_the_options_of_its_image(
    accelerator: str, flavour: Flavour, there: str, not_there: str
) -> None:
    line = " ".join(docker_run(samples.cell(accelerator=accelerator, flavour=flavour), "a/b:c"))
    assert there in line
    assert not_there not in line
    assert "--stop-timeout 120" in line
    assert "$PWD:/code" in line
    assert "$PWD/data:/data" in line
    assert "$PWD/output:/output" in line


def test_what_is_no_framework_is_not_imported() -> None:
    arguments = shlex.split(try_line(samples.cell(family="made-up", package="made-up"), "a/b:c"))
    assert arguments[-1] == 'from importlib.metadata import version; print(version("made-up"))'


@pytest.mark.parametrize(
    ("family", "module"), [("jax", "jax"), ("pytorch", "torch"), ("tensorflow", "tensorflow")]
)
def test_the_docker_run_line_imports_the_framework(family: str, module: str) -> None:
    line = try_line(
        samples.cell(family=family), "a/b:c", docker=("/a path/docker", "-H", "unix:///x")
    )
    arguments = shlex.split(line)
    assert arguments[:4] == ["mkdir", "-p", "data", "output"]
    assert arguments[5] == "/a path/docker"
    assert arguments[-1] == f"import {module}; print({module}.__version__)"
    assert '"$PWD:/code"' in line
