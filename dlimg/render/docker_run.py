"""The `docker run` line for an image: GPU, shared memory, mounts, ports on loopback."""

import shlex
from collections.abc import Sequence
from typing import Final

from dlimg.model import Cell, Flavour
from dlimg.render.image_config import NOTEBOOK_PORT

# PyTorch's data loaders hand batches over in shared memory; Docker's default of 64 MB ends them.
SHARED_MEMORY: Final = "8g"
# Docker's 10 seconds are too few for a training that writes a checkpoint.
STOP_SECONDS: Final = 120


def docker_run(
    cell: Cell, reference: str, *, docker: Sequence[str] = ("docker",), command: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the command line that runs this image with all that its user needs.

    `docker` holds the client and its options (`-H ...`). The folders `.`, `data` and `output` of
    the caller become `/code`, `/data` and `/output`; a notebook answers on loopback only.
    """
    argv = [*docker, "run", "--rm"]
    if not command:
        argv.append("-it")
    if cell.is_cuda:
        argv += ["--gpus", "all"]
    argv += ["--shm-size", SHARED_MEMORY, "--stop-timeout", str(STOP_SECONDS)]
    argv += ["--user", "$(id -u):$(id -g)"]
    argv += ["-v", "$PWD:/code", "-v", "$PWD/data:/data", "-v", "$PWD/output:/output"]
    if cell.flavour is Flavour.WORKSPACE:
        argv += ["-p", f"127.0.0.1:{NOTEBOOK_PORT}:{NOTEBOOK_PORT}"]
    return (*argv, reference, *command)


def try_line(cell: Cell, reference: str, *, docker: Sequence[str] = ("docker",)) -> str:
    """Return a shell line that runs the image and prints its framework's version."""
    module = cell.framework.module
    program = (
        f"import {module}; print({module}.__version__)"
        if module
        else f'from importlib.metadata import version; print(version("{cell.package}"))'
    )
    command = () if cell.flavour is Flavour.WORKSPACE else ("python", "-c", program)
    argv = docker_run(cell, reference, docker=docker, command=command)
    # Docker would make missing folders, and they would belong to root.
    return f"mkdir -p data output && {' '.join(_quoted(word) for word in argv)}"


def _quoted(argument: str) -> str:
    """Quote a word for a shell; `$PWD` and `$(id -u)` are still expanded."""
    return f'"{argument}"' if "$" in argument else shlex.quote(argument)
