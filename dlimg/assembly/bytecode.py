"""Byte code as layers: compiled once for each wheel and Python, whatever image it is for.

What a wheel's files come to is kept as a part. A wheel with much of it gives a layer of its own,
which all images with this wheel and Python share; the rest of an image's byte code is one layer.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Final

from dlimg.assembly.compile_python import SCRIPT, ByteRange, CompileIn
from dlimg.assembly.wheel_to_layer import LayerContext, is_empty, python_sources, read_entries
from dlimg.host.local_state import file_lock
from dlimg.layer.compress import WrittenLayer, compress_gzip
from dlimg.layer.entries import FILE_MODE, LayerEntry, arrange_entries, folder_entry
from dlimg.layer.tar import tar_parts
from dlimg.model import Wheel
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, find_layer, make_layer

# Byte code from this many bytes on, unpacked, is a layer of its own.
LARGE_BYTECODE: Final = 3_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeCompiler:
    """What compiles: a Python, which `interpreter` stands for.

    `compile_in` takes sets of files to a spool with their byte code, as
    `dlimg.assembly.compile_python` does.
    """

    interpreter: str
    python: str
    compile_in: CompileIn


@dataclass(frozen=True, slots=True, kw_only=True)
class BytecodeLayer:
    """A layer of byte code: that of one wheel, or, without one, of all others of an image."""

    layer: Layer
    wheel: Wheel | None


def bytecode_key(wheel: Wheel, *, interpreter: str, python: str) -> LayerKey:
    """What a wheel's byte code is made from: our script, the wheel and the Python."""
    return LayerKey(
        kind="compiled", source=hash_texts([SCRIPT, interpreter, wheel.sha256]), python=python
    )


def bytecode_set_key(parts: Sequence[LayerKey], *, compression: str) -> LayerKey:
    """The key of one layer with the byte code of several wheels."""
    source = hash_texts(sorted(part.source for part in parts))
    return LayerKey(kind="bytecode", source=source, python=parts[0].python, compression=compression)


def missing_bytecode(
    store: Store, wheels: Iterable[Wheel], compiler: BytecodeCompiler
) -> tuple[Wheel, ...]:
    """The wheels without byte code for this Python, by name."""
    missing = (one for one in wheels if find_layer(store, _key_of(one, compiler)) is None)
    return tuple(sorted(missing, key=lambda wheel: wheel.name))


def compile_missing(
    workshop: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler
) -> None:
    """Byte code for all of these wheels, compiled at one go where some have none yet.

    Raises Negative when the system's Python does not run.
    """
    store = workshop.store
    if not missing_bytecode(store, wheels, compiler):
        return
    turn = store.path / "turns" / f"compiling-{compiler.interpreter}"
    with file_lock(turn, doing="compiling byte code", say=workshop.say):
        missing = missing_bytecode(store, wheels, compiler)
        sources = {
            wheel: python_sources(workshop, wheel, python=compiler.python) for wheel in missing
        }
        full = [wheel for wheel in missing if not is_empty(sources[wheel])]
        with tempfile.TemporaryFile() as spool:
            found = _compile(store, {one: sources[one] for one in full}, compiler, spool)
            for wheel in missing:
                _save_bytecode(workshop, wheel, compiler, spool, found.get(wheel, {}))


def bytecode_layers(
    workshop: LayerContext, wheels: Iterable[Wheel], compiler: BytecodeCompiler
) -> Iterator[BytecodeLayer]:
    """The layers with the byte code of an image's wheels, which is all in the store."""
    rest: list[Wheel] = []
    for wheel in wheels:
        part = _find_bytecode(workshop.store, wheel, compiler)
        if part.unpacked >= LARGE_BYTECODE:
            yield BytecodeLayer(layer=_wheel_bytecode_layer(workshop, wheel, compiler), wheel=wheel)
        elif not is_empty(part):
            rest.append(wheel)
    if rest:
        yield BytecodeLayer(layer=_joint_layer(workshop, rest, compiler), wheel=None)


def _wheel_bytecode_layer(
    workshop: LayerContext, wheel: Wheel, compiler: BytecodeCompiler
) -> Layer:
    """The layer of one wheel: its part, where that is compressed as the image is to be."""
    part, key = _find_bytecode(workshop.store, wheel, compiler), _key_of(wheel, compiler)
    if workshop.compression == key.compression:
        return part
    entries = read_entries(workshop.store, part, owner=wheel.file)
    key = replace(key, compression=workshop.compression)
    return _compressed_layer(workshop, key, entries, _description(wheel))


def _joint_layer(
    workshop: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler
) -> Layer:
    """One layer for these; where several have the same file, the first by name counts."""
    store, found = workshop.store, dict[str, LayerEntry]()
    key = bytecode_set_key(
        [_key_of(one, compiler) for one in wheels], compression=workshop.compression
    )

    def entries() -> Iterator[LayerEntry]:
        for wheel in sorted(wheels, key=lambda wheel: wheel.name):
            for one in read_entries(
                store, _find_bytecode(store, wheel, compiler), owner=wheel.file
            ):
                found.setdefault(one.path, one)
        yield from arrange_entries(found.values())

    return _compressed_layer(workshop, key, entries(), f"byte code of {len(wheels)} wheels")


def _compressed_layer(
    workshop: LayerContext, key: LayerKey, entries: Iterable[LayerEntry], words: str
) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        return workshop.pack(tar_parts(entries), file.write)

    return find_layer(workshop.store, key) or make_layer(
        workshop.store, key, write, workshop.say, words=words
    )


def _compile(
    store: Store, sources: Mapping[Wheel, Layer], compiler: BytecodeCompiler, spool: IO[bytes]
) -> Mapping[Wheel, Mapping[str, ByteRange]]:
    if not sources:
        return {}
    entries = (read_entries(store, part, owner=one.file) for one, part in sources.items())
    found = compiler.compile_in(entries, spool)
    return {wheel: found.get(number, {}) for number, wheel in enumerate(sources)}


def _save_bytecode(
    workshop: LayerContext,
    wheel: Wheel,
    compiler: BytecodeCompiler,
    spool: IO[bytes],
    files: Mapping[str, ByteRange],
) -> None:
    def write(file: IO[bytes]) -> WrittenLayer:
        return compress_gzip(tar_parts(_spooled_entries(spool, files)), file.write)

    key = _key_of(wheel, compiler)
    make_layer(workshop.store, key, write, workshop.say, words=_description(wheel))


def _spooled_entries(spool: IO[bytes], files: Mapping[str, ByteRange]) -> Iterator[LayerEntry]:
    """Files and folders by path; a file's content is read when its turn comes."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    for path in sorted({*files, *folders}):
        if path in folders:
            yield folder_entry(path)
            continue
        offset, size = files[path]
        spool.seek(offset)
        yield LayerEntry(path=path, mode=FILE_MODE, content=spool.read(size), owner="byte code")


def _find_bytecode(store: Store, wheel: Wheel, compiler: BytecodeCompiler) -> Layer:
    found = find_layer(store, _key_of(wheel, compiler))
    if found is None:
        raise LookupError(f"no byte code of {wheel.file}")
    return found


def _key_of(wheel: Wheel, compiler: BytecodeCompiler) -> LayerKey:
    return bytecode_key(wheel, interpreter=compiler.interpreter, python=compiler.python)


def _description(wheel: Wheel) -> str:
    return f"byte code: {wheel.name} {wheel.version}"
