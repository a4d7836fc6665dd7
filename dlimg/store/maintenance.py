"""Upkeep of a store: what is in it, what of that is damaged, and away with what nobody uses."""

import fcntl
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
from dlimg.model import Wheel
from dlimg.store.images import remove_broken_records
from dlimg.store.keys import Layer, LayerKey, entry_description
from dlimg.store.store import Store, content_lock, find_layer, list_layers
from dlimg.store.systems import load_system


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """A layer that is in the store: `words` says what it is, where whoever made it said so."""

    key: LayerKey
    layer: Layer
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedLayer:
    """A layer that was not what its entry said; `words` as of one that is held."""

    key: LayerKey
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """How many layers were removed, and how many bytes came free in all."""

    layers: int
    size: int


def _nothing() -> int:
    return 0


@contextmanager
def hold_store(store: Store) -> Iterator[None]:
    """Inside, what is found in the store stays there: `prune` refuses meanwhile."""
    with _open_lock(_use_lock(store)) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def list_entries(store: Store) -> tuple[StoreEntry, ...]:
    """All that is in the store and whole, by key."""
    return tuple(
        StoreEntry(key=key, layer=layer, words=_description(store, key))
        for key, layer in list_layers(store)
    )


def verify_store(store: Store) -> tuple[DamagedLayer, ...]:
    """What was damaged, by key, after all bytes were read; it is removed, to be made again.

    Raises Negative where that cannot be removed.
    """
    keys = sorted(_entry_keys(store), key=str)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        found = [
            key
            for key, right in zip(keys, pool.map(_checker(store), keys), strict=True)
            if not right
        ]
    return tuple(_remove_layer(store, key) for key in found)


@contextmanager
def reading_layers(store: Store, layers: Sequence[Layer]) -> Iterator[None]:
    """Inside, somebody reads these layers; where they were damaged, Negative says so instead.

    What was damaged is named, and removed.
    """
    try:
        yield
    except (Negative, FileNotFoundError, BadGzipFile, EOFError, zlib.error) as error:
        damaged = _discard_damaged(store, layers)
        if not damaged:
            raise
        raise Negative(
            f"damaged in the store: {', '.join(damaged)}",
            where=str(store.path),
            hint="what was damaged is removed: repeat this, and it is made again",
        ) from error


def prune_layers(
    store: Store, used: Collection[LayerKey], beside: Callable[[], int] = _nothing
) -> PruneResult:
    """Removes layers but the used ones, and whatever else nothing needs.

    `beside` removes what is no layer, and says how many bytes that were. What another process is
    writing stays. Raises Negative while one is `using` the store.
    """
    with _exclusive(store), content_lock(store, fcntl.LOCK_EX):
        gone = [key for key in _entry_keys(store) if key not in used]
        freed = sum(remove_file(store.entry(key)) for key in gone)
        kept = {store.blob(layer) for _, layer in list_layers(store)}
        freed += sum(remove_file(path) for path in list_files(store.blobs) if path not in kept)
        freed += sum(remove_file(path) for path in _other_formats(store))
        freed += sum(remove_file(path) for path in _abandoned_files(store)) + beside()
    return PruneResult(layers=len(gone), size=freed)


def is_unlocked(path: Path) -> bool:
    """Whether no process holds a lock on this file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _exclusive(store: Store) -> Iterator[None]:
    with _use_lock(store).open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Negative(
                "another dlimg is at work with these layers",
                where=str(store.path),
                hint="wait until it is done, then run it again",
            ) from None
        yield


def _use_lock(store: Store) -> Path:
    store.path.mkdir(parents=True, exist_ok=True)
    return store.path / "use"


def _open_lock(lock: Path) -> IO[str]:
    try:
        return lock.open("w", encoding="ascii")
    except OSError:
        return lock.open(encoding="ascii")  # of a store that one may only read


def _checker(store: Store) -> Callable[[LayerKey], bool]:
    def right(key: LayerKey) -> bool:
        layer = find_layer(store, key)
        return layer is not None and _is_undamaged(store, layer)

    return right


def _is_undamaged(store: Store, layer: Layer) -> bool:
    try:
        return _digest(store.blob(layer)) == layer.digest
    except OSError:
        return False


def _discard_damaged(store: Store, layers: Iterable[Layer]) -> list[str]:
    """What those of these layers are that were damaged, by all their bytes; they are removed.

    So are entries whose layer has another size, or is gone: they may be of this image, too.
    """
    damaged = {layer for layer in layers if not _is_undamaged(store, layer)}
    if not damaged:
        return []
    found = [(key, find_layer(store, key)) for key in _entry_keys(store)]
    keys = [key for key, layer in found if layer is None or layer in damaged]
    gone = [_remove_layer(store, key) for key in keys]
    return [f"{one.key.kind} {one.words}".strip() for one in gone]


def _remove_layer(store: Store, key: LayerKey) -> DamagedLayer:
    damaged = DamagedLayer(key=key, words=_description(store, key))
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
    """Every key of this format that has an entry, whole or not; an entry with no key goes."""
    keys = []
    for path in list_files(store.index):
        key = LayerKey.parse(path.stem)
        if key is None:
            path.unlink(missing_ok=True)
        else:
            keys.append(key)
    return keys


def _other_formats(store: Store) -> list[Path]:
    folders = [path for path in store.index.parent.glob("*") if path != store.index]
    return [file for folder in folders for file in list_files(folder)]


def _abandoned_files(store: Store) -> list[Path]:
    """Files in `making` and `turns` that no process holds any more."""
    files = [*list_files(store.making), *list_files(store.path / "turns")]
    return [path for path in files if is_unlocked(path)]


def remove_file(path: Path) -> int:
    """The bytes of a file that is gone now."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


def list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedWheels:
    """The folder with wheels that were fetched, and those of them that are to stay."""

    folder: Path
    wanted: Collection[Wheel]


def prune_store(store: Store, used: Collection[LayerKey], fetched: FetchedWheels) -> PruneResult:
    """Removes layers but the used ones, and then what only they needed. Raises as `prune`."""

    def beside() -> int:
        return (
            remove_broken_records(store)
            + sum(map(remove_file, _broken_system_records(store)))
            + _remove_wheels(fetched)
        )

    return prune_layers(store, used, beside)


def _broken_system_records(store: Store) -> Iterator[Path]:
    """Records of systems whose layers are gone, and of what this dlimg does not read."""
    for path in list_files(store.path / "systems"):
        if load_system(store, path.stem) is None or path.suffix != ".json":
            yield path


def _remove_wheels(fetched: FetchedWheels) -> int:
    """Bytes of wheels, whole and half, that nobody wants; what is being fetched stays."""
    names = {wheel.file for wheel in fetched.wanted}
    halves = {wheel.sha256 for wheel in fetched.wanted}
    freed = 0
    for path in list_files(fetched.folder):
        turn = path.with_suffix(".turn")
        if path.name in names or (path.stem in halves and path.suffix == ".half"):
            continue
        if not turn.exists() or is_unlocked(turn):
            freed += remove_file(path)
    return freed
