"""The surroundings of the tutorials' readers; docs/tutorials/README.md says what they replace."""

import contextlib
import itertools
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import docker
import pytest

from dlimg.engine.client import Engine
from dlimg.pipeline.images import current_images
from dlimg.pipeline.project import read_project
from dlimg.render.naming import repository_name, tag
from dlimg.run.data_volume import stored_data
from dlimg.run.model import RUN_LABEL
from tests.engine.conftest import base, engine, jax_image, tools_image, turn
from tests.engine.test_cli import dlimg
from tests.engine.test_publishing import (
    docker_compose_command,
    docker_compose_file,
    docker_setup,
)
from tests.engine.test_publishing import registry as registry_address
from tests.support import host_container
from tests.support.made_up_gpu import made_up_gpu
from tests.support.tutorial import ROOT, Reader, page_of

__all__ = [
    "base",
    "docker_compose_command",
    "docker_compose_file",
    "docker_setup",
    "engine",
    "jax_image",
    "registry_address",
    "tools_image",
    "turn",
]

RUNTIME = "jax-0.12.0.1-cpu-py3.13-debian13"
WORKSPACE = f"{RUNTIME}-workspace"
# The images of a GPU machine, which are gigabytes: in their place is the CPU image.
IMAGES = {
    RUNTIME: (
        RUNTIME,
        "jax-0.12.0.1-cuda12.9-py3.13-debian13",
        "jax-0.12.0.1-cuda12.9-cudnn9.10-py3.13-debian13",
    ),
    WORKSPACE: (WORKSPACE, "jax-0.12.0.1-cuda12.9-py3.13-debian13-workspace"),
}


def image_name(registry: str, name: str) -> str:
    """The name that `dlimg run` looks for: of a cell's image at a registry."""
    project = read_project(str(ROOT / "matrix.yaml"))
    cells = [cell for cell in project.resolution.cells if cell.id == name]
    (image,) = current_images(project, cells)
    return f"{repository_name(registry, image.cell)}:{tag(image.cell, image.lock)}"


def built(name: str) -> str:
    """The digest of a cell's image, built where it is not there yet."""
    ended = dlimg("build", name, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    return str(line["digest"])


@pytest.fixture(scope="session")
def registry(engine: Engine, turn: Callable[[], AbstractContextManager[None]]) -> Iterator[str]:
    """A registry's name under which the engine has images for the CPU and, as if, for GPUs."""
    registry = f"tutorial-{secrets.token_hex(4)}"
    with turn():
        digests = {name: built(name) for name in IMAGES}
    names = []
    for built_cell, cells in IMAGES.items():
        image = engine.sdk.images.get(digests[built_cell])
        for cell in cells:
            names.append(image_name(registry, cell))
            image.tag(*names[-1].rsplit(":", 1))
    yield registry
    for name in names:
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.sdk.images.remove(name)


@pytest.fixture(scope="session")
def published(engine: Engine, registry: str, registry_address: str) -> str:
    """The same images at a real registry, for machines with an engine of their own."""
    there = f"{registry_address}/tutorial"
    for cell in itertools.chain(*IMAGES.values()):
        name = image_name(there, cell)
        for arguments in (("tag", image_name(registry, cell), name), ("push", name), ("rmi", name)):
            ended = host_container.docker(engine, *arguments)
            assert ended.returncode == 0, ended.stderr
    return there


@pytest.fixture
def gpu(engine: Engine, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    with made_up_gpu(engine, tmp_path) as gpu:
        yield gpu


@pytest.fixture
def variables(
    tmp_path: Path, registry: str, engine: Engine, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The variables of a reader with an empty home; `dlimg` and `docker` are commands."""
    name = f"home-of-{request.path.stem}"
    remove_runs(engine, f"/{name}/")  # of a test that was killed
    home, programs = tmp_path / name, tmp_path / "programs"
    for folder in (home, programs):
        folder.mkdir()
    command = programs / "dlimg"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m dlimg "$@"\n')
    command.chmod(0o755)
    (programs / "docker").symlink_to(engine.docker)
    passed = ("SSL_CERT_FILE", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "LANG")
    client = ("DOCKER_HOST", "DOCKER_CONFIG")
    return {
        **{name: os.environ[name] for name in passed if name in os.environ},
        **{name: engine.environment[name] for name in client if name in engine.environment},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "DLIMG_REGISTRY": registry,
        "NO_COLOR": "1",
        "TERM": "xterm",
        "COLUMNS": "400",  # the form of a table must not depend on the length of a path
    }


@pytest.fixture
def reader(
    engine: Engine,
    variables: Mapping[str, str],
    gpu: Mapping[str, str],
    request: pytest.FixtureRequest,
) -> Iterator[Reader]:
    """Somebody at a machine with a GPU and an engine; their runs and data are gone afterwards."""
    home = Path(variables["HOME"])
    page = page_of(request.path.name)
    others = {data.name for data in stored_data(engine)}  # a user's, on the same engine
    reader = Reader(folder=home, variables={**variables, **gpu})
    try:
        yield reader
    finally:
        remove_runs(engine, str(home))
        for name in {*page.data_names} - others:
            reader.execute(f"dlimg data rm {name}")


def remove_runs(engine: Engine, folder: str) -> None:
    """Remove the runs of folders in this one."""
    api: Any = engine.sdk.api
    for row in api.containers(all=True, filters={"label": RUN_LABEL}):
        if folder in row["Labels"].get("io.dlimg.run.folder", ""):
            api.remove_container(row["Id"], force=True, v=True)
