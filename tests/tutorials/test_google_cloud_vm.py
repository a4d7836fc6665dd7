"""The page about a bare VM: a T4 without driver, toolkit and a GPU in the engine, at first."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.engine_machine import engine_machine, loopback_there
from tests.support.package_source import nvidia_stand_ins
from tests.support.ssh_machine import SshMachine, make_key
from tests.support.tutorial import Reader, page_of
from tests.tutorials.machines import NO_ENGINE_HERE, add_ssh, add_user, allow, pci_mount, port_of
from tests.tutorials.notebooks import assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


@pytest.fixture
def machine(engine: Engine, base: Base, tmp_path: Path) -> Iterator[SshMachine]:
    with engine_machine(engine, base, tmp_path / "vm", pci_mount(tmp_path, "0x1eb8")) as machine:
        add_user(machine, "me", 2001)
        yield machine


def test_the_page_is_followed(
    machine: SshMachine, published: str, variables: Mapping[str, str], tmp_path: Path
) -> None:
    home = Path(variables["HOME"])
    make_key(tmp_path / "key")
    allow(machine, tmp_path / "key.pub")
    add_ssh(home.parent / "programs", machine, str(tmp_path / "key"))
    with (
        nvidia_stand_ins(tmp_path / "source", "debian13") as source,
        loopback_there(machine, port_of(published), port_of(source.address)),
    ):
        settings = {
            "DLIMG_REGISTRY": published,
            "DOCKER_HOST": NO_ENGINE_HERE,
            "DLIMG_NVIDIA_SOURCES": source.address,
        }
        reader = Reader(folder=home, variables={**variables, **settings})
        reader.look = assert_jupyter_answers
        reader.follow(page_of(__file__))
