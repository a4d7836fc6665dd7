"""The whole walk, as a user types it: a real cell from its lock to verdicts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import BuiltImage

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parent.parent.parent
CELL = "jax-0.12.0.1-cpu-py3.13-debian13"


def dlimg(
    *arguments: str, cwd: Path = ROOT, variables: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; never a traceback."""
    environment = {**variables, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "dlimg", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


@pytest.fixture(scope="session")
def own_state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which nothing has been tested yet."""
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}


@pytest.fixture(scope="session")
def tested(engine: Engine, own_state: dict[str, str], jax_image: BuiltImage) -> dict[str, object]:
    """The cell, built and tested by the command; its JSON object."""
    engine.sdk.images.get(jax_image.digest)
    ended = dlimg("test", CELL, "--format", "json", variables=own_state)
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    assert isinstance(line, dict)
    return line


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of this project, to break."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "matrix.yaml", folder)
    shutil.copytree(ROOT / "images", folder / "images")
    shutil.copytree(ROOT / "locks", folder / "locks")
    return folder


def test_a_real_image_passes_its_checks(tested: dict[str, object]) -> None:
    assert tested["cell"] == CELL
    assert tested["outcome"] == "passed"
    checks = tested["checks"]
    assert isinstance(checks, list)
    verdicts = {check["check"]: check["status"] for check in checks}
    # A check that asks for a GPU is left out of a CPU image, and not counted as not-run.
    common = ("entrypoint", "no_build_leftovers", "read_only", "secrets", "start", "tls", "user")
    names = [
        *(f"runtime_{name}" for name in common),
        "every_file_has_a_source",
        "runtime_arbitrary_uid",
        "runtime_without_entrypoint",
        "tag_matches_image",
        "pip_check",
    ]
    names += ["compiled_step", "conv_training", "libraries_load", "os_packages_unmodified"]
    assert verdicts == dict.fromkeys(names, "passed")


def test_a_second_test_run_repeats_nothing(
    tested: dict[str, object], own_state: dict[str, str]
) -> None:
    ended = dlimg("test", CELL, "--format", "json", variables=own_state)
    (line,) = json.loads(ended.stdout)
    assert line["cached"] is True
    assert line["digest"] == tested["digest"]
    assert line["checks"] == tested["checks"]


def test_the_printed_docker_run_line_works(
    tested: dict[str, object], own_state: dict[str, str], tmp_path: Path
) -> None:
    assert tested["built"]
    ended = dlimg("test", CELL, variables=own_state)
    line = ended.stderr.splitlines()[-1].strip()
    tried = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.strip() == "0.12.0.1"


def test_a_wrong_sha256_in_the_lock_is_not_built(copy: Path, tested: dict[str, object]) -> None:
    lock = copy / "locks" / f"{CELL}.json"
    answer = json.loads(lock.read_text())
    wheel = next(wheel for wheel in answer["wheels"] if wheel["name"] == "opt-einsum")
    lock.write_text(lock.read_text().replace(wheel["sha256"], "0" * 64))
    ended = dlimg("build", CELL, "--format", "json", cwd=copy)
    assert ended.returncode == 1
    assert "the lock" in ended.stderr
    (line,) = json.loads(ended.stdout)
    assert not line["built"]
    assert line["reference"] != tested["reference"]


@pytest.mark.slow
def test_an_index_out_of_reach(copy: Path) -> None:
    lock = copy / "locks" / f"{CELL}.json"
    variables = {**os.environ, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    matrix = copy / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace('"jax=={version}"', '"jax=={version}", six'))
    ended = dlimg("lock", CELL, cwd=copy, variables=variables)
    assert ended.returncode == 5
    assert "index" in ended.stderr
    assert json.loads(lock.read_text())["name"] == CELL


def alone(
    script: str, *arguments: object, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """A shell script with mounts of its own, that ends as dlimg with these words; no traceback."""
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-euc", f'{script}; exec "$@"', *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**variables, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def test_no_engine_and_none_may_be_started(copy: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    # A short path: sockets lie in it.
    variables |= {"DLIMG_ENGINE_HOME": "/dlimg-none", "HOME": str(tmp_path)}
    # Where the machine has an engine of its own, its socket is out of sight.
    script = 'mount -t tmpfs none /run; cd "$0"'
    arguments = (sys.executable, "-m", "dlimg", "build", CELL, "--no-private-engine")
    ended = alone(script, copy, *arguments, variables=variables)
    assert ended.returncode == 4
    assert "no container engine answers" in ended.stderr
    assert "hint:" in ended.stderr
    assert not Path("/dlimg-none").exists()


@pytest.mark.parametrize(("arguments", "code"), [(("test", CELL), 0), (("render",), 2)])
@pytest.mark.usefixtures("tested")
def test_a_read_only_checkout_builds_and_cannot_be_rendered(
    arguments: tuple[str, ...], code: int, copy: Path, own_state: dict[str, str]
) -> None:
    script = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; cd "$0"'
    ended = alone(script, copy, sys.executable, "-m", "dlimg", *arguments, variables=own_state)
    assert ended.returncode == code, ended.stderr
