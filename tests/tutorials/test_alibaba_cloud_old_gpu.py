"""The page about an old GPU: a P4 with its driver, on a machine that only ssh reaches."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.made_up_gpu import MadeUpGpu, made_up_gpu
from tests.support.ssh_machine import SshMachine, make_key, ssh_machine
from tests.support.tutorial import Reader, page_of
from tests.tutorials.conftest import remove_runs
from tests.tutorials.machines import (
    add_ssh,
    add_user,
    allow,
    engine_with_gpu,
    pci_mount,
    tutorial_machine,
)

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


@pytest.fixture
def gpu(engine: Engine, tmp_path: Path) -> Iterator[MadeUpGpu]:
    with made_up_gpu(engine, tmp_path, "Tesla P4", "6.1", driver="535.183.01") as gpu:
        yield gpu


@pytest.fixture
def machine(engine: Engine, base: Base, gpu: MadeUpGpu, tmp_path: Path) -> Iterator[SshMachine]:
    image = tutorial_machine(engine, base)
    mounts = (f"--volume={gpu.smi}:/usr/bin/nvidia-smi:ro", pci_mount(tmp_path, "0x1bb3"))
    with ssh_machine(engine_with_gpu(engine, gpu), image, tmp_path / "vm", *mounts) as machine:
        add_user(machine, "me", 2001)
        yield machine


def assert_progress_is_shown(output: str) -> None:
    """The one address in an output shows the files of the first run."""
    address = str(*re.findall(r"http://\S+", output))
    deadline = time.monotonic() + 60
    while True:
        try:
            text = requests.get(f"{address}/progress.txt", timeout=60).text
        except requests.ConnectionError:
            assert time.monotonic() < deadline, address
            time.sleep(0.5)
        else:
            assert text.startswith("epoch 1: loss"), text
            return


def test_the_page_is_followed(
    machine: SshMachine, engine: Engine, variables: Mapping[str, str], tmp_path: Path
) -> None:
    home = Path(variables["HOME"])
    make_key(tmp_path / "key")
    allow(machine, tmp_path / "key.pub")
    add_ssh(home.parent / "programs", machine, str(tmp_path / "key"))
    reader = Reader(
        folder=home, variables={**variables, "DOCKER_HOST": "unix:///nothing/here.sock"}
    )
    reader.look = assert_progress_is_shown
    try:
        reader.follow(page_of(__file__))
    finally:
        remove_runs(engine, str(home))
