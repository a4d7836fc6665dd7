"""One planned image to its layers, its manifest and its config; no engine takes it here.

Two things that the store may lack are executed, by the hands that are given: the stage with the
operating system, and the compiler of byte code in that system.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dlimg.assembly.bytecode import BytecodeCompiler, bytecode_layers, compile_lacking
from dlimg.assembly.cell_layer import own_layer, own_of, own_part
from dlimg.assembly.download import Cancellation, WheelSource
from dlimg.assembly.history_text import (
    BYTECODE_WORDS,
    OWN_WORDS,
    base_words,
    bytecode_words,
    small_words,
    system_words,
    wheel_words,
)
from dlimg.assembly.recompress import recompressed
from dlimg.assembly.system import OnLine
from dlimg.assembly.wheel_layer import LayerContext, is_large, small_layer, wheel_layer
from dlimg.assembly.wheel_layers import WheelLayerJobs, making
from dlimg.builders.executor import Executor, check_fit
from dlimg.builders.image_packages import check_packages
from dlimg.host.local_state import cache_folder
from dlimg.model import Image, PlannedImage
from dlimg.pypi.index import open_index
from dlimg.pypi.wheel_urls import addresses, asking
from dlimg.render.image_config import image_config
from dlimg.store.image_manifest import (
    AssembledImage,
    ImageLayer,
    LayerRank,
    assemble,
    height_of,
    ordered,
)
from dlimg.store.images import keep
from dlimg.store.maintenance import using
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers


def system_parts(system: SystemLayers, image: Image) -> Iterator[ImageLayer]:
    """The system's layers: the base's first, and what the Dockerfile puts on it last."""
    for layer in system.layers[:-1]:
        yield ImageLayer(layer=layer, words=base_words(image.cell), height=LayerRank.SYSTEM)
    yield ImageLayer(
        layer=system.layers[-1], words=system_words(image.cell), height=LayerRank.SYSTEM
    )


def wheel_parts(workshop: LayerContext, image: Image) -> Iterator[ImageLayer]:
    """One layer for each large wheel, largest first, and one for all small ones.

    Once a part is out, its wheels are needed no more: what the own layer takes from them is
    kept, too.
    """
    python = image.cell.python
    wheels = sorted(image.lock.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    for wheel in filter(is_large, wheels):
        layer = wheel_layer(workshop, wheel, python=python)
        own_part(workshop, wheel, python=python, requested=True)
        yield ImageLayer(
            layer=layer,
            words=wheel_words(wheel),
            height=height_of(wheel),
            wheel_size=wheel.size,
        )
    small = [wheel for wheel in wheels if not is_large(wheel)]
    if small:
        layer = small_layer(workshop, small, python=python)
        for wheel in small:
            own_part(workshop, wheel, python=python, requested=True)
        yield ImageLayer(layer=layer, words=small_words(small), height=LayerRank.SMALL)


def own_layer_part(workshop: LayerContext, image: Image) -> ImageLayer:
    """What belongs to no wheel. Made after the parts of the wheels, it needs no wheel."""
    return ImageLayer(
        layer=own_layer(workshop, own_of(image)),
        words=OWN_WORDS,
        height=LayerRank.OWN,
    )


def bytecode_parts(
    workshop: LayerContext, image: Image, compiler: BytecodeCompiler
) -> Iterator[ImageLayer]:
    """One layer for each wheel with much byte code, and one for all others; all is compiled."""
    for one in bytecode_layers(workshop, image.lock.wheels, compiler):
        if one.wheel:
            words, size = bytecode_words(one.wheel), one.wheel.size
            yield ImageLayer(
                layer=one.layer, words=words, height=LayerRank.COMPILED, wheel_size=size
            )
        else:
            yield ImageLayer(layer=one.layer, words=BYTECODE_WORDS, height=LayerRank.BYTECODE)


STEPS: Final = ("the system", "wheels", "byte code")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleContext:
    """What assembling takes: who executes, the store, where else wheels lie.

    Whoever is interrupted lets the `end` come: wheels are then waited for no more.
    """

    hands: Executor
    environment: Mapping[str, str]
    store: Store
    find_links: Sequence[Path]
    end: Cancellation = field(default_factory=Cancellation)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCallbacks:
    """Who is told: `at` which step of STEPS an image is, and `on_line` what BuildKit says."""

    at: Callable[[str], None]
    on_line: OnLine


Assembling = Callable[[PlannedImage, BuildCallbacks], AssembledImage]


@contextmanager
def assembling(planned: Sequence[PlannedImage], means: AssembleContext) -> Iterator[Assembling]:
    """Inside, a function that assembles one of these images, whose wheels are made meanwhile.

    It raises what comes in its way: BadInput for an unfit wheel, Negative for a system that
    does not build or a Python that does not run, NetworkFailure.
    """
    with using(means.store), making(planned, means.store, _source(means)) as wheels:
        yield lambda one, told: _assembled(one, means, wheels, told)


def _assembled(
    planned: PlannedImage, means: AssembleContext, wheels: WheelLayerJobs, told: BuildCallbacks
) -> AssembledImage:
    image, workshop = planned.image, wheels.workshop
    check_fit(image)
    told.at(STEPS[0])
    below = means.hands.system(planned, means.store, told.on_line)
    check_packages(planned, below.packages)
    told.at(STEPS[1])
    wheels.await_all(image)
    seen = replace(below, layers=recompressed(below.layers, workshop))
    parts = [
        *system_parts(seen, image),
        *wheel_parts(workshop, image),
        own_layer_part(workshop, image),
    ]
    told.at(STEPS[2])
    compiler = _compiler(planned, means, below)
    compile_lacking(workshop, image.lock.wheels, compiler)
    parts += bytecode_parts(workshop, image, compiler)
    config = image_config(image.cell, image.labels).on(below.config)
    found = assemble(planned, ordered(parts), config)
    keep(means.store, found)
    return found


def _compiler(
    planned: PlannedImage, means: AssembleContext, below: SystemLayers
) -> BytecodeCompiler:
    python = planned.image.cell.python
    return BytecodeCompiler(
        interpreter=below.interpreter,
        python=python,
        compile_in=means.hands.compiler(below, python, means.store),
    )


def _source(means: AssembleContext) -> WheelSource:
    """Where wheels come from."""
    environment = means.environment
    cache = cache_folder(environment)
    ask = asking(environment)
    return WheelSource(
        folders=tuple(means.find_links),
        folder=cache / "fetched",
        addresses=lambda wheels, target: addresses(wheels, target, ask),
        session=open_index(environment, cache / "wheels").session,
        say=_hush,
        end=means.end,
    )


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
