"""From wheels to layers in the store: one layer for a large wheel, one for all small ones.

The store also keeps each wheel's Python files, because compiling byte code needs them and not the
wheel.
"""

import gzip
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any, Final

from dlimg.errors import Negative
from dlimg.layer.compress import WrittenLayer, compress_wheel, splice_wheel_streams
from dlimg.layer.entries import LayerEntry, arrange_entries, folder_entry
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import LIBRARY, depends_on_python, wheel_entries
from dlimg.lock.local_wheels import file_sha256
from dlimg.model import GZIP, SharedPath, Wheel
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.wheel.errors import damaged_wheel
from dlimg.wheel.metadata import OpenWheel, open_wheel

# Wheels from this size on get a layer of their own: they hold nearly all bytes, and are few.
LARGE_WHEEL: Final = 4_000_000

LocateWheel = Callable[[Wheel], Path]

_EMPTY_TAR: Final = 1024  # bytes of the two zero blocks that end every tar


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContext:
    """The store, the wheels on disk, the log and the compression of the layers to make.

    `locate` returns the path of a wheel and may download it; it is called only for wheels whose
    layers are missing. `compression` is spelled as in layer keys. Intermediate results, which are
    no layers of images, are always gzip.
    """

    store: Store
    locate: LocateWheel
    log: Callable[[str], None]
    compression: str = GZIP


def is_large(wheel: Wheel) -> bool:
    return wheel.size >= LARGE_WHEEL


def wheel_to_layer(context: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """Return the wheel's layer, made now if the store lacks it.

    Raises BadInput for a wheel that cannot become a layer or is not the locked one.
    """
    keys = wheel_keys(wheel, python=python, compression=context.compression)
    return _wheels_to_layer(context, keys, (wheel,), python)


def small_wheels_to_layer(
    context: LayerContext,
    wheels: Sequence[Wheel],
    *,
    python: str,
    shared: Sequence[SharedPath] = (),
) -> Layer:
    """Return one layer of several wheels; their order does not matter.

    Of a path that several wheels fill, only the file of its owner is in the layer.

    Raises as `wheel_to_layer`, and BadInput for wheels with different files at one path.
    """
    ordered = sorted(wheels, key=lambda wheel: wheel.sha256)
    keys = small_wheels_keys(wheels, python=python, compression=context.compression, shared=shared)
    return _wheels_to_layer(context, keys, ordered, python, replaced_files(wheels, shared))


def replaced_files(
    wheels: Sequence[Wheel], shared: Sequence[SharedPath]
) -> frozenset[tuple[str, str]]:
    """Return the paths in site-packages that another wheel replaces, with these wheels' names."""
    names = {wheel.name for wheel in wheels}
    return frozenset(
        (name, entry.path) for entry in shared for name in entry.replaced if name in names
    )


def wheel_keys(wheel: Wheel, *, python: str, compression: str = GZIP) -> tuple[LayerKey, LayerKey]:
    """The two possible keys of a wheel's layer: for any Python, and for this one."""
    any_python = LayerKey(kind="wheel", source=wheel.sha256, compression=compression)
    return any_python, replace(any_python, python=python)


def small_wheels_keys(
    wheels: Sequence[Wheel],
    *,
    python: str,
    compression: str = GZIP,
    shared: Sequence[SharedPath] = (),
) -> tuple[LayerKey, LayerKey]:
    """The two possible keys of the small wheels' layer: for any Python, and for this one."""
    replaced = sorted(f"{name} {path}" for name, path in replaced_files(wheels, shared))
    source = hash_texts([*sorted(wheel.sha256 for wheel in wheels), *replaced])
    any_python = LayerKey(kind="small", source=source, compression=compression)
    return any_python, replace(any_python, python=python)


def _wheels_to_layer(
    context: LayerContext,
    keys: tuple[LayerKey, LayerKey],
    wheels: Sequence[Wheel],
    python: str,
    replaced: Collection[tuple[str, str]] = (),
) -> Layer:
    any_python, this_python = keys
    layer = find_layer(context.store, any_python) or find_layer(context.store, this_python)
    if layer:
        return layer
    opened = [open_locked_wheel(context, wheel) for wheel in wheels]
    key = this_python if any(map(depends_on_python, opened)) else any_python

    def write(file: IO[bytes]) -> WrittenLayer:
        entries = [
            entry
            for wheel, open_ in zip(wheels, opened, strict=True)
            for entry in wheel_entries(open_, python=python)
            if (wheel.name, entry.path.removeprefix(f"{LIBRARY}/")) not in replaced
        ]
        parts = tar_parts(arrange_entries(entries))
        return compress_wheel(parts, file.write, context.compression)

    description = ", ".join(sorted(f"{wheel.name} {wheel.version}" for wheel in wheels))
    return make_layer(context.store, key, write, context.log, description=description)


def open_locked_wheel(context: LayerContext, wheel: Wheel) -> OpenWheel:
    """Open the wheel on disk; raises BadInput if its sha256 is not the lock's."""
    path = context.locate(wheel)
    if path.name != wheel.file:
        raise ValueError(f"{path} is not called {wheel.file}")
    sha256 = file_sha256(path)
    if sha256 != wheel.sha256:
        raise damaged_wheel(
            wheel.file, f"its sha256 is {sha256}, not {wheel.sha256} as in the lock"
        )
    return open_wheel(path)


def python_sources(context: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """Return the wheel's Python files, kept as a layer; raises BadInput for an invalid wheel."""
    any_python, this_python = python_source_keys(wheel, python=python)
    layer = find_layer(context.store, any_python) or find_layer(context.store, this_python)
    if layer:
        return layer
    opened = open_locked_wheel(context, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        entries = filter(is_python_source, wheel_entries(opened, python=python))
        return splice_wheel_streams(tar_parts(arrange_entries(entries)), file.write)

    key = this_python if depends_on_python(opened) else any_python
    description = f"sources: {wheel.name} {wheel.version}"
    return make_layer(context.store, key, write, context.log, description=description)


def python_source_keys(wheel: Wheel, *, python: str) -> tuple[LayerKey, LayerKey]:
    """The two possible keys of a wheel's Python files: for any Python, and for this one."""
    any_python = LayerKey(kind="sources", source=wheel.sha256)
    return any_python, replace(any_python, python=python)


def is_python_source(entry: LayerEntry) -> bool:
    """Return whether an installer compiles the file: a `.py` outside `__pycache__`."""
    path = entry.path.removeprefix(f"{LIBRARY}/")
    is_in_library = path != entry.path and "__pycache__" not in path.split("/")
    return is_in_library and path.endswith(".py") and entry.content is not None


def is_empty(layer: Layer) -> bool:
    """Return whether the layer's tar has no entries."""
    return layer.unpacked <= _EMPTY_TAR


def read_entries(store: Store, layer: Layer, *, owner: str) -> Iterator[LayerEntry]:
    """Yield the folders and files of a gzip layer of the store, in its order.

    Raises Negative for a damaged layer and removes it, so that the next build makes it again.
    """
    blob = store.blob(layer)
    with blob.open("rb") as file:
        is_whole = f"sha256:{file_digest(file, 'sha256').hexdigest()}" == layer.digest
    if not is_whole:
        blob.unlink(missing_ok=True)
        hint = "it was removed; run the command again to make it anew"
        raise Negative(f"the stored files of {owner} are damaged", where=str(blob), hint=hint)
    with gzip.open(blob) as stream:
        archive: Any = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115 - nothing to close
        for member in archive:
            if member.isdir():
                yield folder_entry(member.name, owner=owner)
            else:
                data = archive.extractfile(member).read()
                yield LayerEntry(path=member.name, mode=member.mode, content=data, owner=owner)
