"""The Python files of a wheel, kept in the store: byte code needs them and not the wheel."""

import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import file_digest
from typing import IO, Any, Final

from dlimg.assembly.wheel_layer import LayerContext, opened
from dlimg.errors import Negative
from dlimg.layer.entries import LayerEntry, arranged, folder
from dlimg.layer.gzip import WrittenLayer, splice
from dlimg.layer.tar import pieces
from dlimg.layer.wheel_entries import LIBRARY, depends_on_python, entries
from dlimg.model import Wheel
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, find, make

_EMPTY: Final = 1024  # the two blocks of zeros with which every tar ends


def sources_part(workshop: LayerContext, wheel: Wheel, *, python: str) -> Layer:
    """The wheel's files that are compiled; raises BadInput when the wheel is unfit."""
    for_any, for_this = source_keys(wheel, python=python)
    found = find(workshop.store, for_any) or find(workshop.store, for_this)
    if found:
        return found
    whole = opened(workshop, wheel)

    def write(file: IO[bytes]) -> WrittenLayer:
        wanted = (one for one in entries(whole, python=python) if is_source(one))
        return splice(pieces(arranged(wanted)), file.write)

    key = for_this if depends_on_python(whole) else for_any
    words = f"sources: {wheel.name} {wheel.version}"
    return make(workshop.store, key, write, workshop.say, words=words)


def source_keys(wheel: Wheel, *, python: str) -> tuple[LayerKey, LayerKey]:
    """The keys under which they may be: the one for any Python, and for this."""
    for_any = LayerKey(kind="sources", source=wheel.sha256)
    return for_any, replace(for_any, python=python)


def is_source(entry: LayerEntry) -> bool:
    """Whether an install compiles it: a `.py` in the library, but in no folder of byte code."""
    inner = entry.path.removeprefix(f"{LIBRARY}/")
    is_in = inner != entry.path and "__pycache__" not in inner.split("/")
    return is_in and inner.endswith(".py") and entry.content is not None


def is_empty(part: Layer) -> bool:
    return part.unpacked <= _EMPTY


def part_entries(store: Store, part: Layer, *, owner: str) -> Iterator[LayerEntry]:
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
                yield folder(member.name, owner=owner)
            else:
                text = archive.extractfile(member).read()
                yield LayerEntry(path=member.name, mode=member.mode, content=text, owner=owner)
