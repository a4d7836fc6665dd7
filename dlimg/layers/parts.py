"""The parts of one image: its layers, made where they are not there yet, with words for each."""

from collections.abc import Iterator

from dlimg.layers.assemble import Height, Part, height_of
from dlimg.layers.bytecode import Compiler, bytecode_layers
from dlimg.layers.make import Workshop, is_large, small_layer, wheel_layer
from dlimg.layers.own_layer import own_layer, own_of, own_part
from dlimg.layers.systems import System
from dlimg.layers.words import (
    BYTECODE_WORDS,
    OWN_WORDS,
    base_words,
    bytecode_words,
    small_words,
    system_words,
    wheel_words,
)
from dlimg.model import Image


def system_parts(system: System, image: Image) -> Iterator[Part]:
    """The system's layers: the base's first, and what the Dockerfile puts on it last."""
    for layer in system.layers[:-1]:
        yield Part(layer=layer, words=base_words(image.cell), height=Height.SYSTEM)
    yield Part(layer=system.layers[-1], words=system_words(image.cell), height=Height.SYSTEM)


def wheel_parts(workshop: Workshop, image: Image) -> Iterator[Part]:
    """One layer for each large wheel, largest first, and one for all small ones.

    Once a part is out, its wheels are needed no more: what the own layer takes from them is
    kept, too.
    """
    python = image.cell.python
    wheels = sorted(image.lock.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    for wheel in filter(is_large, wheels):
        layer = wheel_layer(workshop, wheel, python=python)
        own_part(workshop, wheel, python=python, requested=True)
        yield Part(
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
        yield Part(layer=layer, words=small_words(small), height=Height.SMALL)


def own_layer_part(workshop: Workshop, image: Image) -> Part:
    """What belongs to no wheel. Made after the parts of the wheels, it needs no wheel."""
    return Part(
        layer=own_layer(workshop, own_of(image)),
        words=OWN_WORDS,
        height=Height.OWN,
    )


def bytecode_parts(workshop: Workshop, image: Image, compiler: Compiler) -> Iterator[Part]:
    """One layer for each wheel with much byte code, and one for all others; all is compiled."""
    for one in bytecode_layers(workshop, image.lock.wheels, compiler):
        if one.wheel:
            words, size = bytecode_words(one.wheel), one.wheel.size
            yield Part(layer=one.layer, words=words, height=Height.COMPILED, wheel_size=size)
        else:
            yield Part(layer=one.layer, words=BYTECODE_WORDS, height=Height.BYTECODE)
