"""Layers of wheels, through the store: a large wheel, and several small ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from dlimg.layer.codec import Press, presses
from dlimg.layer.entries import arranged
from dlimg.layer.gzip import WrittenLayer
from dlimg.layer.tar import pieces
from dlimg.layer.wheel_entries import depends_on_python, entries
from dlimg.lock.local_wheels import sha256_of
from dlimg.model import GZIP, Wheel
from dlimg.store.keys import Layer, LayerKey, source_of
from dlimg.store.store import Store, find, make
from dlimg.wheel.errors import damaged
from dlimg.wheel.metadata import OpenWheel, open_wheel

# Wheels from this size on get layers of their own: they hold nearly all bytes, and are few.
LARGE: Final = 4_000_000

Locate = Callable[[Wheel], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContext:
    """What making layers needs: the store, where wheels lie on disk, and somebody to tell.

    `locate` is asked only for a wheel whose layer is not there yet; it may fetch it.
    `compression` is that of the images' layers, as keys call it. What is kept to make layers
    from, and is none itself, is gzip always.
    """

    store: Store
    locate: Locate
    say: Callable[[str], None]
    compression: str = GZIP

    @property
    def press(self) -> Press:
        """Who writes the layers of wheels."""
        return presses(self.compression).press

    @property
    def pack(self) -> Press:
        """Who writes the layers of what lies in no wheel."""
        return presses(self.compression).pack


def is_large(wheel: Wheel) -> bool:
    return wheel.size >= LARGE


def wheel_layer(workshop: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """The layer of one wheel; raises BadInput when the wheel is unfit or not the one named."""
    keys = wheel_keys(wheel, python=python, compression=workshop.compression)
    return _layer(workshop, keys, (wheel,), python)


def small_layer(workshop: LayerContext, wheels: Sequence[Wheel], *, python: str) -> Layer:
    """The one layer of several wheels, whatever their order; raises BadInput also for a clash."""
    ordered = sorted(wheels, key=lambda wheel: wheel.sha256)
    keys = small_keys(wheels, python=python, compression=workshop.compression)
    return _layer(workshop, keys, ordered, python)


def wheel_keys(wheel: Wheel, *, python: str, compression: str = GZIP) -> tuple[LayerKey, LayerKey]:
    """The keys under which the wheel's layer may be: the one for any Python, and for this."""
    for_any = LayerKey(kind="wheel", source=wheel.sha256, compression=compression)
    return for_any, replace(for_any, python=python)


def small_keys(
    wheels: Sequence[Wheel], *, python: str, compression: str = GZIP
) -> tuple[LayerKey, LayerKey]:
    """The same for the layer of several wheels."""
    source = source_of(sorted(wheel.sha256 for wheel in wheels))
    for_any = LayerKey(kind="small", source=source, compression=compression)
    return for_any, replace(for_any, python=python)


def _layer(
    workshop: LayerContext, keys: tuple[LayerKey, LayerKey], wheels: Sequence[Wheel], python: str
) -> Layer:
    """Found for any Python or for this one, or made for the one or the other."""
    for_any, for_this = keys
    found = find(workshop.store, for_any) or find(workshop.store, for_this)
    if found:
        return found
    found_wheels = [opened(workshop, wheel) for wheel in wheels]
    key = for_this if any(map(depends_on_python, found_wheels)) else for_any

    def write(file: IO[bytes]) -> WrittenLayer:
        found = [entry for wheel in found_wheels for entry in entries(wheel, python=python)]
        return workshop.press(pieces(arranged(found)), file.write)

    words = ", ".join(sorted(f"{wheel.name} {wheel.version}" for wheel in wheels))
    return make(workshop.store, key, write, workshop.say, words=words)


def opened(workshop: LayerContext, wheel: Wheel) -> OpenWheel:
    """The wheel on disk, after its sha256 was compared with the lock's."""
    path = workshop.locate(wheel)
    if path.name != wheel.file:
        raise ValueError(f"{path} is not called {wheel.file}")
    found = sha256_of(path)
    if found != wheel.sha256:
        raise damaged(wheel.file, f"its sha256 is {found}, not {wheel.sha256} as in the lock")
    return open_wheel(path)
