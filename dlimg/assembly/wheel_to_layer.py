"""Layers of wheels, through the store: a large wheel, and several small ones."""

import gzip
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, Final

from dlimg.errors import Negative
from dlimg.layer.compress import Press, WrittenLayer, presses, splice_wheel_streams
from dlimg.layer.entries import LayerEntry, arrange_entries, folder_entry
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import LIBRARY, depends_on_python, wheel_entries
from dlimg.lock.local_wheels import sha256_of
from dlimg.model import GZIP, Wheel
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.wheel.archive import damaged_wheel
from dlimg.wheel.metadata import OpenWheel, open_wheel

# Wheels from this size on get layers of their own: they hold nearly all bytes, and are few.
LARGE_WHEEL: Final = 4_000_000

LocateWheel = Callable[[Wheel], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContext:
    """What making layers needs: the store, where wheels lie on disk, and somebody to tell.

    `locate` is asked only for a wheel whose layer is not there yet; it may fetch it.
    `compression` is that of the images' layers, as keys call it. What is kept to make layers
    from, and is none itself, is gzip always.
    """

    store: Store
    locate: LocateWheel
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
    return wheel.size >= LARGE_WHEEL


def wheel_to_layer(workshop: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """The layer of one wheel; raises BadInput when the wheel is unfit or not the one named."""
    keys = wheel_keys(wheel, python=python, compression=workshop.compression)
    return _layer(workshop, keys, (wheel,), python)


def small_wheels_to_layer(workshop: LayerContext, wheels: Sequence[Wheel], *, python: str) -> Layer:
    """The one layer of several wheels, whatever their order; raises BadInput also for a clash."""
    ordered = sorted(wheels, key=lambda wheel: wheel.sha256)
    keys = small_wheels_keys(wheels, python=python, compression=workshop.compression)
    return _layer(workshop, keys, ordered, python)


def wheel_keys(wheel: Wheel, *, python: str, compression: str = GZIP) -> tuple[LayerKey, LayerKey]:
    """The keys under which the wheel's layer may be: the one for any Python, and for this."""
    for_any = LayerKey(kind="wheel", source=wheel.sha256, compression=compression)
    return for_any, replace(for_any, python=python)


def small_wheels_keys(
    wheels: Sequence[Wheel], *, python: str, compression: str = GZIP
) -> tuple[LayerKey, LayerKey]:
    """The same for the layer of several wheels."""
    source = hash_texts(sorted(wheel.sha256 for wheel in wheels))
    for_any = LayerKey(kind="small", source=source, compression=compression)
    return for_any, replace(for_any, python=python)


def _layer(
    workshop: LayerContext, keys: tuple[LayerKey, LayerKey], wheels: Sequence[Wheel], python: str
) -> Layer:
    """Found for any Python or for this one, or made for the one or the other."""
    for_any, for_this = keys
    found = find_layer(workshop.store, for_any) or find_layer(workshop.store, for_this)
    if found:
        return found
    found_wheels = [open_locked_wheel(workshop, wheel) for wheel in wheels]
    key = for_this if any(map(depends_on_python, found_wheels)) else for_any

    def write(file: IO[bytes]) -> WrittenLayer:
        found = [entry for wheel in found_wheels for entry in wheel_entries(wheel, python=python)]
        return workshop.press(tar_parts(arrange_entries(found)), file.write)

    words = ", ".join(sorted(f"{wheel.name} {wheel.version}" for wheel in wheels))
    return make_layer(workshop.store, key, write, workshop.say, words=words)


def open_locked_wheel(workshop: LayerContext, wheel: Wheel) -> OpenWheel:
    """The wheel on disk, after its sha256 was compared with the lock's."""
    path = workshop.locate(wheel)
    if path.name != wheel.file:
        raise ValueError(f"{path} is not called {wheel.file}")
    found = sha256_of(path)
    if found != wheel.sha256:
        raise damaged_wheel(wheel.file, f"its sha256 is {found}, not {wheel.sha256} as in the lock")
    return open_wheel(path)


_EMPTY: Final = 1024  # the two blocks of zeros with which every tar ends


def python_sources(workshop: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """The wheel's files that are compiled; raises BadInput when the wheel is unfit."""
    for_any, for_this = python_source_keys(wheel, python=python)
    found = find_layer(workshop.store, for_any) or find_layer(workshop.store, for_this)
    if found:
        return found
    whole = open_locked_wheel(workshop, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        wanted = (one for one in wheel_entries(whole, python=python) if is_python_source(one))
        return splice_wheel_streams(tar_parts(arrange_entries(wanted)), file.write)

    key = for_this if depends_on_python(whole) else for_any
    words = f"sources: {wheel.name} {wheel.version}"
    return make_layer(workshop.store, key, write, workshop.say, words=words)


def python_source_keys(wheel: Wheel, *, python: str) -> tuple[LayerKey, LayerKey]:
    """The keys under which they may be: the one for any Python, and for this."""
    for_any = LayerKey(kind="sources", source=wheel.sha256)
    return for_any, replace(for_any, python=python)


def is_python_source(entry: LayerEntry) -> bool:
    """Whether an install compiles it: a `.py` in the library, but in no folder of byte code."""
    inner = entry.path.removeprefix(f"{LIBRARY}/")
    is_in = inner != entry.path and "__pycache__" not in inner.split("/")
    return is_in and inner.endswith(".py") and entry.content is not None


def is_empty(part: Layer) -> bool:
    return part.unpacked <= _EMPTY


def read_entries(store: Store, part: Layer, *, owner: str) -> Iterator[LayerEntry]:
    """Folders and files of a kept part, in its order, one after the other.

    Raises Negative for a part that is damaged, and removes it: it is made again the next time.
    """
    blob = store.blob(part)
    with blob.open("rb") as file:
        whole = f"sha256:{file_digest(file, 'sha256').hexdigest()}" == part.digest
    if not whole:
        blob.unlink(missing_ok=True)
        hint = "it was removed, and is made again when you repeat this"
        raise Negative(f"what the store kept of {owner} is damaged", where=str(blob), hint=hint)
    with gzip.open(blob) as plain:
        archive: Any = tarfile.open(fileobj=plain, mode="r|")  # noqa: SIM115 - nothing to close
        for member in archive:
            if member.isdir():
                yield folder_entry(member.name, owner=owner)
            else:
                text = archive.extractfile(member).read()
                yield LayerEntry(path=member.name, mode=member.mode, content=text, owner=owner)
