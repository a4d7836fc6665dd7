"""Hosts that give a notebook: Kubeflow, RunPod, and vast.ai's mode `jupyter`.

Each row replays what the host publishes of its start (docs/hosts.md names the sources) and lists
what does not work; each has an image in which it has to find something.
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from dlimg.engine.client import Engine
from tests.support.host_container import (
    HostContainer,
    SshKey,
    docker,
    group_volume,
    mirrors,
    named_volume,
    new_key,
    session_faults,
    spoilt,
    ssh,
    started,
)
from tests.support.jax_project import MATRIX, ROOT

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

CELL = "jax-0.12.0.1-cpu-py3.13-debian13-workspace"
TOKEN = secrets.token_hex(16)
PREFIX = "/notebook/team/mine"


class Project(NamedTuple):
    """A project with one image, and the image's tags."""

    folder: Path
    digest: str
    tags: tuple[str, ...]


def dlimg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dlimg", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def write_project(folder: Path, user: str) -> Project:
    """Build the notebook of a project whose matrix states this user."""
    text = MATRIX.replace("[runtime]", "[workspace]").replace('"3.12", ', "")
    (folder / "matrix.yaml").write_text(f"registry: dlimg-test\n{user}{text}")
    (folder / "images").symlink_to(ROOT / "images")
    (folder / "locks").symlink_to(ROOT / "locks")
    ended = dlimg(folder, "build", CELL, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    built = json.loads(ended.stdout)[0]
    return Project(folder, built["digest"], (built["reference"], built["moving_reference"]))


@pytest.fixture(scope="module")
def jovyan(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    user = "user: {name: jovyan, number: 1000, group: 100, home: /home/jovyan}\n"
    project = write_project(tmp_path_factory.mktemp("jovyan"), user)
    yield project
    # By its tags: the same image may have those of other projects.
    docker(engine, "rmi", "--force", *project.tags)


@pytest.fixture(scope="module")
def workspace(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The notebook with the usual user."""
    project = write_project(tmp_path_factory.mktemp("workspace"), "")
    yield project.digest
    docker(engine, "rmi", "--force", *project.tags)


def answer(container: HostContainer, port: int, path: str) -> requests.Response | None:
    """Return what is served there, or None where nothing answers within three minutes."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException, IndexError):
            address = f"http://127.0.0.1:{container.port(port)}{path}"
            return requests.get(address, timeout=10)
        if container.sh("true").returncode:
            return None
        time.sleep(0.3)
    return None


def status(container: HostContainer, port: int, path: str) -> int:
    response = answer(container, port, path)
    return response.status_code if response is not None else 0


ALLOWED = "Access-Control-Allow-Origin"
PUBLISHED = ("--publish", "127.0.0.1::8888")


@contextlib.contextmanager
def pod(engine: Engine, image: str, *more: str) -> Iterator[HostContainer]:
    """A notebook's pod: the image's user and command, an empty volume over the home, fsGroup."""
    with group_volume(engine, image, 100) as home:
        volume = ("--volume", f"{home}:/home/jovyan:nocopy", "--group-add", "100")
        with started(engine, image, options=(*volume, *PUBLISHED, *more)) as container:
            yield container


def faults_on_kubeflow(engine: Engine, image: str) -> list[str]:
    in_pod = ("--env", f"NB_PREFIX={PREFIX}", "--env", "KUBERNETES_SERVICE_HOST=10.0.0.1")
    faults = []
    with pod(engine, image, *in_pod) as container:
        lab = answer(container, 8888, f"{PREFIX}/lab")
        if lab is None or lab.status_code != 200:
            faults.append(f"nothing is served under NB_PREFIX: {container.log()[-500:]}")
        elif lab.headers.get(ALLOWED) != "*":
            faults.append("other origins are not allowed")
        who = container.sh('whoami; id -u; echo "$HOME"; touch ~/x; echo "$?"').stdout.split()
        if who != ["jovyan", "1000", "/home/jovyan", "0"]:
            faults.append(f"the user is {who}")
        faults += session_faults(container.sh)
    with pod(engine, image, "--env", f"JUPYTER_TOKEN={TOKEN}") as container:
        plain = answer(container, 8888, f"/api/status?token={TOKEN}")
        if plain is None or plain.status_code != 200 or plain.headers.get(ALLOWED) == "*":
            faults.append("without NB_PREFIX it is not as usual")
    return faults


def test_kubeflow(engine: Engine, jovyan: Project) -> None:
    assert faults_on_kubeflow(engine, jovyan.digest) == []


def test_kubeflow_notices(engine: Engine, jovyan: Project, workspace: str) -> None:
    faults = faults_on_kubeflow(engine, workspace)
    assert any(fault.startswith("the user is ['user'") for fault in faults), faults
    with spoilt(engine, jovyan.digest, 'CMD ["jupyter-lab"]') as image:
        faults = faults_on_kubeflow(engine, image)
    assert any(fault.startswith("nothing is served under NB_PREFIX") for fault in faults), faults


def test_an_image_with_kubeflows_user_passes_all_checks(jovyan: Project) -> None:
    ended = dlimg(jovyan.folder, "test", CELL, "--format", "json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (line,) = json.loads(ended.stdout)
    assert line["digest"] == jovyan.digest


class Login(NamedTuple):
    """The user of an ssh session on RunPod, and the container's port for it."""

    user: str
    port: int


USER, SUPERUSER = Login("user", 2222), Login("root", 22)


def runpod_options(key: SshKey, volume: str, login: Login) -> tuple[str, ...]:
    return (
        *("--env", f"PUBLIC_KEY={key.public}", "--env", f"JUPYTER_PASSWORD={TOKEN}"),
        *("--env", "RUNPOD_POD_ID=pod", "--volume", f"{volume}:/workspace"),
        *(*PUBLISHED, "--publish", f"127.0.0.1::{login.port}"),
    )


def faults_on_runpod(engine: Engine, image: str, key: SshKey, login: Login = USER) -> list[str]:
    """Start it with `both` as the container's start command, then with another command."""
    with named_volume(engine) as volume:
        options = runpod_options(key, volume, login)
        with started(engine, image, "both", options=options) as container:
            served = [
                status(container, 8888, f"/api/status{token}") for token in (f"?token={TOKEN}", "")
            ]
            faults = [] if served == [200, 403] else [f"Jupyter answers with {served}"]
            try:
                port = container.port(login.port)
            except IndexError:
                return [*faults, f"the container has ended: {container.log()[-500:]}"]
            faults += session_faults(partial(ssh, port, key, login.user))
            seen = ssh(port, key, login.user, "whoami; printf %s $RUNPOD_POD_ID; ls -d /workspace")
            if seen.stdout != f"{login.user}\npod/workspace\n":
                faults.append(f"by ssh, variables or the volume are not there: {seen.stdout}")
            if login == SUPERUSER and ssh(port, key, "root", "touch /workspace/made").returncode:
                faults.append("root cannot write to the volume")
        with started(engine, image, "bash", "-c", "sleep 600", options=options) as container:
            faults += session_faults(container.sh)
    return faults


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SshKey:
    return new_key(tmp_path_factory.mktemp("key"))


def test_runpod(engine: Engine, workspace: str, key: SshKey) -> None:
    assert faults_on_runpod(engine, workspace, key) == []


def test_runpod_notices(engine: Engine, workspace: str, key: SshKey) -> None:
    with spoilt(engine, workspace, "RUN rm /usr/sbin/sshd") as image:
        faults = faults_on_runpod(engine, image, key)
    assert any(fault.startswith("the container has ended") for fault in faults), faults


def test_runpod_as_root(engine: Engine, workspace: str, key: SshKey) -> None:
    """RunPod's own images are root's, and its volume is: an image of two lines is, too."""
    with spoilt(engine, workspace, "USER 0") as image:
        assert faults_on_runpod(engine, image, key, SUPERUSER) == []
    with spoilt(engine, workspace, "RUN usermod --shell /usr/sbin/nologin root", "USER 0") as image:
        faults = faults_on_runpod(engine, image, key, SUPERUSER)
    assert "root cannot write to the volume" in faults


NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": "import jax; open('/tmp/ran', 'w').write(jax.__version__)",
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def faults_in_jupyter_mode(engine: Engine, image: str) -> list[str]:
    """Start Jupyter as vast.ai's script does: as root, on port 8080, without the entry point."""
    server = (
        "cd / && exec jupyter notebook --ip=0.0.0.0 --port=8080 --allow-root --no-browser "
        f"--ServerApp.token={TOKEN} --ServerApp.root_dir=/ --ServerApp.allow_remote_access=True"
    )
    options = ("--user", "0", "--entrypoint", "/bin/bash", "--publish", "127.0.0.1::8080")
    with mirrors() as more, started(engine, image, "-c", server, options=(*options, *more)) as made:
        address = f"/api/status?token={TOKEN}"
        faults = [] if status(made, 8080, address) == 200 else [f"it does not start: {made.log()}"]
        write = f"cat > /tmp/a.ipynb <<'END'\n{json.dumps(NOTEBOOK)}\nEND\n"
        ran = made.sh(f"{write}jupyter execute /tmp/a.ipynb >&2 && cat /tmp/ran")
        if not ran.stdout:
            faults.append(f"a notebook does not import the framework: {ran.stderr[-500:]}")
    return faults


def test_vast_jupyter(engine: Engine, workspace: str) -> None:
    assert faults_in_jupyter_mode(engine, workspace) == []


def test_vast_jupyter_notices(engine: Engine, workspace: str) -> None:
    spoil = "RUN rm -r /opt/env/share/jupyter/kernels /opt/env/lib/python/site-packages/jax"
    with spoilt(engine, workspace, spoil) as image:
        faults = faults_in_jupyter_mode(engine, image)
    assert any(fault.startswith("a notebook does not import") for fault in faults), faults
