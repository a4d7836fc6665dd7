"""Whether an image can be assembled: its last stage must be the install that dlimg knows.

Who assembles does not execute that stage, but makes what it would leave behind. So it has to be
the very text that this was written for; anything else is executed, by BuildKit.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from dlimg.draw.bake import SYSTEM_STAGE
from dlimg.draw.config import image_config
from dlimg.draw.dockerfile import constraints, cuda_home, interpreter, requirements
from dlimg.draw.instructions import Instruction, Stage, stages
from dlimg.errors import BadInput
from dlimg.model import Image

# The install as `install_digest` tells it: with and without wheels of an extra folder, with and
# without names for linkers. When a test says that images/_layout has come to another text, first
# see what `dlimg.layers.own_layer` must do for it; then write down the new digests.
KNOWN: Final = frozenset(
    {
        "55f29a11900aa59b023f3cc54718fa53990dd7cf09ca6a09401af7bbe0c08878",
        "5ba2438d6e3c6c3257acc407a0d5397fa108c259ce60f67a2b016d2544f4b838",
        "59d45a1638658b304a41f952a45cf03003a43c1eaea7dede976e885df53cc938",
        "b1641d937e379f5b6e178336589954c4cb7c4f6e56dc4df9b37b4b4b26580d4f",
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
    yield from requirements(image.lock)
    yield from constraints(image.cell, image.lock)
