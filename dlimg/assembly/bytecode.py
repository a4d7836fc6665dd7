"""Byte code as layers: compiled once for each wheel and Python, whatever image it is for.

What a wheel's files come to is kept as a part. A wheel with much of it gives a layer of its own,
which all images with this wheel and Python share; the rest of an image's byte code is one layer.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import IO, Final

from dlimg.assembly.compile_python import SCRIPT, CompileIn, Place
from dlimg.assembly.python_sources import is_empty, part_entries, sources_part
from dlimg.assembly.wheel_layer import LayerContext
from dlimg.host.local_state import file_lock
from dlimg.layer.entries import PLAIN, LayerEntry, arranged, folder
from dlimg.layer.gzip import WrittenLayer, compress
from dlimg.layer.tar import pieces
from dlimg.model import Wheel
from dlimg.store.keys import Layer, LayerKey, source_of
from dlimg.store.store import Store, find, make

# Byte code from this many bytes on, unpacked, is a layer of its own.
LARGE: Final = 3_000_000


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


def part_key(wheel: Wheel, *, interpreter: str, python: str) -> LayerKey:
    """What a wheel's byte code is made from: our script, the wheel and the Python."""
    return LayerKey(
        kind="compiled", source=source_of([SCRIPT, interpreter, wheel.sha256]), python=python
    )


def set_key(parts: Sequence[LayerKey], *, compression: str) -> LayerKey:
    """The key of one layer with the byte code of several wheels."""
    source = source_of(sorted(part.source for part in parts))
    return LayerKey(kind="bytecode", source=source, python=parts[0].python, compression=compression)


def lacking(store: Store, wheels: Iterable[Wheel], compiler: BytecodeCompiler) -> tuple[Wheel, ...]:
    """The wheels without byte code for this Python, by name."""
    missing = (one for one in wheels if find(store, _part_key(one, compiler)) is None)
    return tuple(sorted(missing, key=lambda wheel: wheel.name))


def compile_lacking(
    workshop: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler
) -> None:
    """Byte code for all of these wheels, compiled at one go where some have none yet.

    Raises Negative when the system's Python does not run.
    """
    store = workshop.store
    if not lacking(store, wheels, compiler):
        return
    turn = store.path / "turns" / f"compiling-{compiler.interpreter}"
    with file_lock(turn, doing="compiling byte code", say=workshop.say):
        missing = lacking(store, wheels, compiler)
        sources = {
            wheel: sources_part(workshop, wheel, python=compiler.python) for wheel in missing
        }
        full = [wheel for wheel in missing if not is_empty(sources[wheel])]
        with tempfile.TemporaryFile() as spool:
            found = _compiled(store, {one: sources[one] for one in full}, compiler, spool)
            for wheel in missing:
                _keep(workshop, wheel, compiler, spool, found.get(wheel, {}))


def bytecode_layers(
    workshop: LayerContext, wheels: Iterable[Wheel], compiler: BytecodeCompiler
) -> Iterator[BytecodeLayer]:
    """The layers with the byte code of an image's wheels, which is all in the store."""
    rest: list[Wheel] = []
    for wheel in wheels:
        part = _part(workshop.store, wheel, compiler)
        if part.unpacked >= LARGE:
            yield BytecodeLayer(layer=_own(workshop, wheel, compiler), wheel=wheel)
        elif not is_empty(part):
            rest.append(wheel)
    if rest:
        yield BytecodeLayer(layer=_together(workshop, rest, compiler), wheel=None)


def _own(workshop: LayerContext, wheel: Wheel, compiler: BytecodeCompiler) -> Layer:
    """The layer of one wheel: its part, where that is compressed as the image is to be."""
    part, key = _part(workshop.store, wheel, compiler), _part_key(wheel, compiler)
    if workshop.compression == key.compression:
        return part
    entries = part_entries(workshop.store, part, owner=wheel.file)
    key = replace(key, compression=workshop.compression)
    return _packed(workshop, key, entries, _words(wheel))


def _together(workshop: LayerContext, wheels: Sequence[Wheel], compiler: BytecodeCompiler) -> Layer:
    """One layer for these; where several have the same file, the first by name counts."""
    store, found = workshop.store, dict[str, LayerEntry]()
    key = set_key([_part_key(one, compiler) for one in wheels], compression=workshop.compression)

    def entries() -> Iterator[LayerEntry]:
        for wheel in sorted(wheels, key=lambda wheel: wheel.name):
            for one in part_entries(store, _part(store, wheel, compiler), owner=wheel.file):
                found.setdefault(one.path, one)
        yield from arranged(found.values())

    return _packed(workshop, key, entries(), f"byte code of {len(wheels)} wheels")


def _packed(
    workshop: LayerContext, key: LayerKey, entries: Iterable[LayerEntry], words: str
) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        return workshop.pack(pieces(entries), file.write)

    return find(workshop.store, key) or make(workshop.store, key, write, workshop.say, words=words)


def _compiled(
    store: Store, sources: Mapping[Wheel, Layer], compiler: BytecodeCompiler, spool: IO[bytes]
) -> Mapping[Wheel, Mapping[str, Place]]:
    if not sources:
        return {}
    entries = (part_entries(store, part, owner=one.file) for one, part in sources.items())
    found = compiler.compile_in(entries, spool)
    return {wheel: found.get(number, {}) for number, wheel in enumerate(sources)}


def _keep(
    workshop: LayerContext,
    wheel: Wheel,
    compiler: BytecodeCompiler,
    spool: IO[bytes],
    files: Mapping[str, Place],
) -> None:
    def write(file: IO[bytes]) -> WrittenLayer:
        return compress(pieces(_entries(spool, files)), file.write)

    key = _part_key(wheel, compiler)
    make(workshop.store, key, write, workshop.say, words=_words(wheel))


def _entries(spool: IO[bytes], files: Mapping[str, Place]) -> Iterator[LayerEntry]:
    """Files and folders by path; a file's content is read when its turn comes."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    for path in sorted({*files, *folders}):
        if path in folders:
            yield folder(path)
            continue
        offset, size = files[path]
        spool.seek(offset)
        yield LayerEntry(path=path, mode=PLAIN, content=spool.read(size), owner="byte code")


def _part(store: Store, wheel: Wheel, compiler: BytecodeCompiler) -> Layer:
    found = find(store, _part_key(wheel, compiler))
    if found is None:
        raise LookupError(f"no byte code of {wheel.file}")
    return found


def _part_key(wheel: Wheel, compiler: BytecodeCompiler) -> LayerKey:
    return part_key(wheel, interpreter=compiler.interpreter, python=compiler.python)


def _words(wheel: Wheel) -> str:
    return f"byte code: {wheel.name} {wheel.version}"
