"""DevPod: an agent in the container instead of a server of the image's, and sessions through it.

The agent itself is a program of the host's that has no package; a stand-in takes its place. All
that DevPod does to the container around it is replayed from its source (docs/hosts.md).
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult
from dlimg.model import BuiltImage
from tests.support.host_container import HostContainer, docker, session_faults, spoilt, started

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

DEVELOPER = 4321
AGENT = "/usr/local/bin/devpod"
STAND_IN = """\
#!/bin/sh
case "$*" in
    version) echo v0.6 ;;
    'agent container daemon') exec sleep infinity ;;
esac
"""
# The container's own command waits for the agent, as the image's user.
START = f"""\
echo Container started
trap "exit 0" 15
exec "$@"
while ! command -v {AGENT} >/dev/null 2>&1; do
    sleep 1
done
exec {AGENT} agent container daemon
"""
# It is sent through `docker exec`, to a shell that has to answer first.
INJECT = f"""\
set -e
echo ping
read -r answer
[ "$answer" = pong ]
mkdir -p {AGENT.rpartition("/")[0]} && touch {AGENT} && chmod +x {AGENT} && rm -f {AGENT}
cat > {AGENT}.$$
mv {AGENT}.$$ {AGENT}
chmod +x {AGENT}
{AGENT} version
"""
# The agent's set-up of the container, as root.
SET_UP = """\
mkdir -p -m 777 /var/run/devpod; echo '{}' > /var/run/devpod/result.json
chown user /workspaces
chown -R user /workspaces/project
sed -i -E 's/((^|\\s)PATH=)([^\\$]*)$/\\1${PATH:-\\3}/g' /etc/profile
"""
# Its sessions have what a login shell has, but of each value only what is before a second `=`.
PROBE = "tr '\\n\\0' ' \\n' < /proc/self/environ"


def renumber(container: HostContainer) -> None:
    """Give the image's user the developer's number, as for `remoteUser` in the project's file."""
    script = f"""\
cp /etc/passwd /etc/group /tmp
group=$(id -g user)
home=$(getent passwd user | cut -d: -f6)
sed -E 's/^user:(x?):[0-9]+:[0-9]+:/user:\\1:{DEVELOPER}:{DEVELOPER}:/' /tmp/passwd > /etc/passwd
sed -E "s/^([^:]*):(x?):$group:/\\1:\\2:{DEVELOPER}:/" /tmp/group > /etc/group
chmod 644 /etc/passwd /etc/group
chown -R {DEVELOPER}:{DEVELOPER} "$home"
"""
    container.root(script)


@contextlib.contextmanager
def opened(engine: Engine, image: str, project: Path) -> Iterator[HostContainer]:
    """A workspace that is up; raises AssertionError with what DevPod would report."""
    user = docker(engine, "inspect", "--format", "{{.Config.User}}", image).stdout.strip()
    options = (
        *("--sig-proxy=false", "--mount", f"type=bind,src={project},dst=/workspaces/project"),
        *("--user", user, "--env", "DEVPOD=true", "--env", "REMOTE_CONTAINERS=true"),
        *("--label", "dev.containers.id=default-pr-1", "--entrypoint", "/bin/sh"),
    )
    with started(engine, image, "-c", START, "-", options=options) as container:
        renumber(container)
        command = ("exec", "--interactive", "--user", "root", container.name)
        sent = docker(engine, *command, "sh", "-c", INJECT, stdin=f"pong\n{STAND_IN}")
        assert sent.stdout == "ping\nv0.6\n", f"the agent does not get in: {sent.stderr}"
        container.root(SET_UP)
        yield container


def variables(container: HostContainer) -> list[str]:
    """Return the variables that the agent gives to sessions."""
    shell = as_user(container, {}, "bash", "-lic", PROBE)
    pairs = (line.split("=") for line in shell.stdout.splitlines())
    return [f"{pair[0]}={pair[1]}" for pair in pairs if len(pair) > 1 and pair[0] != "PWD"]


def as_user(container: HostContainer, more: dict[str, str], *command: str) -> ProcessResult:
    """Run a command as the agent does, which is root: with the user's number alone."""
    given = {"HOME": "/home/user", "USER": "user", "LOGNAME": "user", **more}
    assignments = [f"{name}={value}" for name, value in given.items()]
    become = ("setpriv", f"--reuid={DEVELOPER}", f"--regid={DEVELOPER}", "--clear-groups")
    return container.exec(*become, "env", *assignments, *command, options=("--user", "root"))


def session(container: HostContainer, script: str) -> ProcessResult:
    given = dict(pair.split("=", 1) for pair in variables(container))
    command = f"cd /workspaces/project && {{ {script}\n}}"
    return as_user(container, given, "bash", "-c", command)


def faults_in_devpod(engine: Engine, image: str, project: Path) -> list[str]:
    """Open the image and list what does not work in its sessions."""
    try:
        with opened(engine, image, project) as container:
            work = partial(session, container)
            faults = session_faults(work)
            seen = work("id -un; id -u; echo $DEVPOD; touch made ~/made && pwd").stdout.split()
            if seen != ["user", str(DEVELOPER), "true", "/workspaces/project"]:
                faults.append(f"the session is not the developer's: {seen}")
            made = project / "made"
            if not made.exists() or made.stat().st_uid != DEVELOPER:
                faults.append("a file in the project is not the developer's")
            tool = work(f"{AGENT} version")
            if not tool.stdout.startswith("v0.6\n"):
                faults.append("the agent cannot be called in a session")
    except AssertionError as error:
        return [str(error)]
    return faults


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_devpod(engine: Engine, jax_image: BuiltImage, project: Path) -> None:
    assert faults_in_devpod(engine, jax_image.digest, project) == []


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        ("RUN rm /usr/bin/mv", "the agent does not get in"),
        ("RUN chmod 700 /opt/env/lib/python/site-packages/jax", "the framework is not imported"),
        ("RUN sed -i 's/^user:/somebody:/' /etc/passwd", "id: "),
    ],
)
def test_devpod_notices(
    engine: Engine, jax_image: BuiltImage, project: Path, instruction: str, fault: str
) -> None:
    with spoilt(engine, jax_image.digest, instruction) as image:
        faults = faults_in_devpod(engine, image, project)
    assert any(text.startswith(fault) for text in faults), faults
