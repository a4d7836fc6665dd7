"""The page about a bare VM: a T4 without driver, toolkit and a GPU in the engine, at first."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support import engine_proxy
from tests.support.made_up_gpu import MadeUpGpu
from tests.support.package_source import nvidia_stand_ins
from tests.support.ssh_machine import SshMachine, make_key, ssh_machine
from tests.support.tutorial import Reader, page_of
from tests.tutorials.conftest import remove_runs
from tests.tutorials.machines import add_ssh, add_user, allow, pci_mount, tutorial_machine
from tests.tutorials.notebooks import assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]

# A restart of the engine, after which it gives the GPU.
SYSTEMCTL = """\
#!/bin/sh
[ "$1 $2" != "restart docker" ] || ln -sf /sockets/gpu.sock /var/run/docker.sock
"""


@pytest.fixture
def machine(engine: Engine, base: Base, gpu: MadeUpGpu, tmp_path: Path) -> Iterator[SshMachine]:
    with ExitStack() as stack:
        plain = gpu.socket.with_name("plain.sock")
        stack.enter_context(engine_proxy.to(engine, plain))
        for socket in (plain, gpu.socket):
            socket.chmod(0o666)
        systemctl = tmp_path / "systemctl"
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)
        mounts = (
            f"--volume={gpu.socket}:/sockets/gpu.sock",
            f"--volume={plain}:/sockets/plain.sock",
            f"--volume={engine.docker}:/usr/bin/docker:ro",
            f"--volume={systemctl}:/usr/local/bin/systemctl:ro",
            pci_mount(tmp_path, "0x1eb8"),
        )
        image = tutorial_machine(engine, base)
        started = ssh_machine(engine, image, tmp_path / "vm", *mounts, docker=False)
        machine = stack.enter_context(started)
        machine.inside("ln -s /sockets/plain.sock /var/run/docker.sock")
        add_user(machine, "me", 2001)
        yield machine


def test_the_page_is_followed(
    machine: SshMachine, engine: Engine, variables: Mapping[str, str], tmp_path: Path
) -> None:
    home = Path(variables["HOME"])
    make_key(tmp_path / "key")
    allow(machine, tmp_path / "key.pub")
    add_ssh(home.parent / "programs", machine, str(tmp_path / "key"))
    try:
        with nvidia_stand_ins(tmp_path / "source", "debian13") as source:
            settings = {
                "DOCKER_HOST": "unix:///nothing/here.sock",
                "DLIMG_NVIDIA_SOURCES": source.address,
            }
            reader = Reader(folder=home, variables={**variables, **settings})
            reader.look = assert_jupyter_answers
            reader.follow(page_of(__file__))
    finally:
        remove_runs(engine, str(home))
