"""A machine that ssh reaches: a container with an ssh server, and the engine of the tests.

It has the host's network, and a home at the same path as here: the engine finds its folders, and
ports that the engine publishes are on its loopback. `engine_machine` has one of its own.
"""

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run, run_checked
from dlimg.model import Base

DOCKERFILE = """\
FROM {base}
RUN apt-get update -qq && \\
    apt-get install -qq -y --no-install-recommends \\
        openssh-server rsync procps curl ca-certificates >/dev/null && \\
    rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*_key* && mkdir -p /run/sshd
"""
START = """\
sed -i "s#:/root:#:$1:#" /etc/passwd
cp /keys/host_key /etc/ssh/host_key && chmod 600 /etc/ssh/host_key
exec /usr/sbin/sshd -D -e -p "$2" -h /etc/ssh/host_key -o ListenAddress="$3" \
    -o AuthorizedKeysFile=/keys/authorized -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshMachine:
    """The container of a machine, and ssh's configuration in which it is called `vm`."""

    container: str
    engine: Engine
    folder: Path
    port: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def variables(self) -> Mapping[str, str]:
        return {"DLIMG_SSH_CONFIG": str(self.config)}

    def inside(self, script: str) -> ProcessResult:
        """Run a script in the container itself, without ssh."""
        argv = self.engine.docker_argv("exec", self.container, "sh", "-c", script)
        return run(argv, env=self.engine.environment, timeout=60)

    def drop_connections(self) -> None:
        """End every session of the ssh server; the server itself goes on."""
        self.inside("pkill -KILL -f '^sshd-session: |^sshd: root'")

    def write_config(self, **options: str) -> None:
        lines = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": "root",
            "IdentityFile": f'"{self.folder}/id"',
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": f'"{self.folder}/known"',
            **options,
        }
        text = "".join(f"    {name} {value}\n" for name, value in lines.items())
        self.config.write_text(f"Host vm\n{text}")

    def know(self, key: str) -> None:
        """Let ssh know this public key as the machine's."""
        kind, text = key.split()[:2]
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {kind} {text}\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_key(file: Path) -> str:
    """Make a key without a passphrase; return its public half."""
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], env=os.environ)
    return Path(f"{file}.pub").read_text()


def machine_image(engine: Engine, base: Base) -> str:
    """The image of a machine; it stays in the engine."""
    name = "dlimg-test/ssh-machine"
    argv = engine.docker_argv("buildx", "build", "--quiet", "--provenance=false", "--tag", name)
    dockerfile = DOCKERFILE.format(base=base.reference.removeprefix("docker-image://"))
    run_checked([*argv, "-"], env=engine.environment, stdin=dockerfile, timeout=300)
    return name


@contextlib.contextmanager
def ssh_machine(
    engine: Engine, image: str, folder: Path, *options: str, docker: bool = True
) -> Iterator[SshMachine]:
    """A running machine; `docker` says whether it has the command and the engine's socket."""
    mounts = ["--volume=/run/lock:/run/lock"]  # as the engine's machine has it
    if docker:
        mounts.append(f"--volume={engine.host.removeprefix('unix://')}:/var/run/docker.sock")
        mounts.append(f"--volume={engine.docker}:/usr/bin/docker:ro")
    with started_machine(engine, image, folder, *mounts, *options, own_network=False) as machine:
        yield machine


@contextlib.contextmanager
def started_machine(
    engine: Engine, image: str, folder: Path, *options: str, own_network: bool
) -> Iterator[SshMachine]:
    """A running machine whose container has these options, and the host's network or its own."""
    home = folder / "home"
    home.mkdir(parents=True)
    host_key = make_key(folder / "host_key")
    make_key(folder / "id")
    (folder / "authorized").write_text((folder / "id.pub").read_text())
    port = free_port()
    mounts = (f"--volume={folder}:/keys:ro", f"--volume={home}:{home}")
    network = f"--publish=127.0.0.1:{port}:{port}" if own_network else "--network=host"
    address = "0.0.0.0" if own_network else "127.0.0.1"  # noqa: S104 - of the container
    name = f"dlimg-test-vm-{secrets.token_hex(4)}"
    arguments = ("run", "--detach", network, "--name", name, *mounts, *options)
    start = ("sh", "-c", START, "sh", str(home), str(port), address)
    run_checked(engine.docker_argv(*arguments, image, *start), env=engine.environment, timeout=60)
    machine = SshMachine(container=name, engine=engine, folder=folder, port=port)
    try:
        machine.know(host_key)
        machine.write_config()
        _wait(machine)
        yield machine
    finally:
        run(engine.docker_argv("rm", "-f", "-v", name), env=engine.environment, timeout=60)


def _wait(machine: SshMachine) -> None:
    argv = ["ssh", "-F", str(machine.config), "vm", "true"]
    for _ in range(100):
        if run(argv, env=os.environ, timeout=20).returncode == 0:
            return
        time.sleep(0.1)
    logs = run(machine.engine.docker_argv("logs", machine.container), env=os.environ)
    raise AssertionError(logs.stdout + logs.stderr)
