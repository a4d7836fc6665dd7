"""Dev Containers: the real command `devcontainer` opens an image, as VS Code and Codespaces do.

It is locked in requirements/devcontainers; `nox -s hosts` installs it. DevPod reads the same label
and rewrites the user's number in the same way.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.host.process import ProcessResult, run
from dlimg.model import BuiltImage
from tests.support import engine_proxy
from tests.support.host_container import docker, session_faults, spoilt

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

ROOT = Path(__file__).parents[2]
COMMAND = ROOT / "requirements/devcontainers/node_modules/@devcontainers/cli/devcontainer.js"
# A developer's number, which the image does not know. Where root runs the tests, it is made up.
IS_ROOT = os.geteuid() == 0
DEVELOPER = 4321 if IS_ROOT else os.geteuid()
# The command asks for the name of who runs it.
PASSWD = f"root:x:0:0::/root:/bin/sh\ndeveloper:x:{DEVELOPER}:{DEVELOPER}::/:/bin/sh\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Developer:
    """Somebody with a folder of sources and access to the engine, who is not root."""

    home: Path
    docker: Path
    socket: Path

    @property
    def project(self) -> Path:
        return self.home / "project"

    def run(self, *arguments: str) -> ProcessResult:
        """Run `devcontainer` as this user."""
        assert COMMAND.exists(), f"{COMMAND} is not there: run `nox -s hosts`"
        become = (
            f"mount --bind {self.home.parent}/passwd /etc/passwd; "
            f'exec setpriv --reuid={DEVELOPER} --regid={DEVELOPER} --clear-groups "$@"'
        )
        user = ("unshare", "--mount", "sh", "-euc", become, "sh") if IS_ROOT else ()
        command = (shutil.which("node") or "node", str(COMMAND), arguments[0])
        places = ("--workspace-folder", str(self.project), "--docker-path", str(self.docker))
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "DOCKER_HOST": f"unix://{self.socket}",
        }
        return run([*user, *command, *places, *arguments[1:]], env=variables, timeout=300)


@pytest.fixture
def developer(engine: Engine) -> Iterator[Developer]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        made = Developer(
            home=folder / "home", docker=folder / "docker", socket=folder / "engine.sock"
        )
        shutil.copy(engine.docker, made.docker)
        stack.enter_context(engine_proxy.proxied_engine(engine, made.socket))
        made.socket.chmod(0o666)
        (folder / "passwd").write_text(PASSWD)
        (made.project / ".devcontainer").mkdir(parents=True)
        yield made


@contextlib.contextmanager
def opened(engine: Engine, developer: Developer, image: str) -> Iterator[ProcessResult]:
    """Open the image in the developer's folder; yield what `up` says."""
    settings = developer.project / ".devcontainer/devcontainer.json"
    settings.write_text(json.dumps({"image": image}))
    for path in (developer.home, *developer.home.rglob("*")) if IS_ROOT else ():
        os.chown(path, DEVELOPER, DEVELOPER)
    result = developer.run("up", "--buildkit", "never")
    try:
        yield result
    finally:
        label = f"label=devcontainer.local_folder={developer.project}"
        names = docker(engine, "ps", "--all", "--quiet", "--filter", label).stdout.split()
        images = [
            docker(engine, "inspect", "--format", "{{.Image}}", one).stdout.strip() for one in names
        ]
        mounts = "{{range .Mounts}}{{.Name}} {{end}}"
        volumes = docker(engine, "inspect", "--format", mounts, *names).stdout.split()
        for one in names:
            docker(engine, "rm", "--force", "--volumes", one)
        docker(engine, "volume", "rm", "--force", *volumes)
        for one in images:
            if one != image:
                docker(engine, "rmi", "--force", one)


def faults_in_dev_containers(engine: Engine, developer: Developer, image: str) -> list[str]:
    """Open the image and list what does not work in it."""

    def session(script: str) -> ProcessResult:
        return developer.run("exec", "sh", "-c", script)

    with opened(engine, developer, image) as up:
        if up.returncode or json.loads(up.stdout)["outcome"] != "success":
            return [f"`up` fails: {up.stdout}{up.stderr[-1000:]}"]
        faults = session_faults(session)
        who = session("id -un; id -u; touch made ~/made && pwd").stdout.split()
        if who != ["user", str(DEVELOPER), "/workspaces/project"]:
            faults.append(f"the user's number does not follow the developer's: {who}")
        made = developer.project / "made"
        if not made.exists() or made.stat().st_uid != DEVELOPER:
            faults.append("a file in the project is not the developer's")
        cache = session("touch ~/.cache/made && echo made")
        if cache.stdout != "made\n":
            faults.append(f"the cache cannot be written to: {cache.stderr}")
    return faults


def test_dev_containers(engine: Engine, jax_image: BuiltImage, developer: Developer) -> None:
    assert faults_in_dev_containers(engine, developer, jax_image.digest) == []


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        ("LABEL devcontainer.metadata=[]", "the user's number does not follow the developer's"),
        ("RUN chmod 700 /opt/env/lib/python/site-packages/jax", "the framework is not imported"),
    ],
)
def test_dev_containers_notice(
    engine: Engine, jax_image: BuiltImage, developer: Developer, instruction: str, fault: str
) -> None:
    with spoilt(engine, jax_image.digest, instruction) as image:
        faults = faults_in_dev_containers(engine, developer, image)
    assert any(text.startswith(fault) for text in faults), faults
