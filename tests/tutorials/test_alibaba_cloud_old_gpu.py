"""The page about an old GPU: a P4 with its driver, on a machine that only ssh reaches."""

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.engine_machine import engine_machine, loopback_there
from tests.support.made_up_gpu import write_smi
from tests.support.ssh_machine import SshMachine, make_key
from tests.support.tutorial import Reader, page_of
from tests.tutorials.machines import NO_ENGINE_HERE, add_ssh, add_user, allow, pci_mount, port_of

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


@pytest.fixture
def machine(engine: Engine, base: Base, tmp_path: Path) -> Iterator[SshMachine]:
    gpu = {write_smi(tmp_path, "Tesla P4", "6.1", "535.183.01"): "/usr/bin/nvidia-smi"}
    pci = pci_mount(tmp_path, "0x1bb3")
    with engine_machine(engine, base, tmp_path / "vm", pci, gpu=gpu) as machine:
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
    machine: SshMachine, published: str, variables: Mapping[str, str], tmp_path: Path
) -> None:
    home = Path(variables["HOME"])
    make_key(tmp_path / "key")
    allow(machine, tmp_path / "key.pub")
    add_ssh(home.parent / "programs", machine, str(tmp_path / "key"))
    settings = {"DLIMG_REGISTRY": published, "DOCKER_HOST": NO_ENGINE_HERE}
    reader = Reader(folder=home, variables={**variables, **settings})
    reader.look = assert_progress_is_shown
    with loopback_there(machine, port_of(published)):
        reader.follow(page_of(__file__))
