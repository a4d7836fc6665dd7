"""Machines of the tutorials that ssh reaches: accounts, a GPU, and the `ssh` of the reader."""

import shutil
from pathlib import Path

from tests.support.ssh_machine import SshMachine

NO_ENGINE_HERE = "unix:///nothing/here.sock"


def add_user(machine: SshMachine, name: str, number: int) -> None:
    """Give somebody an account, who may use docker."""
    home = machine.home / name
    # Without PAM, sshd lets nobody in whose password is locked.
    options = f"--uid {number} --home-dir {home} --create-home --shell /bin/bash --password '*'"
    options += " --groups docker"
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


def port_of(address: str) -> int:
    """The port in `127.0.0.1:5000/team`, or in a URL of that."""
    return int(address.rpartition("://")[2].partition("/")[0].rpartition(":")[2])


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
