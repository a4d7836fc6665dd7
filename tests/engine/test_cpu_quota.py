"""Frameworks in a container with fewer CPUs than the machine start as few threads."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import run
from dlimg.model import BuiltImage
from tests.support.layout_image import LayoutImage
from tests.support.rows import first_rows

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU cannot be fewer than the machine has"),
]

ROOT = Path(__file__).parents[2]
MACHINE = os.cpu_count() or 1
SHOW = "import os; print(os.environ.get('OMP_NUM_THREADS'), os.cpu_count())"
PYTHON = ("python", "-c", SHOW)
WITHOUT = ("--entrypoint", "env")
BARE = ("env", "-i", "/usr/local/bin/python3", "-c", SHOW)
ONE_CPU = (("--cpus", "1"), ("--cpus", "0.5"), ("--cpuset-cpus", "0"))
WAYS = {
    "entry point": ((), PYTHON),
    "no entry point": (WITHOUT, PYTHON),
    "no variables": (WITHOUT, BARE),
    "a child of bash": ((), ("bash", "-c", f'exec python -c "{SHOW}"')),
    "a login shell": (WITHOUT, ("bash", "-lc", f'exec python -c "{SHOW}"')),
}


LIMITED = [
    pytest.param(limit, *way, marks=pytest.mark.slow if place % 4 else ())
    for place, (limit, way) in enumerate(itertools.product(ONE_CPU, WAYS.values()))
]


@pytest.mark.parametrize(("limit", "options", "command"), LIMITED, ids=str)
def test_one_cpu_is_one_thread(
    layout_image: LayoutImage,
    limit: tuple[str, ...],
    options: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    outcome = layout_image.run(*command, options=(*limit, *options))
    assert outcome.stdout.split() == ["1", "1"], outcome.stderr


@pytest.mark.parametrize(
    ("options", "command"), first_rows(WAYS.values(), 2, pytest.mark.slow), ids=WAYS
)
def test_without_a_limit_nothing_is_set(
    layout_image: LayoutImage, options: tuple[str, ...], command: tuple[str, ...]
) -> None:
    outcome = layout_image.run(*command, options=options)
    assert outcome.stdout.split() == ["None", str(MACHINE)], outcome.stderr
    names = layout_image.run("env", options=(*options,)).stdout
    assert "NUM_THREADS" not in names
    assert "NPROC" not in names


@pytest.mark.parametrize("options", [(), WITHOUT], ids=str)
def test_a_command_that_is_not_python_gets_the_limit(
    layout_image: LayoutImage, options: tuple[str, ...]
) -> None:
    command = ("env",) if not options else ("bash", "-lc", "env")
    variables = layout_image.run(*command, options=("--cpus", "1", *options)).stdout.splitlines()
    assert {"OMP_NUM_THREADS=1", "NPROC=1", "PYTHON_CPU_COUNT=1"} <= {*variables}


def test_a_number_of_the_user_stays(layout_image: LayoutImage) -> None:
    own = ("--env", "OMP_NUM_THREADS=7", "--env", "PYTHON_CPU_COUNT=5")
    for options in ((), WITHOUT):
        outcome = layout_image.run(*PYTHON, options=("--cpus", "1", *own, *options))
        assert outcome.stdout.split() == ["7", "5"], outcome.stderr


# Runs for some seconds, then prints how many threads have used the CPU: the others wait.
COUNT = """
import os, time
def ticks():
    numbers = {}
    for task in os.listdir('/proc/self/task'):
        fields = open(f'/proc/self/task/{task}/stat').read().rpartition(')')[2].split()
        numbers[task] = int(fields[11]) + int(fields[12])
    return numbers
def busy(work):
    work()
    before, end = ticks(), time.monotonic() + SECONDS
    while time.monotonic() < end:
        work()
    after = ticks()
    used = sorted((after[task] - before.get(task, 0) for task in after), reverse=True)
    return sum(number > used[0] / 4 for number in used)
"""
SIZE = 1500
WORK = {
    "numpy": "import numpy as np; a = np.ones((SIZE, SIZE)); print(busy(lambda: a @ a))",
    "jax": """import jax
a = jax.numpy.ones((SIZE, SIZE)); dot = jax.jit(lambda x: x @ x)
print(busy(lambda: dot(a).block_until_ready()))""",
    "torch": "import torch; a = torch.ones(SIZE, SIZE); print(busy(lambda: a @ a))",
    "tensorflow": """import tensorflow as tf
a = tf.ones((SIZE, SIZE)); print(busy(lambda: tf.matmul(a, a).numpy()))""",
}


def program(name: str) -> str:
    return COUNT.replace("SECONDS", "3") + WORK[name].replace("SIZE", str(SIZE))


def busy_threads(engine: Engine, digest: str, name: str, *options: str) -> int:
    """How many threads multiply matrices in a container with these options."""
    argv = [str(engine.docker), "run", "--rm", "--network", "none", *options, digest]
    done = run([*argv, "python", "-c", program(name)], env=engine.environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_jax_and_numpy_multiply_in_one_thread(
    engine: Engine, jax_image: BuiltImage, name: str
) -> None:
    assert busy_threads(engine, jax_image.digest, name) > 1
    assert busy_threads(engine, jax_image.digest, name, "--cpus", "1") == 1
    assert busy_threads(engine, jax_image.digest, name, "--cpus", "1", "--entrypoint", "env") == 1


CELLS = {
    "torch": "pytorch-2.13.0-cpu-py3.11-debian12",
    "tensorflow": "tensorflow-2.21.0-cpu-py3.13-debian13",
}


@pytest.fixture(params=CELLS)
def real(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A framework, and the digest of its image of the project, built if it is not there.

    Where an index does not answer, DLIMG_TEST_WHEELS names a folder with the wheels from it.
    """
    wheels = os.environ.get("DLIMG_TEST_WHEELS")
    links = ("--find-links", wheels) if wheels else ()
    done = subprocess.run(
        [sys.executable, "-m", "dlimg", "build", CELLS[request.param], *links, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    return request.param, row["digest"]


@pytest.mark.slow
def test_torch_and_tensorflow_multiply_in_one_thread(engine: Engine, real: tuple[str, str]) -> None:
    name, digest = real
    assert busy_threads(engine, digest, name) > 1
    assert busy_threads(engine, digest, name, "--cpus", "1") == 1
    assert busy_threads(engine, digest, name, "--cpus", "1", "--entrypoint", "env") == 1
