"""A project of one locked cell for the CPU architecture that this machine does not have."""

import platform
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.lock.request import cell_request
from dlimg.lock.store import cell_path, write_lock
from dlimg.model import Lock
from dlimg.pipeline.project import read_project
from tests.support import samples

ROOT: Final = Path(__file__).parents[2]
OTHER: Final = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
PLATFORM: Final = f"{OTHER}-manylinux_2_28"
OCI_PLATFORM: Final = f"linux/{ {'aarch64': 'arm64', 'x86_64': 'amd64'}[OTHER] }"
CELL: Final = "jax-0.12.0.1-cpu-py3.13-debian13"
MATRIX: Final = f"""\
registry: dlimg-foreign
platform: {PLATFORM}
operating_systems:
  debian13: {{distribution: Debian 13, image: "debian:trixie-slim"}}
families:
  jax:
    framework: jax
    axes: {{version: [0.12.0.1], accelerator: [cpu], flavour: [runtime]}}
    packages: {{cpu: ["jax=={{version}}"]}}
groups: {{default: [{{}}]}}
"""


def write_project(folder: Path) -> None:
    """Write the matrix and its lock; the images are this repository's."""
    (folder / "matrix.yaml").write_text(MATRIX)
    (folder / "images").symlink_to(ROOT / "images")
    project = read_project(str(folder / "matrix.yaml"), log=Context.of({}, print).log)
    (cell,) = project.resolution.cells
    request = cell_request(cell, None)
    wheels = (samples.wheel("jax", "0.12.0.1"), samples.wheel("pip", "26.3"))
    lock = Lock(
        name=cell.id,
        inputs=request.digest,
        python=cell.python,
        platform=cell.platform,
        wheels=wheels,
    )
    (folder / "locks").mkdir()
    write_lock(lock, cell_path(folder / "locks", cell.id))
