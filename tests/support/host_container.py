"""Containers as hosts start them, and what has to work in the sessions that users get there."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run, run_checked
from tests.support.layout_image import wheel

SECONDS = 600
Session = Callable[[str], ProcessResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContainer:
    """A running container of a host's."""

    engine: Engine
    name: str

    def exec(self, *command: str, options: tuple[str, ...] = ()) -> ProcessResult:
        """Run a command in it, as `docker exec` does."""
        return docker(self.engine, "exec", *options, self.name, *command)

    def sh(self, script: str, *options: str) -> ProcessResult:
        return self.exec("/bin/sh", "-c", script, options=options)

    def root(self, script: str) -> str:
        """Run a script of the host's as root; it has to succeed."""
        result = self.exec("/bin/bash", "-euc", script, options=("--user", "0"))
        assert result.returncode == 0, f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
        return result.stdout

    def port(self, number: int) -> str:
        """Return the port on loopback that leads to this one."""
        printed = docker(self.engine, "port", self.name, str(number)).stdout
        return printed.splitlines()[0].rpartition(":")[2]

    def log(self) -> str:
        result = docker(self.engine, "logs", self.name)
        return result.stdout + result.stderr


def docker(engine: Engine, *argv: str, stdin: str | None = None) -> ProcessResult:
    command = [str(engine.docker), *argv]
    return run(command, env=engine.environment, stdin=stdin, timeout=SECONDS)


@contextlib.contextmanager
def started(
    engine: Engine, image: str, *command: str, options: tuple[str, ...] = ()
) -> Iterator[HostContainer]:
    """A container in the background, removed with its unnamed volumes."""
    name = f"dlimg-test-host-{secrets.token_hex(4)}"
    result = docker(engine, "run", "--detach", "--name", name, *options, image, *command)
    try:
        assert result.returncode == 0, result.stderr
        yield HostContainer(engine=engine, name=name)
    finally:
        docker(engine, "rm", "--force", "--volumes", name)


@contextlib.contextmanager
def named_volume(engine: Engine) -> Iterator[str]:
    name = f"dlimg-test-host-{secrets.token_hex(4)}"
    docker(engine, "volume", "create", name)
    try:
        yield name
    finally:
        docker(engine, "volume", "rm", "--force", name)


@contextlib.contextmanager
def group_volume(engine: Engine, image: str, group: int) -> Iterator[str]:
    """An empty volume as clusters make it for `fsGroup`: root's, and writable for this group."""
    with named_volume(engine) as name:
        options = ("--rm", "--volume", f"{name}:/volume", "--user", "0", "--entrypoint", "/bin/sh")
        script = f"chgrp {group} /volume && chmod 2775 /volume"
        result = docker(engine, "run", *options, image, "-c", script)
        assert result.returncode == 0, result.stderr
        yield name


@contextlib.contextmanager
def spoilt(engine: Engine, image: str, *instructions: str) -> Iterator[str]:
    """An image that is made of this one by instructions of a Dockerfile."""
    name = f"dlimg-test-host-{secrets.token_hex(4)}"
    argv = [str(engine.docker), "buildx", "build", "--quiet", "--provenance=false", "--tag", name]
    user = docker(engine, "inspect", "--format", "{{.Config.User}}", image).stdout.strip()
    is_user = any(instruction.startswith("USER ") for instruction in instructions)
    # BuildKit looks for a digest at a registry, for a name in the engine.
    docker(engine, "tag", image, f"{name}:whole")
    lines = [f"FROM {name}:whole", "USER 0", *instructions, *([] if is_user else [f"USER {user}"])]
    try:
        text = "\n".join(lines) + "\n"
        run_checked([*argv, "-"], env=engine.environment, stdin=text, timeout=300)
        yield name
    finally:
        docker(engine, "rmi", "--force", name, f"{name}:whole")


@contextlib.contextmanager
def mirrors() -> Iterator[tuple[str, ...]]:
    """Options of containers in which apt reaches the distribution as builds here do."""
    with secrets_from(Context.of(os.environ, print)) as using:
        options = [f"--env={name}={text}" for name, text in using.arguments.items()]
        places = {"ca": "/run/secrets/ca", "apt.conf": "/etc/apt/apt.conf.d/99dlimg-test"}
        for name, place in places.items():
            if name in using.files:
                # apt downloads as a user of its own.
                Path(using.files[name]).chmod(0o644)
                options.append(f"--volume={using.files[name]}:{place}:ro")
        yield tuple(options)


def session_faults(session: Session, module: str = "jax") -> list[str]:
    """Return what does not work in a session: the framework, pip, or what pip has installed."""
    file = "${TMPDIR:-/tmp}/greeting-1.0-py3-none-any.whl"
    script = f"""\
python -c 'import {module}; print("framework", {module}.__version__)'
echo {wheel("greeting", "1.0")} | base64 -d > {file}
pip install -q --no-index {file} && python -c 'import greeting; print("installed")'
rm -f {file}
pip uninstall -q -y {module} 2>&1 | grep -q . && echo kept
python -c 'import {module}; print("still")'
"""
    result = session(script)
    output = result.stdout.splitlines()
    reasons = {
        "framework": "the framework is not imported",
        "installed": "pip does not install",
        "still": "pip removes the framework",
    }
    last = (result.stderr.strip().splitlines() or ["nothing"])[-1]
    return [
        f"{reason}: {last}"
        for mark, reason in reasons.items()
        if not any(line.startswith(mark) for line in output)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """A new key of somebody who rents a machine."""

    private: Path

    @property
    def public(self) -> str:
        return self.private.with_suffix(".pub").read_text().strip()


def new_key(folder: Path) -> SshKey:
    path = folder / "key"
    run_checked(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)])
    return SshKey(private=path)


def ssh(port: str, key: SshKey, user: str, command: str) -> ProcessResult:
    """Run a command by ssh; a server that is not up yet is waited for, for a minute."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    argv = ["ssh", "-q", "-i", str(key.private), "-p", port, *(f"-o{text}" for text in options)]
    deadline = time.monotonic() + 60
    while True:
        result = run([*argv, f"{user}@127.0.0.1", command], timeout=120)
        if result.returncode != 255 or time.monotonic() > deadline:
            return result
        time.sleep(0.2)
