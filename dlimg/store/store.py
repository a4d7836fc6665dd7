"""The layer store, a folder: layers are found by key, made once, and visible only when complete.

    blobs/sha256/<hex>         the layers, under their digests
    index/<format>/<key>.json  the layer of each key; other formats have other folders
    making/                    files being written; a lock on a file shows that it still is
    turns/                     a lock file for each key, so that two processes do not make one layer

A layer is in the store once its index entry is, which is written last. Before that it is a file in
`making`, or a blob without an entry, which `dlimg.store.maintenance` removes.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from dlimg.atomic_write import read_now
from dlimg.context import Context
from dlimg.errors import Negative
from dlimg.host.file_lock import file_lock
from dlimg.host.flock import EXCLUSIVE, SHARED, flock
from dlimg.layer.compress import FORMAT, WrittenLayer
from dlimg.store.keys import Layer, LayerKey, format_entry, parse_entry

Writer = Callable[[IO[bytes]], WrittenLayer]

DISK_FULL_HINT: Final = (
    "free some with `dlimg store prune`, or set XDG_CACHE_HOME to a folder elsewhere"
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

    @property
    def locks(self) -> Path:
        return self.path / "turns"

    def blob(self, layer: Layer) -> Path:
        """The path of the layer's file."""
        return self.blobs / layer.digest.removeprefix("sha256:")

    def entry(self, key: LayerKey) -> Path:
        """The path of the key's index entry."""
        return self.index / f"{key}.json"


def layer_store(context: Context) -> Store:
    """Return the user's store, which need not exist yet."""
    return Store(path=context.cache / "layers")


def find_layer(store: Store, key: LayerKey) -> Layer | None:
    """Return the layer if the store has it in its full size (`verify_store` reads its bytes)."""
    try:
        layer = parse_entry(read_now(store.entry(key)), key)
        has_blob = layer is not None and store.blob(layer).stat().st_size == layer.size
    except (OSError, UnicodeDecodeError):
        return None
    return layer if has_blob else None


def make_layer(
    store: Store,
    key: LayerKey,
    write: Writer,
    log: Callable[[str], None],
    *,
    description: str = "",
) -> Layer:
    """Return the layer, written now if the store lacks it; `description` is for users.

    Raises Negative when the disk refuses. Nothing is left of a layer that was not finished.
    """
    try:
        with file_lock(store.locks / str(key), doing=f"making layer {key}", log=log):
            return find_layer(store, key) or _write_layer(store, key, write, description)
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()} {error.filename or ''}".strip()
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Negative(
            f"layer {key} cannot be made: {reason}",
            where=str(store.path),
            hint=DISK_FULL_HINT if is_full else "",
        ) from error


def list_layers(store: Store) -> tuple[tuple[LayerKey, Layer], ...]:
    """Return all layers that `find_layer` finds, by key."""
    keys = (LayerKey.parse(path.stem) for path in sorted(store.index.glob("*.json")))
    pairs = ((key, find_layer(store, key)) for key in keys if key)
    return tuple((key, layer) for key, layer in pairs if layer)


def _write_layer(store: Store, key: LayerKey, write: Writer, description: str) -> Layer:
    for folder in (store.making, store.blobs, store.index):
        folder.mkdir(parents=True, exist_ok=True)
    with _temporary_file(store) as file:
        written = write(file)
        _flush(file)
        layer = Layer(
            digest=written.digest,
            size=written.size,
            diff_id=written.diff_id,
            unpacked=written.unpacked,
            compression=key.compression,
        )
        with content_lock(store, SHARED):
            Path(file.name).replace(store.blob(layer))
            _sync_folder(store.blobs)
            with _temporary_file(store) as entry:
                entry.write(format_entry(key, layer, description).encode())
                _flush(entry)
                Path(entry.name).replace(store.entry(key))
            _sync_folder(store.index)
    return layer


@contextmanager
def _temporary_file(store: Store) -> Iterator[IO[bytes]]:
    """Open a locked file that is removed afterwards unless it was renamed."""
    with content_lock(store, SHARED):  # or `prune_layers` would take it for abandoned
        file = tempfile.NamedTemporaryFile(dir=store.making, delete=False)  # noqa: SIM115
        flock(file, EXCLUSIVE)
    with file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def content_lock(store: Store, kind: int) -> Iterator[None]:
    """Hold the lock of the store's content: shared to add to it, exclusive to remove from it."""
    store.path.mkdir(parents=True, exist_ok=True)
    with (store.path / "lock").open("w", encoding="ascii") as lock:
        flock(lock, kind)
        yield


def _flush(file: IO[bytes]) -> None:
    """Write all content to the disk, and let the user's other processes read it."""
    file.flush()
    os.fchmod(file.fileno(), 0o644)
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
