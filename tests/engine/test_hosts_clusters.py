"""Clusters: Kubernetes, Google's driver folder.

Each row starts a container as the host does (docs/hosts.md names the sources) and lists what does
not work there; each has images in which it has to find something.
"""
# ruff: noqa: S108  # the folders are in containers

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.model import Base, BuiltImage
from tests.support.host_container import (
    HostContainer,
    docker,
    group_volume,
    session_faults,
    spoilt,
    started,
)
from tests.support.layout_image import LayoutImage, cell, make_image
from tests.support.made_up_driver import made_up_driver

pytestmark = [pytest.mark.engine, pytest.mark.hosts]

PODS_USER = "54321"
PODS_GROUP = "2000"
# A pod: another user, a group for volumes, a read-only root, empty volumes over home and /tmp.
POD = (
    *("--user", PODS_USER, "--group-add", PODS_GROUP, "--read-only", "--network", "none"),
    *("--security-opt", "no-new-privileges", "--cap-drop", "ALL"),
    *("--tmpfs", "/tmp:exec,mode=1777"),
    *("--entrypoint", "/bin/sh"),
)
WAIT = ("-c", "sleep infinity")


def image_user(engine: Engine, image: str) -> str:
    return docker(engine, "inspect", "--format", "{{.Config.User}}", image).stdout.strip()


def faults_on_kubernetes(engine: Engine, image: str) -> list[str]:
    """Start a pod's container with `command:` and list what does not work there."""
    faults = []
    user = image_user(engine, image)
    # The kubelet looks at the image alone where the pod says `runAsNonRoot: true`.
    if not re.fullmatch(r"[1-9][0-9]*(:[0-9]+)?", user):
        faults.append(f"the kubelet refuses the user {user!r}: it is no number")
    with group_volume(engine, image, int(PODS_GROUP)) as home:
        options = (*POD, "--volume", f"{home}:/home/user:nocopy")
        faults += faults_in_pod(engine, image, options)
    return faults


def faults_in_pod(engine: Engine, image: str, options: tuple[str, ...]) -> list[str]:
    with started(engine, image, *WAIT, options=options) as container:
        faults = session_faults(container.sh)
        home = "import pathlib; p = pathlib.Path.home() / 'x'; p.touch(); print(p)"
        written = container.sh(f'touch /tmp/x; id -u; id -G; python -c "{home}"')
        if written.stdout.split() != [PODS_USER, "0", PODS_GROUP, "/home/user/x"]:
            faults.append(f"the pod's volumes are not used: {written.stdout}{written.stderr}")
    return faults


# This row is in the usual session, too.
@pytest.mark.usual
def test_kubernetes(engine: Engine, jax_image: BuiltImage) -> None:
    assert faults_on_kubernetes(engine, jax_image.digest) == []


@pytest.mark.parametrize(
    ("instruction", "fault"),
    [
        ("USER user", "the kubelet refuses the user 'user'"),
        ("RUN chmod 700 /opt/env/lib/python/site-packages/jax", "the framework is not imported"),
    ],
)
def test_kubernetes_notices(
    engine: Engine, jax_image: BuiltImage, instruction: str, fault: str
) -> None:
    with spoilt(engine, jax_image.digest, instruction) as image:
        assert any(text.startswith(fault) for text in faults_on_kubernetes(engine, image))


@pytest.fixture(scope="module")
def cuda_image(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    """A small image with the layout of a CUDA cell."""
    yield from make_image(engine, base, cell("cuda13.2"), tmp_path_factory.mktemp("cuda"))


NVIDIA = "/usr/local/nvidia"
LOADS = "import ctypes; ctypes.CDLL('libcuda.so.1'); print('loaded')"
# Processes that load the driver: Python of the image, the distribution's, and without variables.
LOADERS = {
    "python": f'python -c "{LOADS}"',
    "a program of the system": f'/usr/bin/python3 -c "{LOADS}"',
    "a session without variables": f'env -i /usr/local/bin/python3 -c "{LOADS}"',
}


def nvidia_folder(folder: Path) -> Path:
    """Make the folder that Google's device plugin mounts, with a made-up driver."""
    made_up_driver(folder / "lib64")
    (folder / "bin").mkdir()
    program = folder / "bin/nvidia-smi"
    program.write_text("#!/bin/sh\necho driver\n")
    program.chmod(0o755)
    folder.chmod(0o755)  # pytest's are the tester's alone
    return folder


def faults_on_gke(engine: Engine, image: str, nvidia: Path) -> list[str]:
    """Mount a driver where COS has it, without ldconfig, and list what does not find it."""
    options = (
        *("--volume", f"{nvidia}:{NVIDIA}:ro", "--network", "none"),
        *("--device", "/dev/null:/dev/nvidia0", "--device", "/dev/null:/dev/nvidiactl"),
        *("--entrypoint", "/bin/sh"),
    )
    with started(engine, image, *WAIT, options=options) as container:
        faults = [f"{name} does not load the driver" for name in not_loading(container)]
        if container.sh("nvidia-smi").stdout != "driver\n":
            faults.append("nvidia-smi is not on the search path")
        printed = container.sh("dlimg-entrypoint true")
        if "no NVIDIA GPU" in printed.stderr or "no driver" in printed.stderr:
            faults.append(f"the entry point does not see the driver: {printed.stderr}")
    return faults


def not_loading(container: HostContainer) -> Iterator[str]:
    for name, command in LOADERS.items():
        result = container.sh(command)
        if result.stdout != "loaded\n":
            yield name


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvidia_folder(tmp_path_factory.mktemp("nvidia"))


def test_gke(engine: Engine, cuda_image: LayoutImage, nvidia: Path) -> None:
    assert faults_on_gke(engine, cuda_image.built.digest, nvidia) == []


def test_gke_notices(engine: Engine, cuda_image: LayoutImage, nvidia: Path) -> None:
    spoils = ("ENV LD_LIBRARY_PATH=/nowhere", "ENV PATH=/usr/local/bin:/usr/bin:/bin")
    with spoilt(engine, cuda_image.built.digest, *spoils) as image:
        faults = faults_on_gke(engine, image, nvidia)
    assert "a program of the system does not load the driver" in faults
    assert "nvidia-smi is not on the search path" in faults
