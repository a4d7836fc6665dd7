"""The page about a rented container: the image as such a host starts it, and its terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from tests.support.host_container import HostContainer, named_volume, started
from tests.support.made_up_gpu import pip_files, write_smi
from tests.support.tutorial import LOCAL_SHELL, Reader, page_of
from tests.tutorials.conftest import WORKSPACE, image_name

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]

DATA = "/root/autodl-tmp"
# A terminal knows no variable of the image.
TERMINAL = ("HOME=/root", "TERM=xterm", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")


@pytest.fixture
def container(engine: Engine, registry: str, tmp_path: Path) -> Iterator[HostContainer]:
    """The image as root, with a start of the host's, its mirror's settings and a data disk."""
    files = {write_smi(tmp_path): "/usr/bin/nvidia-smi", **pip_files(tmp_path)}
    mounts = [f"--volume={file}:{place}:ro" for file, place in files.items()]
    with named_volume(engine) as root, named_volume(engine) as data:
        disks = (f"--volume={root}:/root", f"--volume={data}:{DATA}")
        options = ("--user=0", "--entrypoint=/bin/bash", "--shm-size=1g", *mounts, *disks)
        image = image_name(registry, WORKSPACE)
        with started(engine, image, "-c", "sleep infinity", options=options) as container:
            yield container


def test_the_page_is_followed(container: HostContainer, tmp_path: Path) -> None:
    engine = container.engine
    inside = ("exec", "--interactive", "--workdir=/root", container.name, "env", "-i", *TERMINAL)
    shell = (str(engine.docker), *inside, *LOCAL_SHELL)
    reader = Reader(folder=tmp_path, variables=engine.environment, shell=shell)
    reader.follow(page_of(__file__))
