"""What lies beside layers, and goes when nobody needs it: records, and wheels that were fetched."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dlimg.layers.index import Key
from dlimg.layers.kept import forget_broken
from dlimg.layers.store import Store
from dlimg.layers.systems import kept
from dlimg.layers.upkeep import Freed, files_in, is_free, prune, removed
from dlimg.model import Wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The folder with wheels that were fetched, and those of them that are to stay."""

    folder: Path
    wanted: Collection[Wheel]


def prune_all(store: Store, used: Collection[Key], fetched: Fetched) -> Freed:
    """Removes layers but the used ones, and then what only they needed. Raises as `prune`."""

    def beside() -> int:
        return forget_broken(store) + sum(map(removed, _broken(store))) + _unfetch(fetched)

    return prune(store, used, beside)


def _broken(store: Store) -> Iterator[Path]:
    """Records of systems whose layers are gone, and of what this dlimg does not read."""
    for path in files_in(store.path / "systems"):
        if kept(store, path.stem) is None or path.suffix != ".json":
            yield path


def _unfetch(fetched: Fetched) -> int:
    """Bytes of wheels, whole and half, that nobody wants; what is being fetched stays."""
    names = {wheel.file for wheel in fetched.wanted}
    halves = {wheel.sha256 for wheel in fetched.wanted}
    freed = 0
    for path in files_in(fetched.folder):
        turn = path.with_suffix(".turn")
        if path.name in names or (path.stem in halves and path.suffix == ".half"):
            continue
        if not turn.exists() or is_free(turn):
            freed += removed(path)
    return freed
