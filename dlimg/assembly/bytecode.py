"""Byte code as layers, compiled once for each wheel and Python, for all images with both.

The byte code of every wheel is kept. A wheel with much of it gets a layer of its own, which all
images with this wheel and Python share; the byte code of an image's other wheels is one layer.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Final

from dlimg.assembly.compile_python import SCRIPT, ByteRange, CompileIn
from dlimg.assembly.wheel_to_layer import LayerContext, is_empty, python_sources, read_entries
from dlimg.host.file_lock import file_lock
from dlimg.layer.compress import WrittenLayer, compress_gzip, compress_other
from dlimg.layer.entries import FILE_MODE, LayerEntry, arrange_entries, folder_entry
from dlimg.layer.tar import tar_parts
from dlimg.model import SharedPath, Wheel
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.units import counted

# Byte code from this many bytes on, unpacked, is a layer of its own.
LARGE_BYTECODE: Final = 3_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeCompiler:
    """A compiler of byte code with one Python.

    `interpreter` is the Python's digest, for layer keys. `compile_in` compiles sets of files as
    `dlimg.assembly.compile_python.compile_in` does.
    """

    interpreter: str
    python: str
    compile_in: CompileIn

    def key(self, wheel: Wheel) -> LayerKey:
        """The key of the wheel's byte code."""
        return bytecode_key(wheel, interpreter=self.interpreter, python=self.python)


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeLayer:
    """A layer with the byte code of one wheel, or, if `wheel` is None, of all others."""

    layer: Layer
    wheel: Wheel | None


def bytecode_key(wheel: Wheel, *, interpreter: str, python: str) -> LayerKey:
    """Return the key of a wheel's byte code: the compiling script, the wheel and the Python."""
    source = hash_texts([SCRIPT, interpreter, wheel.sha256])
    return LayerKey(kind="compiled", source=source, python=python)


def bytecode_set_key(keys: Sequence[LayerKey], *, compression: str) -> LayerKey:
    """Return the key of one layer with the byte code of several wheels, given by their keys."""
    source = hash_texts(sorted(key.source for key in keys))
    return LayerKey(kind="bytecode", source=source, python=keys[0].python, compression=compression)


def missing_bytecode(
    store: Store, wheels: Iterable[Wheel], compiler: BytecodeCompiler
) -> tuple[Wheel, ...]:
    """Return the wheels without byte code for this Python, by name."""
    missing = (wheel for wheel in wheels if find_layer(store, compiler.key(wheel)) is None)
    return tuple(sorted(missing, key=lambda wheel: wheel.name))


def compile_missing(
    context: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler
) -> None:
    """Compile the byte code of all wheels that have none yet, in one container.

    Raises Negative when the system's Python does not run.
    """
    store = context.store
    if not missing_bytecode(store, wheels, compiler):
        return
    lock = store.locks / f"compiling-{compiler.interpreter}"
    with file_lock(lock, doing="compiling byte code", log=context.log):
        missing = missing_bytecode(store, wheels, compiler)
        sources = {
            wheel: python_sources(context, wheel, python=compiler.python) for wheel in missing
        }
        compiled = {wheel: layer for wheel, layer in sources.items() if not is_empty(layer)}
        with tempfile.TemporaryFile() as spool:
            ranges = _compile(store, compiled, compiler, spool)
            for wheel in missing:
                _save_bytecode(context, wheel, compiler, spool, ranges.get(wheel, {}))


def bytecode_layers(
    context: LayerContext,
    wheels: Iterable[Wheel],
    compiler: BytecodeCompiler,
    *,
    shared: Sequence[SharedPath] = (),
) -> Iterator[BytecodeLayer]:
    """Yield the byte code layers of an image; `compile_missing` must have run for its wheels.

    Wheels that fill one path differently are in the common layer, in which the first by name
    counts, as it does for their files.
    """
    together = {name for entry in shared for name in (entry.owner, *entry.replaced)}
    rest: list[Wheel] = []
    for wheel in wheels:
        layer = _find_bytecode(context.store, wheel, compiler)
        if layer.unpacked >= LARGE_BYTECODE and wheel.name not in together:
            yield BytecodeLayer(layer=_wheel_bytecode(context, wheel, compiler), wheel=wheel)
        elif not is_empty(layer):
            rest.append(wheel)
    if rest:
        yield BytecodeLayer(layer=_joint_bytecode(context, rest, compiler), wheel=None)


def _wheel_bytecode(context: LayerContext, wheel: Wheel, compiler: BytecodeCompiler) -> Layer:
    """Return the layer of one wheel's byte code in the context's compression."""
    layer, key = _find_bytecode(context.store, wheel, compiler), compiler.key(wheel)
    if context.compression == key.compression:
        return layer
    entries = read_entries(context.store, layer, owner=wheel.file)
    key = replace(key, compression=context.compression)
    return _compressed_layer(context, key, entries, _description(wheel))


def _joint_bytecode(
    context: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler
) -> Layer:
    """Return one layer for these wheels; if two have the same file, the first by name counts."""
    store, by_path = context.store, dict[str, LayerEntry]()
    key = bytecode_set_key(list(map(compiler.key, wheels)), compression=context.compression)

    def entries() -> Iterator[LayerEntry]:
        for wheel in sorted(wheels, key=lambda wheel: wheel.name):
            layer = _find_bytecode(store, wheel, compiler)
            for entry in read_entries(store, layer, owner=wheel.file):
                by_path.setdefault(entry.path, entry)
        yield from arrange_entries(by_path.values())

    return _compressed_layer(
        context, key, entries(), f"byte code of {counted(len(wheels), 'wheel')}"
    )


def _compressed_layer(
    context: LayerContext, key: LayerKey, entries: Iterable[LayerEntry], description: str
) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        return compress_other(tar_parts(entries), file.write, context.compression)

    return find_layer(context.store, key) or make_layer(
        context.store, key, write, context.log, description=description
    )


def _compile(
    store: Store, sources: Mapping[Wheel, Layer], compiler: BytecodeCompiler, spool: IO[bytes]
) -> Mapping[Wheel, Mapping[str, ByteRange]]:
    """Compile the wheels' Python files into the spool; return the ranges of byte code in it."""
    if not sources:
        return {}
    entries = (read_entries(store, layer, owner=wheel.file) for wheel, layer in sources.items())
    ranges = compiler.compile_in(entries, spool)
    return {wheel: ranges.get(number, {}) for number, wheel in enumerate(sources)}


def _save_bytecode(
    context: LayerContext,
    wheel: Wheel,
    compiler: BytecodeCompiler,
    spool: IO[bytes],
    ranges: Mapping[str, ByteRange],
) -> None:
    def write(file: IO[bytes]) -> WrittenLayer:
        return compress_gzip(tar_parts(_spooled_entries(spool, ranges)), file.write)

    key = compiler.key(wheel)
    make_layer(context.store, key, write, context.log, description=_description(wheel))


def _spooled_entries(spool: IO[bytes], ranges: Mapping[str, ByteRange]) -> Iterator[LayerEntry]:
    """Yield files and folders by path, reading each file when its turn comes."""
    folders = {str(parent) for path in ranges for parent in PurePosixPath(path).parents} - {"."}
    for path in sorted({*ranges, *folders}):
        if path in folders:
            yield folder_entry(path)
            continue
        offset, size = ranges[path]
        spool.seek(offset)
        yield LayerEntry(path=path, mode=FILE_MODE, content=spool.read(size), owner="byte code")


def _find_bytecode(store: Store, wheel: Wheel, compiler: BytecodeCompiler) -> Layer:
    layer = find_layer(store, compiler.key(wheel))
    if layer is None:
        raise LookupError(f"no byte code of {wheel.file}")
    return layer


def _description(wheel: Wheel) -> str:
    return f"byte code: {wheel.name} {wheel.version}"
