"""Whether an image can be assembled: its last stage must be the install that dlimg knows.

Who assembles does not execute that stage, but makes what it would leave behind. So it has to be
the very text that this was written for; anything else is executed, by BuildKit.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from dlimg.draw.bake import SYSTEM_STAGE
from dlimg.draw.config import image_config
from dlimg.draw.dockerfile import interpreter
from dlimg.draw.instructions import Instruction, Stage, stages
from dlimg.draw.layout import cell_files, cuda_home, packages_folder
from dlimg.errors import BadInput
from dlimg.model import Image

# The install as `install_digest` tells it: with and without wheels of an extra folder, with and
# without names for linkers. When a test says that images/_layout has come to another text, first
# see what `dlimg.layers.own_layer` must do for it; then write down the new digests.
KNOWN: Final = frozenset(
    {
        "0777c13a7f988e8079667e4f57a05d9db6e45f8dffa071181aae391497c6f533",
        "46ab8a90fb31f1a44b7fded185e04b60a0e902821bf29f1b6ab12b715c515259",
        "8f84ce5dae5c6fabe75e7189050f155dd8441a31ff78ae6c204427a2eebab6b6",
        "f9b5bac6a93131ce4ce803a64d84f8cf64366a37434368275cebf97e771e992c",
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
    run = run.replace("".join(_placing(image)), "FILES\n")
    run = run.replace(packages_folder(image.lock), "PACKAGES")
    settled = (one.source for one in _of(found, _FILES) if one.text.endswith(_SETTLE))
    return sha256("".join([run, *settled]).encode()).hexdigest()


def _of(found: Iterable[Stage], name: str) -> Iterator[Instruction]:
    for stage in found:
        if stage.name == name:
            yield from stage.instructions


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
