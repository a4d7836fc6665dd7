"""Whether an image can be assembled: its last stage must be the install that dlimg knows.

Who assembles does not execute that stage, but makes what it would leave behind. So it has to be
the very text that this was written for; anything else is executed, by BuildKit.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from dlimg.draw.bake import SYSTEM_STAGE
from dlimg.draw.config import image_config
from dlimg.draw.dockerfile import cuda_home, interpreter
from dlimg.draw.instructions import Instruction, Stage, stages
from dlimg.draw.layout import cell_files
from dlimg.errors import BadInput
from dlimg.model import Image

# The install as `install_digest` tells it: with and without wheels of an extra folder, with and
# without names for linkers. When a test says that images/_layout has come to another text, first
# see what `dlimg.layers.own_layer` must do for it; then write down the new digests.
KNOWN: Final = frozenset(
    {
        "8682c2e7dae237d9239c55a0f37842265f6bbe143693fecf6628d5f63c0dcaac",
        "89fab8419e90e2f203252cbebb98bce3ab98769293b768efca1d60265eff9727",
        "8e9fbea363b036bedc343f16298bcec0c8347900599b27fc21438a8d0fb0c05b",
        "e07b7abc67735a596d2811344fdc210050d40af069f05706dde9d80a6ce46e42",
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


def _expected(image: Image) -> Iterator[str]:
    for file in cell_files(image.cell, image.lock):
        yield from file.text.splitlines()
