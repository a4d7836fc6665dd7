"""Maintenance of the layer store: listing it, verifying it, and removing what nothing uses."""

import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile
from hashlib import file_digest
from pathlib import Path
from typing import IO

from dlimg.atomic_write import read_now
from dlimg.errors import Negative
from dlimg.host.flock import EXCLUSIVE, NOW, SHARED, flock
from dlimg.model import Wheel
from dlimg.store.images import remove_broken_records
from dlimg.store.keys import Layer, LayerKey, entry_description
from dlimg.store.store import Store, content_lock, find_layer, list_layers
from dlimg.store.systems import load_system


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """A layer in the store; `description` may be empty."""

    key: LayerKey
    layer: Layer
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedLayer:
    """A layer that did not match its entry; `description` may be empty."""

    key: LayerKey
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """The number of removed layers, and the freed bytes of everything removed."""

    layers: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedWheels:
    """The folder of downloaded wheels, and the wheels to keep in it."""

    folder: Path
    wanted: Collection[Wheel]


def list_entries(store: Store) -> tuple[StoreEntry, ...]:
    """Return all layers in the store, by key."""
    return tuple(
        StoreEntry(key=key, layer=layer, description=_description(store, key))
        for key, layer in list_layers(store)
    )


def verify_store(store: Store) -> tuple[DamagedLayer, ...]:
    """Read every byte; remove and return the damaged layers, which are made again when needed.

    Raises Negative if one cannot be removed.
    """
    keys = sorted(_entry_keys(store), key=str)

    def is_undamaged(key: LayerKey) -> bool:
        layer = find_layer(store, key)
        return layer is not None and _is_undamaged(store, layer)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        verdicts = tuple(zip(keys, pool.map(is_undamaged, keys), strict=True))
    return tuple(_remove_layer(store, key) for key, undamaged in verdicts if not undamaged)


@contextmanager
def hold_store(store: Store) -> Iterator[None]:
    """Prevent the removal of layers: meanwhile `prune_layers` refuses to run."""
    with _open_lock(_use_lock(store)) as lock:
        flock(lock, SHARED)
        yield


@contextmanager
def reading_layers(store: Store, layers: Sequence[Layer]) -> Iterator[None]:
    """When these layers cannot be read, remove the damaged ones and raise Negative.

    The error names them.
    """
    try:
        yield
    except (Negative, FileNotFoundError, BadGzipFile, EOFError, zlib.error) as error:
        damaged = _remove_damaged(store, layers)
        if not damaged:
            raise
        raise Negative(
            f"damaged in the store: {', '.join(damaged)}",
            where=str(store.path),
            hint="the damaged layers were removed; run the command again to make them anew",
        ) from error


def prune_store(store: Store, used: Collection[LayerKey], fetched: FetchedWheels) -> PruneResult:
    """Remove unused layers, then records and wheels that only they needed; see `prune_layers`."""

    def remove_others() -> int:
        size = remove_broken_records(store) + _remove_wheels(fetched)
        return size + sum(map(remove_file, _broken_system_records(store)))

    return prune_layers(store, used, remove_others)


def prune_layers(
    store: Store, used: Collection[LayerKey], remove_others: Callable[[], int] = lambda: 0
) -> PruneResult:
    """Remove all layers but the used ones, and abandoned files; keep files being written.

    `remove_others` then removes other files and returns their bytes. Raises Negative while
    another process holds the store.
    """
    with _hold_alone(store), content_lock(store, EXCLUSIVE):
        unused = [key for key in _entry_keys(store) if key not in used]
        freed = sum(remove_file(store.entry(key)) for key in unused)
        blobs = {store.blob(layer) for _, layer in list_layers(store)}
        freed += sum(remove_file(path) for path in list_files(store.blobs) if path not in blobs)
        freed += sum(remove_file(path) for path in _entries_of_other_formats(store))
        freed += sum(remove_file(path) for path in _abandoned_files(store)) + remove_others()
    return PruneResult(layers=len(unused), size=freed)


def is_unlocked(path: Path) -> bool:
    """Return whether no process holds a lock on this file."""
    try:
        with path.open("rb") as file:
            flock(file, EXCLUSIVE | NOW)
    except OSError:
        return False
    return True


def remove_file(path: Path) -> int:
    """Remove the file and return its bytes, 0 if it is already gone."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


def list_files(folder: Path) -> list[Path]:
    """Return the files of a folder; empty if the folder does not exist."""
    return sorted(path for path in folder.glob("*") if path.is_file())


@contextmanager
def _hold_alone(store: Store) -> Iterator[None]:
    with _use_lock(store).open("w", encoding="ascii") as lock:
        try:
            flock(lock, EXCLUSIVE | NOW)
        except BlockingIOError:
            raise Negative(
                "another dlimg is using these layers",
                where=str(store.path),
                hint="wait until it has finished, then run this again",
            ) from None
        yield


def _use_lock(store: Store) -> Path:
    store.path.mkdir(parents=True, exist_ok=True)
    return store.path / "use"


def _open_lock(lock: Path) -> IO[str]:
    try:
        return lock.open("w", encoding="ascii")
    except OSError:
        return lock.open(encoding="ascii")  # of a read-only store


def _is_undamaged(store: Store, layer: Layer) -> bool:
    try:
        return _file_digest(store.blob(layer)) == layer.digest
    except OSError:
        return False


def _remove_damaged(store: Store, layers: Iterable[Layer]) -> list[str]:
    """Remove the damaged layers among these, and return them.

    Entries whose blob is missing or has another size are also removed: the layer may be one of
    these.
    """
    damaged = {layer for layer in layers if not _is_undamaged(store, layer)}
    if not damaged:
        return []
    entries = [(key, find_layer(store, key)) for key in _entry_keys(store)]
    keys = [key for key, layer in entries if layer is None or layer in damaged]
    removed = [_remove_layer(store, key) for key in keys]
    return [f"{layer.key.kind} {layer.description}".strip() for layer in removed]


def _remove_layer(store: Store, key: LayerKey) -> DamagedLayer:
    damaged = DamagedLayer(key=key, description=_description(store, key))
    layer = find_layer(store, key)
    try:
        store.entry(key).unlink(missing_ok=True)
        if layer is not None:
            store.blob(layer).unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"layer {key} is damaged, and cannot be removed: {reason}"
        raise Negative(message, where=str(store.path)) from error
    return damaged


def _description(store: Store, key: LayerKey) -> str:
    try:
        return entry_description(read_now(store.entry(key)))
    except (OSError, UnicodeDecodeError):
        return ""


def _entry_keys(store: Store) -> list[LayerKey]:
    """Return the keys of all entries, complete or not; remove files that are no entries."""
    keys = []
    for path in list_files(store.index):
        key = LayerKey.parse(path.stem)
        if key is None:
            path.unlink(missing_ok=True)
        else:
            keys.append(key)
    return keys


def _entries_of_other_formats(store: Store) -> list[Path]:
    folders = [path for path in store.index.parent.glob("*") if path != store.index]
    return [file for folder in folders for file in list_files(folder)]


def _abandoned_files(store: Store) -> list[Path]:
    """Return unfinished files and lock files that no process holds."""
    files = [*list_files(store.making), *list_files(store.locks)]
    return [path for path in files if is_unlocked(path)]


def _broken_system_records(store: Store) -> Iterator[Path]:
    """Yield records of systems without their layers, and other files beside them."""
    for path in list_files(store.path / "systems"):
        if load_system(store, path.stem) is None or path.suffix != ".json":
            yield path


def _remove_wheels(fetched: FetchedWheels) -> int:
    """Remove unwanted wheels, finished or not, but none being downloaded; return their bytes."""
    names = {wheel.file for wheel in fetched.wanted}
    hashes = {wheel.sha256 for wheel in fetched.wanted}
    freed = 0
    for path in list_files(fetched.folder):
        lock = path.with_suffix(".turn")
        if path.name in names or (path.stem in hashes and path.suffix == ".half"):
            continue
        if not lock.exists() or is_unlocked(lock):
            freed += remove_file(path)
    return freed


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
