"""Runs on another machine: a container with an ssh server and the engine of the tests."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from dlimg.run.model import RUN_LABEL
from tests.engine.test_cli import ROOT, dlimg
from tests.support.layout_image import LayoutImage
from tests.support.ssh_machine import SshMachine, machine_image, ssh_machine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def image(engine: Engine, base: Base) -> str:
    return machine_image(engine, base)


@pytest.fixture(scope="module")
def machine(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SshMachine]:
    with ssh_machine(engine, image, tmp_path_factory.mktemp("vm")) as machine:
        yield machine


class Laptop:
    """A folder of a user on a machine without an engine."""

    def __init__(self, path: Path, image: str, state: Path, machine: SshMachine) -> None:
        self.path = path
        self.image = image
        self.name = f"t{secrets.token_hex(4)}"
        self.machine = machine
        self.variables = {
            **os.environ,
            **machine.variables,
            "XDG_STATE_HOME": str(state),
            "XDG_CONFIG_HOME": str(state.parent / "config"),
            "DOCKER_HOST": "unix:///nothing/here.sock",
        }

    def words(self, *options: str, command: Sequence[str] = ()) -> tuple[str, ...]:
        given = ("--env", self.image, "--name", self.name, "--on", "vm")
        return ("run", *given, *options, "--", *command)

    def run(self, *options: str, command: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        return self.dlimg(*self.words(*options, command=command))

    def shell(self, script: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(*options, command=("sh", "-c", script))

    def dlimg(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return dlimg(*words, cwd=self.path, variables={**self.variables, **variables})

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on while the test does something."""
        return subprocess.Popen(
            [sys.executable, "-m", "dlimg", *words],
            cwd=self.path,
            env={**self.variables, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self, number: int) -> dict[str, Any]:
        ended = self.dlimg("ps", "--on", "vm", "--format", "json")
        assert ended.returncode == 0, ended.stderr
        rows: dict[str, dict[str, Any]] = {row["run"]: row for row in json.loads(ended.stdout)}
        return rows[f"{self.name}:{number}"]


@pytest.fixture
def laptop(
    tmp_path: Path, engine: Engine, layout_image: LayoutImage, machine: SshMachine
) -> Iterator[Laptop]:
    path = tmp_path / "my 'first' $x 你好"
    path.mkdir()
    laptop = Laptop(path, layout_image.built.planned.reference, tmp_path / "state", machine)
    yield laptop
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": RUN_LABEL}):
        if row["Labels"][RUN_LABEL].rpartition(":")[0] == laptop.name:
            api.remove_container(row["Id"], force=True, v=True)


def test_a_folder_becomes_a_result_on_another_machine(laptop: Laptop) -> None:
    (laptop.path / "train.py").write_text(
        "import pathlib, sys\n"
        "print('你好', pathlib.Path.cwd(), flush=True)\n"
        "print('to stderr', file=sys.stderr)\n"
        "pathlib.Path('/output/模型 $1.txt').write_text('learned')\n"
        "pathlib.Path('new \"file\".txt').write_text('written there')\n"
    )
    (laptop.path / ".gitignore").write_text("big.bin\n")
    (laptop.path / "big.bin").write_bytes(bytes(1000))
    ended = laptop.run()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "你好 /code\n"
    assert "to stderr\n" in ended.stderr
    assert "sending 2 of 2 files" in ended.stderr
    assert "not sent, by the ignore file: big.bin" in ended.stderr
    assert (laptop.path / "output/1/模型 $1.txt").read_text() == "learned"
    assert (laptop.path / 'new "file".txt').read_text() == "written there"
    again = laptop.run()
    assert "sending 0 of 3 files" in again.stderr, again.stderr
    row = laptop.status(2)
    assert (row["state"], row["exit_code"]) == ("ended", 0)
    logs = laptop.dlimg("logs", "--no-times", f"{laptop.name}:2")
    assert sorted(logs.stdout.splitlines()) == ["to stderr", "你好 /code"], logs.stderr
    removed = laptop.dlimg("rm", "--force", f"{laptop.name}:2")
    assert removed.returncode == 0, removed.stderr
    there = laptop.machine.inside(f"ls {laptop.machine.home}/dlimg-runs/*/output")
    assert there.stdout.split() == ["1"]
