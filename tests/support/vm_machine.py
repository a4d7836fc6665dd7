"""A bare machine: a container in which stand-ins install, reboot, pull and start."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run

LOG: Final = "/stand-ins/log"
# Each writes down what it changes, and leaves what later steps look for.
STAND_INS: Final = {
    "apt-get": r"""echo "apt-get $*" >>/stand-ins/log
for word in "$@"; do
    case $word in
        nvidia-open | cuda-drivers) cp /stand-ins/.smi /stand-ins/nvidia-smi ;;
        docker-cli | docker-ce-cli) cp /stand-ins/.docker /stand-ins/docker ;;
        nvidia-container-toolkit) cp /stand-ins/.ctk /stand-ins/nvidia-ctk ;;
    esac
done
""",
    "apt-cache": "cat /stand-ins/candidate\n",
    "curl": r"""echo "curl $*" >>/stand-ins/log
while [ $# -gt 0 ]; do [ "$1" != -o ] || : >"$2"; shift; done
""",
    "dpkg": r"""[ "$1" != --install ] || { echo "dpkg $*" >>/stand-ins/log; exit 0; }
exec /usr/bin/dpkg "$@"
""",
    "systemctl": 'echo "systemctl $*" >>/stand-ins/log\n',
    "modprobe": "[ -e /stand-ins/booted ]\n",
    ".smi": "[ -e /stand-ins/booted ] || { echo NVIDIA-SMI has failed; exit 9; }\n"
    "cat /stand-ins/driver\n",
    ".ctk": 'echo "nvidia-ctk $*" >>/stand-ins/log; : >/stand-ins/runtime\n',
    ".docker": r"""case "$1 $2" in
    'version '*) [ ! -e /stand-ins/starting ] || { rm /stand-ins/starting; exit 1; }; exit ;;
    'info '*) [ ! -e /stand-ins/runtime ] || echo '{"nvidia":{}}'; exit ;;
    'image inspect') [ -e /stand-ins/pulled ]; exit ;;
    'container inspect') cat /stand-ins/status 2>/dev/null; exit ;;
    'pull '*) [ ! -e /stand-ins/offline ] || exit 1; : >/stand-ins/pulled ;;
    'run '*) echo running >/stand-ins/status ;;
    'start '*) echo running >/stand-ins/status ;;
esac
echo "docker $*" >>/stand-ins/log
""",
}


@dataclass(frozen=True)
class Machine:
    """The machine, with a folder of stand-ins that come first on its PATH."""

    engine: Engine
    container: str
    folder: Path

    def execute(self, script: str) -> ProcessResult:
        path = "PATH=/stand-ins:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
        options = ("exec", "--interactive", "--env", path, self.container)
        argv = [str(self.engine.docker), *options, "sh"]
        return run(argv, env=self.engine.environment, stdin=script, timeout=60)

    def log(self) -> list[str]:
        file = self.folder / "log"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def reboot(self) -> None:
        (self.folder / "booted").touch()

    def files(self) -> str:
        """The files of the machine's own folders, with their times and sizes."""
        return self.execute(
            "find /etc /srv /var/lib /stand-ins -type f -printf '%p %T@ %s\\n'"
        ).stdout


@contextmanager
def machine(
    engine: Engine, image: str, folder: Path, *, driver: str, device: str = ""
) -> Iterator[Machine]:
    """A machine whose GPU has the device number, or none; `driver` is the one that apt installs."""
    programs = folder / "stand-ins"
    programs.mkdir()
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}")
        (programs / name).chmod(0o755)
    (programs / "driver").write_text(f"{driver}\n")
    (programs / "candidate").write_text("docker.io:\n  Candidate: 26.1.5+dfsg1-9\n")
    pci = folder / "pci/0000:00:04.0"
    pci.mkdir(parents=True)
    if device:
        for name, text in {"vendor": "0x10de", "class": "0x030200", "device": device}.items():
            (pci / name).write_text(f"{text}\n")
    name = f"dlimg-test-vm-{secrets.token_hex(4)}"
    mounts = (
        *("--volume", f"{programs}:/stand-ins"),
        *("--volume", f"{pci.parent}:/sys/bus/pci/devices:ro"),
    )
    docker = str(engine.docker)
    argv = [docker, "run", "--detach", "--rm", "--name", name, *mounts, image, "sleep", "600"]
    subprocess.run(argv, check=True, env=engine.environment, capture_output=True)
    try:
        yield Machine(engine, name, programs)
    finally:
        argv = [docker, "rm", "--force", name]
        subprocess.run(argv, check=True, env=engine.environment, capture_output=True)
