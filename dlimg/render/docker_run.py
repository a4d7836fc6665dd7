"""The `docker run` line for an image: GPU, shared memory, mounts, ports on loopback."""

import shlex
from collections.abc import Sequence
from typing import Final

from dlimg.model import Cell, Flavour
from dlimg.render.image_config import NOTEBOOK_PORT

# PyTorch's data loaders hand batches over in shared memory; Docker's default of 64 MB ends them.
SHARED_MEMORY: Final = "8g"


def docker_run(
    cell: Cell, reference: str, *, docker: Sequence[str] = ("docker",), command: Sequence[str] = ()
) -> tuple[str, ...]:
    """The words of a command that runs this image with all that its user needs.

    `docker` holds the client and its options (`-H ...`). The folders `.`, `data` and `output` of
    the caller become `/code`, `/data` and `/output`; a notebook answers on loopback only.
    """
    words = [*docker, "run", "--rm"]
    if not command:
        words.append("-it")
    if cell.is_cuda:
        words += ["--gpus", "all"]
    words += ["--shm-size", SHARED_MEMORY, "--user", "$(id -u):$(id -g)"]
    words += ["-v", "$PWD:/code", "-v", "$PWD/data:/data", "-v", "$PWD/output:/output"]
    if cell.flavour is Flavour.WORKSPACE:
        words += ["-p", f"127.0.0.1:{NOTEBOOK_PORT}:{NOTEBOOK_PORT}"]
    return (*words, reference, *command)


def try_line(cell: Cell, reference: str, *, docker: Sequence[str] = ("docker",)) -> str:
    """A line to paste: it runs the image and shows its framework at work."""
    module = cell.framework.module
    program = (
        f"import {module}; print({module}.__version__)"
        if module
        else f'from importlib.metadata import version; print(version("{cell.package}"))'
    )
    command = () if cell.flavour is Flavour.WORKSPACE else ("python", "-c", program)
    words = docker_run(cell, reference, docker=docker, command=command)
    # Folders that are not there Docker would make, as root's.
    return f"mkdir -p data output && {' '.join(_quoted(word) for word in words)}"


def _quoted(word: str) -> str:
    """A word as a shell reads it; `$PWD` and `$(id -u)` stay what they are."""
    return f'"{word}"' if "$" in word else shlex.quote(word)
