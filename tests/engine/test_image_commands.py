"""`dlimg-check` and `dlimg-info` inside images, under an entry point and without."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run
from dlimg.model import BuiltImage
from tests.support.layout_image import LayoutImage, install, wheel
from tests.support.made_up_driver import made_up_driver
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

QUIET = ("--env", "DLIMG_QUIET=1")
WITHOUT = ("--entrypoint", "env")
BARE = ("env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin")
LIBRARY = "/opt/env/lib/python3.13/site-packages"


def in_jax(engine: Engine, image: BuiltImage, script: str, *options: str) -> ProcessResult:
    argv = [str(engine.docker), "run", "--rm", "--network", "none", *QUIET, *options, image.digest]
    return run([*argv, "bash", "-c", script], env=engine.environment, timeout=300)


def verdicts(done: ProcessResult) -> Mapping[str, str]:
    rows = json.loads(done.stdout)["checks"]
    return {row["check"]: f"{row['verdict']}: {row['words']}" for row in rows}


@pytest.mark.parametrize(
    "options",
    [
        ("--user", "12345"),
        *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in ((), ("--read-only",))),
    ],
    ids=str,
)
def test_a_sound_image_passes_its_own_checks(
    engine: Engine, jax_image: BuiltImage, options: tuple[str, ...]
) -> None:
    done = in_jax(engine, jax_image, "dlimg-check --json", *options)
    found = verdicts(done)
    assert done.returncode == 0, found
    assert found["framework"].startswith("passed: jax 0.12.0.1 from /opt/env/")
    assert found["packages"].startswith("passed: ")


@pytest.mark.parametrize(
    ("script", "name", "text"),
    [
        (
            f"rm -r {LIBRARY}/numpy-*.dist-info",
            "packages",
            "is locked, and no version is installed",
        ),
        pytest.param(
            (
                "place=/home/user/env/lib/python3.13/site-packages/jax-0.1.dist-info; "
                "mkdir -p $place; "
                "printf 'Metadata-Version: 2.1\\nName: jax\\nVersion: 0.1\\n' > $place/METADATA"
            ),
            "packages",
            "jax 0.1 of yours takes the place of 0.12.0.1",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            f"echo 'raise SystemExit(9)' > {LIBRARY}/jax/__init__.py",
            "framework",
            "it says nothing",
            marks=pytest.mark.slow,
        ),
        (f"rm {LIBRARY}/jaxlib/libjax_common.so", "framework", "libjax_common.so"),
    ],
)
def test_a_damaged_image_fails_its_own_checks(
    engine: Engine, jax_image: BuiltImage, script: str, name: str, text: str
) -> None:
    clean = f"find {LIBRARY}/jax -maxdepth 2 -name '__init__.*.pyc' -delete"
    done = in_jax(engine, jax_image, f"{script}; {clean}; dlimg-check --json", "--user", "0")
    assert done.returncode == 1, done.stdout
    assert verdicts(done)[name].startswith("failed: ")
    assert text in verdicts(done)[name]


def facts(image: LayoutImage, *options: str, before: str = "", stdin: str = "") -> dict[str, Any]:
    outcome = image.run("bash", "-c", f"{before} dlimg-info --json", options=options, stdin=stdin)
    assert outcome.returncode == 0, outcome.stderr
    content: dict[str, Any] = json.loads(outcome.stdout)
    return content


def test_an_image_knows_its_machine(layout_image: LayoutImage, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    names = ("nvidiactl", "nvidia0", "nvidia-uvm")
    found = facts(
        layout_image,
        *("--cpus", "1", "--memory", "1g", "--shm-size", "200m", "--env", "DLIMG_DIGEST=sha256:1"),
        *(word for name in names for word in ("--device", f"/dev/null:/dev/{name}")),
        *("--env", "LD_LIBRARY_PATH=/usr/local/nvidia/lib64"),
        *("--volume", f"{made_up_driver(tmp_path)}:/usr/local/nvidia/lib64:ro"),
    )
    here = found["machine"]
    assert here["cpus"] == 1
    assert here["memory_bytes"] == 2**30
    assert here["shared_memory_bytes"] == 200 * 2**20
    assert [(gpu["name"], gpu["capability"]) for gpu in here["gpus"]] == [("H100", "9.0")]
    assert here["driver"] == "580.65.06"
    assert found["image"]["digest"] == "sha256:1"
    assert found["image"]["cell"] == layout_image.built.planned.image.cell.id
    assert found["findings"] == []


def test_an_image_knows_what_its_user_has_installed(layout_image: LayoutImage) -> None:
    typed = wheel("greeting", "1.0")
    found = facts(layout_image, before=f"{install('greeting', '1.0')};", stdin=typed)
    assert found["installed"] == {"/home/user/env": ["greeting==1.0"]}


@pytest.mark.parametrize(
    "command",
    first_values([(*BARE, "dlimg-info"), ("dlimg-info",)], 1, pytest.mark.slow),
    ids=" ".join,
)
def test_what_an_image_is_stands_in_its_text(
    layout_image: LayoutImage, command: tuple[str, ...]
) -> None:
    options = (*WITHOUT, "--pids-limit", "90")
    for given in ((), options):
        outcome = layout_image.run(*command, options=("--pids-limit", "90", *given))
        assert outcome.returncode == 0, outcome.stderr
        assert layout_image.built.planned.image.cell.id in outcome.stdout
        assert "this container may have 90 processes" in outcome.stdout
        # Not a second time, by the entry point.
        assert outcome.stderr == "" or command[0] == "env"
