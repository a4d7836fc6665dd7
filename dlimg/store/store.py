"""Layers kept in a folder: by what they are made from, found, made once, checked and removed.

    blobs/sha256/<hex>         the layers, under their digests
    index/<format>/<key>.json  what was made from what; other formats are other folders
    making/                    what is being written; a lock on a file says that it still is
    turns/                     one lock for each key, so that two processes do not make one layer

A layer is in the store from the moment that its index entry is, and that comes last: whatever
happens before leaves something in `making`, or a blob that nothing names, which upkeep removes.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from dlimg.atomic_write import read_now
from dlimg.errors import Negative
from dlimg.host.local_state import cache_folder, file_lock
from dlimg.layer.compress import FORMAT, WrittenLayer
from dlimg.store.keys import Layer, LayerKey, format_entry, parse_entry

Writer = Callable[[IO[bytes]], WrittenLayer]

DISK_FULL_HINT: Final = (
    "free some with `dlimg layers prune`, or set XDG_CACHE_HOME to a folder elsewhere"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The folder of a store."""

    path: Path

    @property
    def blobs(self) -> Path:
        return self.path / "blobs/sha256"

    @property
    def index(self) -> Path:
        return self.path / "index" / str(FORMAT)

    @property
    def making(self) -> Path:
        return self.path / "making"

    def blob(self, layer: Layer) -> Path:
        """Where the layer's bytes lie."""
        return self.blobs / layer.digest.removeprefix("sha256:")

    def entry(self, key: LayerKey) -> Path:
        return self.index / f"{key}.json"

    def turn(self, key: LayerKey) -> Path:
        return self.path / "turns" / str(key)


def layer_store(environment: Mapping[str, str]) -> Store:
    """The user's store; it need not be there yet."""
    return Store(path=cache_folder(environment) / "layers")


def find_layer(store: Store, key: LayerKey) -> Layer | None:
    """The layer, when it was made and all its bytes are there (`verify` looks at each of them)."""
    try:
        layer = parse_entry(read_now(store.entry(key)), key)
        whole = layer is not None and store.blob(layer).stat().st_size == layer.size
    except (OSError, UnicodeDecodeError):
        return None
    return layer if whole else None


def make_layer(
    store: Store, key: LayerKey, write: Writer, say: Callable[[str], None], *, words: str = ""
) -> Layer:
    """The layer, written now unless it is there; raises Negative when the disk does not take it.

    Nothing is left of a layer that could not be written. `words` says what it is, for people.
    """
    try:
        with file_lock(store.turn(key), doing=f"making layer {key}", say=say):
            return find_layer(store, key) or _write_layer(store, key, write, words)
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()} {error.filename or ''}".strip()
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Negative(
            f"layer {key} cannot be made: {reason}",
            where=str(store.path),
            hint=DISK_FULL_HINT if is_full else "",
        ) from error


def list_layers(store: Store) -> tuple[tuple[LayerKey, Layer], ...]:
    """All that is in the store and whole, by key."""
    keys = (LayerKey.parse(path.stem) for path in sorted(store.index.glob("*.json")))
    found = ((key, find_layer(store, key)) for key in keys if key)
    return tuple((key, layer) for key, layer in found if layer)


def _write_layer(store: Store, key: LayerKey, write: Writer, words: str) -> Layer:
    for folder in (store.making, store.blobs, store.index):
        folder.mkdir(parents=True, exist_ok=True)
    with _temporary(store) as file:
        spliced = write(file)
        _flush(file)
        layer = Layer(
            digest=spliced.digest,
            size=spliced.size,
            diff_id=spliced.diff_id,
            unpacked=spliced.unpacked,
            compression=key.compression,
        )
        with content_lock(store, fcntl.LOCK_SH):
            Path(file.name).replace(store.blob(layer))
            _sync_folder(store.blobs)
            with _temporary(store) as entry:
                entry.write(format_entry(key, layer, words).encode())
                _flush(entry)
                Path(entry.name).replace(store.entry(key))
            _sync_folder(store.index)
    return layer


@contextmanager
def _temporary(store: Store) -> Iterator[IO[bytes]]:
    """A locked file that is gone afterwards unless it was renamed."""
    with content_lock(store, fcntl.LOCK_SH):  # or `prune` would take it for a forgotten one
        file = tempfile.NamedTemporaryFile(dir=store.making, delete=False)  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
    with file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def content_lock(store: Store, kind: int) -> Iterator[None]:
    """Inside, what is put into the store and what is removed from it do not meet."""
    store.path.mkdir(parents=True, exist_ok=True)
    with (store.path / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, kind)
        yield


def _flush(file: IO[bytes]) -> None:
    """All that was written is on the disk, and may be read by the user's others."""
    file.flush()
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
