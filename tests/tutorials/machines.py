"""Machines of the tutorials that ssh reaches: accounts, a GPU, and the `ssh` of the reader."""

import shutil
from dataclasses import replace
from pathlib import Path

from dlimg.engine.client import Engine
from dlimg.model import Base
from tests.support.made_up_gpu import MadeUpGpu
from tests.support.small_images import derived
from tests.support.ssh_machine import SshMachine, machine_image

SUDO = (
    "RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends sudo >/dev/null"
    " && rm -rf /var/lib/apt/lists/* && echo 'ALL ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/all"
)


def tutorial_machine(engine: Engine, base: Base) -> str:
    """The image of a machine whose users may use sudo; it stays in the engine."""
    name = "dlimg-test/tutorial-machine"
    derived(machine_image(engine, base), SUDO, name, engine)
    return name


def engine_with_gpu(engine: Engine, gpu: MadeUpGpu) -> Engine:
    """The engine as a machine has it: at the socket that gives the GPU."""
    gpu.socket.chmod(0o666)
    return replace(engine, host=f"unix://{gpu.socket}")


def add_user(machine: SshMachine, name: str, number: int) -> None:
    """Give somebody an account, with a home that the engine finds, too."""
    home = machine.home / name
    # Without PAM, sshd lets nobody in whose password is locked.
    options = f"--uid {number} --home-dir {home} --create-home --shell /bin/bash --password '*'"
    ended = machine.inside(f"useradd {options} {name}")
    assert ended.returncode == 0, ended.stderr


def allow(machine: SshMachine, key: Path) -> None:
    """Let the owner of this public key into the machine."""
    with (machine.folder / "authorized").open("a") as keys:
        keys.write(key.read_text())


def pci_mount(folder: Path, device: str) -> str:
    """The option of a container with one GPU on its PCI bus, of this device number."""
    place = folder / "pci/0000:00:04.0"
    place.mkdir(parents=True)
    for name, text in {"vendor": "0x10de", "class": "0x030200", "device": device}.items():
        (place / name).write_text(f"{text}\n")
    return f"--volume={place.parent}:/sys/bus/pci/devices:ro"


def add_ssh(programs: Path, machine: SshMachine, key: str) -> None:
    """Put a command `ssh` there, for which all names are those of this machine.

    It reads the configuration in HOME, which OpenSSH does not look at.
    """
    options = {
        "HostName": "127.0.0.1",
        "Port": machine.port,
        "IdentityFile": key,
        "UserKnownHostsFile": machine.folder / "known",
    }
    given = " ".join(f"-o {name}={value}" for name, value in options.items())
    command = programs / "ssh"
    configuration = 'config=$HOME/.ssh/config; [ -e "$config" ] || config=/dev/null\n'
    ssh = shutil.which("ssh") or "/usr/bin/ssh"
    command.write_text(f'#!/bin/sh\n{configuration}exec {ssh} -F "$config" {given} "$@"\n')
    command.chmod(0o755)
