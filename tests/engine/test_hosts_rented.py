"""Rented machines that take an image over: SkyPilot, vast.ai, RunPod, and hosts like AutoDL.

They replace the entry point, become root and put an ssh server of their own into the container.
Each row replays what the host publishes of its start (docs/hosts.md names the sources) and lists
what does not work in the sessions that it gives; each is spoilt once, and has to find that.
"""
# ruff: noqa: S108  # the folders are in containers

import contextlib
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult
from dlimg.model import BuiltImage
from tests.support.host_container import (
    HostContainer,
    SshKey,
    docker,
    mirrors,
    named_volume,
    new_key,
    session_faults,
    spoilt,
    ssh,
    started,
)
from tests.support.layout_image import wheel

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

# What a user gives to the container, and expects in every session.
GIVEN = ("--env", "HOST_GAVE=this text")
ASKED = 'printf %s "$HOST_GAVE"'


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return new_key(tmp_path_factory.mktemp("key"))


SKYPILOT_PORT = 10022


def by_skypilot(container: HostContainer, command: str) -> ProcessResult:
    """Run a command as SkyPilot's set-up does: as root, in an interactive login shell."""
    inner = f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})"
    shell = f"bash --login -c -i {shlex.quote(inner)}"
    return container.exec("/bin/bash", "-c", shell, options=("--user", "0"))


@contextlib.contextmanager
def skypilot(engine: Engine, image: str, key: SshKey) -> Iterator[HostContainer]:
    """A container that SkyPilot has set up, with `--user=root` among its run options."""
    settings = (
        "echo 'alias sudo=\"\"' >> ~/.bashrc; "
        "echo 'export DEBIAN_FRONTEND=noninteractive' >> ~/.bashrc"
    )
    packages = (
        "bash -lc 'export DEBIAN_FRONTEND=noninteractive; apt-get -yq update && "
        "apt-get -o DPkg::Options::=--force-confnew install -y "
        "rsync curl wget patch openssh-server python3-pip fuse'"
    )
    server = (
        f"sed -i '/^Port .*/d' /etc/ssh/sshd_config; echo 'Port {SKYPILOT_PORT}' >> "
        f"/etc/ssh/sshd_config; mkdir -p ~/.ssh; echo '{key.public}' >> ~/.ssh/authorized_keys; "
        "service ssh start; sed -i 's/mesg n/tty -s \\&\\& mesg n/' ~/.profile; "
        "export -p > ~/container_env_var.sh && mv ~/container_env_var.sh /etc/profile.d/"
    )
    fuse = ("--device", "/dev/fuse") if Path("/dev/fuse").exists() else ()
    with mirrors() as reaching:
        options = (
            *("--tty", "--interactive", "--user=root", "--entrypoint=/bin/bash", *GIVEN, *reaching),
            *("--env", "LC_ALL=C.UTF-8", "--env", "LANG=C.UTF-8", "--cap-add=SYS_ADMIN", *fuse),
            *("--security-opt=apparmor:unconfined", "--publish", f"127.0.0.1::{SKYPILOT_PORT}"),
        )
        with started(engine, image, options=options) as container:
            for step in (settings, packages, server):
                result = by_skypilot(container, step)
                assert result.returncode == 0, f"{result.stdout[-2000:]}{result.stderr[-2000:]}"
            yield container


def faults_by_ssh(port: str, key: SshKey, user: str = "root") -> Iterator[str]:
    """Yield what does not work by ssh, in a command's shell and in a login shell."""
    for kind, start in (("a command", ""), ("a login shell", "bash -lc ")):

        def session(script: str, start: str = start) -> ProcessResult:
            return ssh(port, key, user, start + shlex.quote(script) if start else script)

        yield from (f"{kind} by ssh: {fault}" for fault in session_faults(session))
        given = session(ASKED)
        if given.stdout != "this text":
            yield f"{kind} by ssh: the container's variables are not there: {given.stderr}"


def test_skypilot(engine: Engine, jax_image: BuiltImage, key: SshKey) -> None:
    with skypilot(engine, jax_image.digest, key) as container:
        port = container.port(SKYPILOT_PORT)
        faults = [*faults_by_ssh(port, key)]
        # It reads the container's variables in login shells alone.
        command = "a command by ssh: the container's variables are not there: "
        assert faults == [command]
        assert container.root("whoami; rsync --version | head -1").startswith("root\nrsync")
        spoil = "rm /usr/local/bin/python* /usr/local/bin/pip* /etc/environment"
        container.root(f"{spoil}; sed -i /PATH=/d /etc/profile.d/*.sh")
        spoilt_faults = [*faults_by_ssh(port, key)]
    assert any("a command by ssh: the framework is not imported" in text for text in spoilt_faults)
    assert any("a login shell by ssh: pip does not" in text for text in spoilt_faults)


# The line of its documentation that shows a container's variables to ssh.
ONSTART = "env >> /etc/environment; mkdir -p ${DATA_DIRECTORY:-/workspace/}"


@contextlib.contextmanager
def vast(engine: Engine, image: str, key: SshKey, *more: str) -> Iterator[HostContainer]:
    """A container in the modes `ssh` and `jupyter`: a start script instead of the entry point."""
    start = f"""\
touch ~/.no_auto_tmux
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -qq --yes openssh-server tmux rsync >/dev/null
mkdir -p /run/sshd /root/.ssh
echo '{key.public}' > /root/.ssh/authorized_keys
chmod 700 /root/.ssh; chmod 600 /root/.ssh/authorized_keys
/usr/sbin/sshd
{ONSTART}
"""
    with mirrors() as reaching:
        options = (
            *("--user", "0", "--entrypoint", "/bin/bash", "--publish", "127.0.0.1::22"),
            *("--env", "VAST_CONTAINERLABEL=C.1", "--env", "CONTAINER_API_KEY=x"),
            *(*GIVEN, *reaching, *more),
        )
        with started(engine, image, "-c", "sleep infinity", options=options) as container:
            container.root(start)
            yield container


def test_vast_ssh(engine: Engine, jax_image: BuiltImage, key: SshKey) -> None:
    with vast(engine, jax_image.digest, key) as container:
        port = container.port(22)
        assert [*faults_by_ssh(port, key)] == []
        container.root("rm -r /opt/env/lib/python/site-packages/jax")
        assert any("the framework" in fault for fault in faults_by_ssh(port, key))


def test_vast_entrypoint(engine: Engine, jax_image: BuiltImage) -> None:
    """The mode without any script: the image starts as it is, with arguments from the form."""
    assert faults_as_it_is(engine, jax_image.digest) == []
    with spoilt(engine, jax_image.digest, 'ENTRYPOINT ["/bin/echo"]') as image:
        assert faults_as_it_is(engine, image) != []


def faults_as_it_is(engine: Engine, image: str) -> list[str]:
    command = ("bash", "-c", f'{ASKED}; python -c "import jax; print(jax.devices()[0].platform)"')
    result = docker(engine, "run", "--rm", "--network", "none", *GIVEN, image, *command)
    return [] if result.stdout == "this textcpu\n" else [result.stdout + result.stderr]


DATA = "/root/autodl-tmp"
# A session of a server that a host brings along: it knows no variable of the image.
BARE = (
    "env",
    "-i",
    "HOME=/root",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)


@contextlib.contextmanager
def autodl(engine: Engine, image: str, root: str, data: str) -> Iterator[HostContainer]:
    """A container as root, with a start of the host's, and a system disk that is full.

    `/root` and the data disk outlive it; nothing else can be written but 32 MB in /tmp.
    """
    options = (
        *("--user", "0", "--entrypoint", "/bin/bash", "--network", "none", "--read-only"),
        *("--tmpfs", "/tmp:exec,size=32m", "--volume", f"{root}:/root"),
        *("--volume", f"{data}:{DATA}"),
    )
    with started(engine, image, "-c", "sleep infinity", options=options) as container:
        yield container


def rooted(container: HostContainer, script: str) -> ProcessResult:
    return container.exec(*BARE, "bash", "-c", f". ~/.bashrc; {script}")


SETTINGS = f"""\
cat >> ~/.bashrc <<'END'
export DLIMG_OVERLAY={DATA}/env HF_HOME={DATA}/huggingface PIP_CACHE_DIR={DATA}/pip TMPDIR={DATA}
END
"""
# More than the system disk has.
BIG = (
    f"head -c 60000000 /dev/urandom > {DATA}/huggingface-model; stat -c %s {DATA}/huggingface-model"
)


def faults_on_autodl(engine: Engine, image: str) -> list[str]:
    """Work on one such machine, release it, and list what is lost on the next one."""
    keep = "pip install -q --no-index ~/greeting-1.0-py3-none-any.whl"
    with named_volume(engine) as root, named_volume(engine) as data:
        with autodl(engine, image, root, data) as container:
            faults = session_faults(partial(rooted, container))
            container.root(f"[ -e ~/.bashrc ] || cp /etc/skel/.bashrc ~; {SETTINGS}")
            faults += session_faults(partial(rooted, container))
            rooted(
                container,
                f"echo {wheel('greeting', '1.0')} | base64 -d > ~/greeting-1.0-py3-none-any.whl",
            )
            installed = rooted(container, f"{keep} && {BIG}")
            if installed.stdout.strip() != "60000000":
                faults.append(f"the data disk does not take it: {installed.stderr}")
        with autodl(engine, image, root, data) as container:
            faults += session_faults(partial(rooted, container))
            kept = rooted(container, "python -c 'import greeting; print(greeting.__file__)'")
            if not kept.stdout.startswith(f"{DATA}/env/"):
                faults.append(f"an installed package is lost: {kept.stderr}")
    return faults


def test_autodl(engine: Engine, jax_image: BuiltImage) -> None:
    assert faults_on_autodl(engine, jax_image.digest) == []


def test_autodl_notices(engine: Engine, jax_image: BuiltImage) -> None:
    spoil = "RUN sed -i 's/DLIMG_OVERLAY:-/DLIMG_IGNORED:-/' /usr/local/lib/dlimg/find-overlay"
    with spoilt(engine, jax_image.digest, spoil) as image:
        faults = faults_on_autodl(engine, image)
    assert any(fault.startswith("an installed package is lost") for fault in faults), faults
