"""Assembling images: from a planned image to its layers, manifest and config in the store.

An executor runs the two steps whose results the store may lack: the system stage, and the
compiling of byte code in that system.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from dlimg.assembly.bytecode import BytecodeCompiler, bytecode_layers, compile_missing
from dlimg.assembly.cell_layer import cell_layer, cell_layer_files, installer_layer
from dlimg.assembly.download import Cancellation, WheelSource
from dlimg.assembly.system import OnLine, recompress_system
from dlimg.assembly.wheel_layers import WheelLayerJobs, making_wheel_layers
from dlimg.assembly.wheel_to_layer import (
    LayerContext,
    is_large,
    small_wheels_to_layer,
    wheel_to_layer,
)
from dlimg.builders.executor import Executor, check_eligible, discard
from dlimg.builders.image_packages import check_packages
from dlimg.context import Context
from dlimg.model import Image, PlannedImage
from dlimg.pypi.index import open_index
from dlimg.pypi.uv_queries import uv_query, wheel_urls
from dlimg.render.image_config import image_config
from dlimg.store.image_manifest import (
    BYTECODE_HISTORY,
    CELL_HISTORY,
    AssembledImage,
    ImageLayer,
    LayerRank,
    assemble_image,
    base_history,
    bytecode_history,
    order_layers,
    rank_wheel,
    small_wheels_history,
    system_history,
    wheel_history,
)
from dlimg.store.images import save_image
from dlimg.store.maintenance import hold_store
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers


def system_image_layers(system: SystemLayers, image: Image) -> Iterator[ImageLayer]:
    """Yield the system's layers: those of the base, and the one of the system stage last."""
    *base, stage = system.layers
    for layer in base:
        yield ImageLayer(layer=layer, history=base_history(image.cell), rank=LayerRank.SYSTEM)
    yield ImageLayer(layer=stage, history=system_history(image.cell), rank=LayerRank.SYSTEM)


def wheel_image_layers(context: LayerContext, image: Image) -> Iterator[ImageLayer]:
    """Yield a layer for each large wheel, largest first, and one for all small wheels.

    Installer files are stored as well, so that the wheels are not needed any more afterwards.
    """
    python = image.cell.python
    wheels = sorted(image.lock.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    for wheel in filter(is_large, wheels):
        layer = wheel_to_layer(context, wheel, python=python)
        installer_layer(context, wheel, python=python, requested=True)
        yield ImageLayer(
            layer=layer,
            history=wheel_history(wheel),
            rank=rank_wheel(wheel),
            wheel_size=wheel.size,
        )
    small = [wheel for wheel in wheels if not is_large(wheel)]
    if small:
        layer = small_wheels_to_layer(context, small, python=python, shared=image.lock.shared_paths)
        for wheel in small:
            installer_layer(context, wheel, python=python, requested=True)
        yield ImageLayer(
            layer=layer, history=small_wheels_history(small), rank=LayerRank.SMALL_WHEELS
        )


def cell_image_layer(context: LayerContext, image: Image) -> ImageLayer:
    """Return the layer of files that belong to no wheel; make it after the wheel layers."""
    layer = cell_layer(context, cell_layer_files(image.cell, image.lock))
    return ImageLayer(layer=layer, history=CELL_HISTORY, rank=LayerRank.CELL)


def bytecode_image_layers(
    context: LayerContext, image: Image, compiler: BytecodeCompiler
) -> Iterator[ImageLayer]:
    """Yield a layer for each wheel with much byte code, and one for all others."""
    for bytecode in bytecode_layers(
        context, image.lock.wheels, compiler, shared=image.lock.shared_paths
    ):
        if bytecode.wheel:
            yield ImageLayer(
                layer=bytecode.layer,
                history=bytecode_history(bytecode.wheel),
                rank=LayerRank.WHEEL_BYTECODE,
                wheel_size=bytecode.wheel.size,
            )
        else:
            yield ImageLayer(
                layer=bytecode.layer, history=BYTECODE_HISTORY, rank=LayerRank.BYTECODE
            )


STEPS: Final = ("system stage", "wheels", "byte code")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleContext:
    """The executor, the store and the sources of wheels for assembling images.

    `find_links` are folders with further wheels; `cancellation` ends waiting for wheels.
    """

    executor: Executor
    context: Context
    store: Store
    find_links: Sequence[Path]
    cancellation: Cancellation = field(default_factory=Cancellation)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCallbacks:
    """Functions to call during a build: with each of STEPS, and with BuildKit's JSON lines."""

    on_step: Callable[[str], None] = discard
    on_line: OnLine = discard


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Assembles images while `wheels` makes their wheel layers in the background."""

    context: AssembleContext
    wheels: WheelLayerJobs

    def assemble(self, planned: PlannedImage, callbacks: BuildCallbacks) -> AssembledImage:
        """Assemble one image and record it in the store.

        Raises BadInput for a wheel that cannot become a layer, Negative for a system that does
        not build or a Python that does not run, NetworkFailure.
        """
        image, store = planned.image, self.context.store
        layer_context = self.wheels.context
        check_eligible(image)
        callbacks.on_step(STEPS[0])
        system = self.context.executor.system(planned, store, callbacks.on_line)
        check_packages(planned, system.packages)
        callbacks.on_step(STEPS[1])
        self.wheels.await_all(image)
        layers = [
            *system_image_layers(recompress_system(system, planned, layer_context), image),
            *wheel_image_layers(layer_context, image),
            cell_image_layer(layer_context, image),
        ]
        callbacks.on_step(STEPS[2])
        compiler = self._compiler(system, image.cell.python)
        compile_missing(layer_context, image.lock.wheels, compiler)
        layers += bytecode_image_layers(layer_context, image, compiler)
        config = image_config(image.cell, image.labels).on(system.config)
        assembled = assemble_image(planned, order_layers(layers), config)
        save_image(store, assembled)
        return assembled

    def stop(self) -> None:
        """End waiting for wheels, and compilers outside of child processes."""
        self.context.cancellation.cancel()
        self.context.executor.stop()

    def _compiler(self, system: SystemLayers, python: str) -> BytecodeCompiler:
        return BytecodeCompiler(
            interpreter=system.interpreter,
            python=python,
            compile_in=partial(self.context.executor.compile, system, python, self.context.store),
        )


@contextmanager
def open_assembler(
    planned: Sequence[PlannedImage], context: AssembleContext
) -> Iterator[Assembler]:
    """Start to make the wheel layers of these images, and yield their assembler."""
    store = context.store
    with hold_store(store), making_wheel_layers(planned, store, _wheel_source(context)) as wheels:
        yield Assembler(context=context, wheels=wheels)


def _wheel_source(assembling: AssembleContext) -> WheelSource:
    cache = assembling.context.cache
    return WheelSource(
        folders=tuple(assembling.find_links),
        folder=cache / "fetched",
        find_urls=partial(wheel_urls, ask=uv_query(assembling.context)),
        session=open_index(assembling.context, cache / "wheels").session,
        log=discard,
        cancellation=assembling.cancellation,
    )
