"""Printed runs for Docker and Compose do on a real engine what the run itself would do."""

import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.run.model import Mount, RunName, RunSpec
from dlimg.run_formats.model import PrintedRun
from dlimg.run_formats.write import write_run
from tests.support.debian_tools import DebianTools
from tests.support.layout_image import LayoutImage
from tests.support.printed_runs import HARD_FOLDER, HARD_WORDS, TRAIN

pytestmark = pytest.mark.engine


@pytest.fixture
def run(layout_image: LayoutImage, tmp_path: Path) -> PrintedRun:
    folder = tmp_path / HARD_FOLDER.rpartition("/")[2]
    data = tmp_path / "数据, $x"
    folder.mkdir()
    data.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (data / "x").write_text("data")
    spec = RunSpec(
        run=RunName(name="你好", number=1),
        image=layout_image.built.planned.reference,
        digest="",
        command=("python", "train.py", *HARD_WORDS),
        mounts=(
            Mount(kind="bind", source=str(folder), target="/code"),
            Mount(kind="bind", source=f"{folder}/output", target="/output"),
            Mount(kind="bind", source=str(data), target="/data/d", read_only=True),
        ),
        variables={"HARD": " ".join(HARD_WORDS)},
        user=f"{os.getuid()}:{os.getgid()}",
    )
    return PrintedRun(spec=spec, secrets=("WANDB_API_KEY",))


def environment(engine: Engine) -> dict[str, str]:
    return {
        **engine.environment,
        "PATH": f"{engine.docker.parent}:{os.environ['PATH']}",
        "DOCKER_HOST": engine.host,
        "WANDB_API_KEY": "its value",
    }


def execute(argv: Sequence[str], text: str, engine: Engine) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, check=False, input=text, capture_output=True, text=True, env=environment(engine)
    )


def check_result(run: PrintedRun, output: str) -> None:
    given, place, refused = output.splitlines()
    assert given == repr([run.spec.variables["HARD"], "its value", *HARD_WORDS])
    assert place == f"/code {8 * 2**30}"
    assert refused == "Read-only file system"
    result = Path(run.output) / "result"
    assert result.read_text() == "data"
    assert result.stat().st_uid == os.getuid()


def test_the_line_for_docker_runs_with_each_word_path_and_value(
    run: PrintedRun, engine: Engine
) -> None:
    outcome = execute(["sh", "-eu"], write_run(run, "docker"), engine)
    assert outcome.returncode == 0, outcome.stderr
    check_result(run, outcome.stdout)


@pytest.mark.slow
def test_the_file_for_compose_runs_and_its_secret_is_in_no_configuration(
    run: PrintedRun, engine: Engine, tmp_path: Path
) -> None:
    Path(run.output).mkdir()
    compose = str(DebianTools(tmp_path).compose())
    file = tmp_path / "compose.yaml"
    file.write_text(write_run(run, "compose"), encoding="utf-8")
    project = f"test-{secrets.token_hex(4)}"
    arguments = [compose, "--project-name", project, "--file", str(file)]
    try:
        outcome = execute([*arguments, "run", "--name", project, "--no-TTY", run.name], "", engine)
        assert outcome.returncode == 0, outcome.stderr
        check_result(run, outcome.stdout)
        shown = execute([str(engine.docker), "inspect", project], "", engine)
        assert project in shown.stdout
        assert "its value" not in shown.stdout
    finally:
        execute([str(engine.docker), "rm", "--force", project], "", engine)
        execute([*arguments, "down"], "", engine)


def test_a_line_with_an_image_that_is_nowhere_fails(run: PrintedRun, engine: Engine) -> None:
    other = replace(run, spec=replace(run.spec, image="127.0.0.1:1/nothing:1"))
    assert execute(["sh", "-eu"], write_run(other, "docker"), engine).returncode == 125
