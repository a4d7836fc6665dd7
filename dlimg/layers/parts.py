"""The parts of one image: its layers, made where they are not there yet, with words for each."""

from collections.abc import Iterator, Mapping, Sequence

from dlimg.layers.assemble import Height, Part, height_of
from dlimg.layers.index import Layer
from dlimg.layers.make import Workshop, is_large, small_layer, wheel_layer
from dlimg.layers.own_layer import own_layer, own_of, own_part
from dlimg.layers.system import System
from dlimg.model import Image, Wheel


def system_parts(system: System, image: Image) -> Iterator[Part]:
    """The system's layers: the base's first, and what the Dockerfile puts on it last."""
    for layer in system.layers[:-1]:
        yield Part(layer=layer, words=f"base: {image.cell.os.image}", height=Height.SYSTEM)
    python = f"Python {image.cell.python}"
    words = f"system: {python}, an empty environment, the user ({image.cell.flavour})"
    yield Part(layer=system.layers[-1], words=words, height=Height.SYSTEM)


def wheel_parts(workshop: Workshop, image: Image, shared: Mapping[str, int]) -> Iterator[Part]:
    """One layer for each large wheel, largest first, and one for all small ones.

    `shared` says how many images hold a wheel, by its sha256. Once a part is out, its wheels
    are needed no more: what the own layer takes from them is kept, too.
    """
    python = image.cell.python
    wheels = sorted(image.lock.wheels, key=lambda wheel: (-wheel.size, wheel.name))
    for wheel in filter(is_large, wheels):
        layer = wheel_layer(workshop, wheel, python=python)
        own_part(workshop, wheel, python=python, requested=True)
        yield Part(
            layer=layer,
            words=f"wheel: {wheel.name} {wheel.version}",
            height=height_of(wheel),
            shared=shared.get(wheel.sha256, 1),
        )
    small = [wheel for wheel in wheels if not is_large(wheel)]
    if small:
        layer = small_layer(workshop, small, python=python)
        for wheel in small:
            own_part(workshop, wheel, python=python, requested=True)
        yield Part(layer=layer, words=f"small wheels: {_names(small)}", height=Height.SMALL)


def own_layer_part(workshop: Workshop, image: Image) -> Part:
    """What belongs to no wheel. Made after the parts of the wheels, it needs no wheel."""
    return Part(
        layer=own_layer(workshop, own_of(image)),
        words="own: RECORDs, commands, links, /etc/dlimg",
        height=Height.OWN,
    )


def bytecode_part(layer: Layer) -> Part:
    return Part(layer=layer, words="byte code of all wheels", height=Height.BYTECODE)


def _names(wheels: Sequence[Wheel]) -> str:
    return ", ".join(sorted(f"{wheel.name} {wheel.version}" for wheel in wheels))
