"""The page about a lab server: a machine with an engine, two accounts and a made-up GPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.engine_machine import engine_machine, loopback_there
from tests.support.made_up_gpu import pip_files, write_smi
from tests.support.ssh_machine import SshMachine
from tests.support.tutorial import Command, Reader, page_of
from tests.tutorials.machines import NO_ENGINE_HERE, add_ssh, add_user, allow, port_of
from tests.tutorials.notebooks import assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


@pytest.fixture
def machine(engine: Engine, base: Base, tmp_path: Path) -> Iterator[SshMachine]:
    gpu = {write_smi(tmp_path): "/usr/bin/nvidia-smi", **pip_files(tmp_path)}
    with engine_machine(engine, base, tmp_path / "lab", gpu=gpu) as machine:
        for number, name in enumerate(("ada", "ben")):
            add_user(machine, name, 2001 + number)
        yield machine


def test_the_page_is_followed(
    machine: SshMachine, published: str, variables: Mapping[str, str]
) -> None:
    home = Path(variables["HOME"])
    (home / ".ssh").mkdir(mode=0o700)
    add_ssh(home.parent / "programs", machine, str(home / ".ssh/id_ed25519"))
    settings = {"DLIMG_REGISTRY": published, "DOCKER_HOST": NO_ENGINE_HERE}
    reader = Reader(folder=home, variables={**variables, **settings})
    reader.look = assert_jupyter_answers
    with loopback_there(machine, port_of(published)):
        for step, _ in reader.walk(page_of(__file__)):
            if isinstance(step, Command) and step.text.startswith("ssh-keygen"):
                # What the page asks of somebody else.
                allow(machine, home / ".ssh/id_ed25519.pub")
