"""Whether an image can be assembled: its last stage must be the install that dlimg knows.

Who assembles does not execute that stage, but makes what it would leave behind. So it has to be
the very text that this was written for; anything else is executed, by BuildKit.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from dlimg.errors import BadInput
from dlimg.model import Image
from dlimg.render.bake import SYSTEM_STAGE
from dlimg.render.config_parser import image_config
from dlimg.render.dockerfile import interpreter
from dlimg.render.dockerfile_parser import Instruction, Stage, stages
from dlimg.render.image_config import cuda_home
from dlimg.render.layout import cell_files, packages_folder

# The install as `install_digest` tells it: with and without wheels of an extra folder, with and
# without names for linkers. When a test says that images/_layout has come to another text, first
# see what `dlimg.assembly.cell_layer` must do for it; then write down the new digests.
KNOWN: Final = frozenset(
    {
        "457e61bd5ba51b93431f91981ea512dd8e2503da12c474bcbe3adc8ed68cbc97",
        "65c7c4dea11ae20bb6c5775fb55fec9c3bbb098cfb7051aeed5fa55fb04e8e46",
        "78b11f298621168243f76d280715fc52f5448f24b6c0de2567408b0df08e3ed1",
        "be89ed88500171405a0d80eccbc90e3eb86f81d3d7bcc45f2118d9ec52c31d59",
    }
)

_SETTLE: Final = "/settle"
_LOCK: Final = "lock"
_FILES: Final = "files"


def obstacle(image: Image) -> str:
    """Why the image cannot be assembled, or nothing when it can."""
    try:
        found = {stage.name: stage for stage in stages(image.dockerfile)}
        image_config(image.dockerfile)
    except BadInput as error:
        return error.problems[0].message
    last = stages(image.dockerfile)[-1]
    if last.start != SYSTEM_STAGE or install_digest(image) not in KNOWN:
        return "its last stage installs in a way of its own"
    if _LOCK not in found or list(_written(found[_LOCK])) != list(_expected(image)):
        return "its stage `lock` holds something else than the lock"
    return ""


def install_digest(image: Image) -> str:
    """A sha256 over how wheels are installed, the same for all cells that do it in one way."""
    found = stages(image.dockerfile)
    run = "".join(one.source for one in found[-1].instructions if one.word == "RUN")
    home = cuda_home(image.cell)
    run = run.replace(interpreter(image.cell), "PYTHON")
    run = run.replace(f"/python{image.cell.python}", "/VERSION")
    run = run.replace(home, "HOME") if home else run
    run = run.replace("".join(_installs(image)), "INSTALL FILES\n")
    run = run.replace(packages_folder(image.lock), "PACKAGES")
    settled = (one.source for one in _of(found, _FILES) if one.text.endswith(_SETTLE))
    return sha256("".join([run, *settled]).encode()).hexdigest()


def _of(found: Iterable[Stage], name: str) -> Iterator[Instruction]:
    for stage in found:
        if stage.name == name:
            yield from stage.instructions


def _installs(image: Image) -> Iterator[str]:
    """The lines that put the cell's files where `cell_files` says, the same for all cells."""
    for file in cell_files(image.cell, image.lock):
        yield f"install -D --mode={file.mode} /run/locked/{file.name} {file.path}\n"


def _written(stage: Stage) -> Iterator[str]:
    """The lines between the marks of its heredocs."""
    for one in stage.instructions[1:]:
        yield from one.source.splitlines()[1:-1]


def _placing(image: Image) -> Iterator[str]:
    """The lines by which the cell's own files, some more or less, come to their places."""
    for file in cell_files(image.cell, image.lock):
        yield f"install -D --mode={file.mode} /run/locked/{file.name} {file.path}\n"


def _expected(image: Image) -> Iterator[str]:
    for file in cell_files(image.cell, image.lock):
        yield from file.text.splitlines()
