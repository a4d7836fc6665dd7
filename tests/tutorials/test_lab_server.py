"""The page about a lab server: a container with an ssh server, two accounts and a made-up GPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.made_up_gpu import LOCKS, MadeUpGpu
from tests.support.ssh_machine import SshMachine, ssh_machine
from tests.support.tutorial import Command, Reader, page_of
from tests.tutorials.conftest import remove_runs
from tests.tutorials.machines import add_ssh, add_user, allow, engine_with_gpu, tutorial_machine
from tests.tutorials.notebooks import assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


@pytest.fixture
def machine(engine: Engine, base: Base, gpu: MadeUpGpu, tmp_path: Path) -> Iterator[SshMachine]:
    image = tutorial_machine(engine, base)
    smi = f"--volume={gpu.smi}:/usr/bin/nvidia-smi:ro"
    locks = f"--volume={gpu.locks}:{LOCKS}"
    with ssh_machine(engine_with_gpu(engine, gpu), image, tmp_path / "lab", smi, locks) as machine:
        for number, name in enumerate(("ada", "ben")):
            add_user(machine, name, 2001 + number)
        yield machine


def test_the_page_is_followed(
    machine: SshMachine, engine: Engine, variables: Mapping[str, str]
) -> None:
    home = Path(variables["HOME"])
    (home / ".ssh").mkdir(mode=0o700)
    add_ssh(home.parent / "programs", machine, str(home / ".ssh/id_ed25519"))
    reader = Reader(
        folder=home, variables={**variables, "DOCKER_HOST": "unix:///nothing/here.sock"}
    )
    reader.look = assert_jupyter_answers
    try:
        for step, _ in reader.walk(page_of(__file__)):
            if isinstance(step, Command) and step.text.startswith("ssh-keygen"):
                # What the page asks of somebody else.
                allow(machine, home / ".ssh/id_ed25519.pub")
    finally:
        remove_runs(engine, str(home))
