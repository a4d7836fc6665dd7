"""The last evidence of each cell, whatever its digest, and which checks each folder of them had.

A check that nobody runs any more proves nothing, and nobody misses it: so it is missed here. A
project's checks are compared with those that the same folder had, and a user's own with his: what
another clone on this machine runs is its own affair. `last/<cell id>.json` is a note beside the
evidence; a damaged one is told of and written anew.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dlimg.proof import Evidence
from dlimg.smoke.sources import OWN
from dlimg.whole import write_whole

FOLDER: Final = "last"
FORMAT: Final = 2
# Before it noted folders: then it says which image was tested, and no check is missed by it.
_WITHOUT_SETS: Final = 1

_DAMAGED: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)

# The names of the checks that a cell has from each folder, by the folder's path.
CheckSets = Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSet:
    """The checks that a folder had on that day; `gone` are those that it had before."""

    day: str
    checks: tuple[str, ...]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """When a cell was last tested and on which image, and its checks by the folder they lie in."""

    cell: str
    day: str
    digest: str
    sets: Mapping[str, CheckSet]


def check_sets(
    names: Iterable[str], scripts: Mapping[str, bytes], images: Path, own: Path | None
) -> CheckSets:
    """These checks by the folder that they come from: the project's `images`, or a user's own."""
    mine = {PurePosixPath(path).stem for path in scripts if path.startswith(f"{OWN}/")}
    chosen = sorted(names)
    sets = {str(images.resolve()): tuple(name for name in chosen if name not in mine)}
    if own is not None:
        sets[str(own.resolve())] = tuple(name for name in chosen if name in mine)
    return sets


def read_last(folder: Path, cell_id: str, *, say: Callable[[str], None]) -> Last | None:
    """The note on this cell's last evidence, or none."""
    path = _path(folder, cell_id)
    try:
        return _last(json.loads(path.read_text(encoding="utf-8")), cell_id)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DAMAGED as error:
        say(f"warning: {path} cannot be used ({error}); no check is missed by it")
        return None


def write_last(folder: Path, evidence: Evidence, sets: CheckSets) -> None:
    """Note this evidence as the last one of its cell, and the checks of these folders.

    What other folders had stays as long as they are there. Raises OSError.
    """
    before = read_last(folder, evidence.cell, say=_silent)  # a damaged one is written anew
    known = before.sets if before else {}
    kept = {name: one for name, one in known.items() if name not in sets and Path(name).is_dir()}
    found = {
        name: CheckSet(day=evidence.day, checks=tuple(sorted(checks)), gone=evidence.vanished)
        for name, checks in sets.items()
    }
    last = Last(cell=evidence.cell, day=evidence.day, digest=evidence.digest, sets=kept | found)
    if last != before:
        write_whole(_path(folder, evidence.cell), _text(last))


def vanished(last: Last | None, sets: CheckSets, *, say: Callable[[str], None]) -> tuple[str, ...]:
    """The checks that these folders had at the cell's last evidence and have no more.

    Each is told of.
    """
    here = _names(sets)
    gone: dict[str, str] = {}
    for one in _same_sets(last, sets):
        gone |= {name: one.day for name in one.checks if name not in here}
    for name, day in gone.items():
        say(f"{last.cell if last else ''}  check {name} was there on {day} and is gone")
    return tuple(gone)


def gone_before(last: Last | None, sets: CheckSets) -> tuple[str, ...]:
    """The checks that these folders lacked already when the cell was last tested with them."""
    here = _names(sets)
    noted = [one.gone for one in _same_sets(last, sets)]
    return tuple(dict.fromkeys(name for names in noted for name in names if name not in here))


def _same_sets(last: Last | None, sets: CheckSets) -> list[CheckSet]:
    return [last.sets[name] for name in sets if last and name in last.sets]


def _silent(_: str) -> None:
    pass


def _names(sets: CheckSets) -> set[str]:
    return {name for names in sets.values() for name in names}


def _path(folder: Path, cell_id: str) -> Path:
    return folder / FOLDER / f"{cell_id}.json"


def _text(last: Last) -> str:
    sets = {
        name: {"day": one.day, "checks": list(one.checks), "gone": list(one.gone)}
        for name, one in sorted(last.sets.items())
    }
    content = {
        "format": FORMAT,
        "cell": last.cell,
        "day": last.day,
        "digest": last.digest,
        "sets": sets,
    }
    return json.dumps(content, indent=2) + "\n"


def _last(content: Mapping[str, Any], cell_id: str) -> Last:
    if content["format"] not in {FORMAT, _WITHOUT_SETS} or content["cell"] != cell_id:
        raise ValueError("it is of another format or another cell")
    sets = content["sets"] if content["format"] == FORMAT else {}
    if not all(isinstance(content[name], str) for name in ("day", "digest")):
        raise TypeError("it holds something else than texts")
    found = {str(name): _set(one) for name, one in sets.items()}
    return Last(cell=cell_id, day=content["day"], digest=content["digest"], sets=found)


def _set(content: Mapping[str, Any]) -> CheckSet:
    day, checks, gone = content["day"], content["checks"], content["gone"]
    if not (isinstance(checks, list) and isinstance(gone, list)):
        raise TypeError("it holds something else than lists")
    if not all(isinstance(text, str) for text in (day, *checks, *gone)):
        raise TypeError("it holds something else than texts")
    return CheckSet(day=day, checks=tuple(sorted(checks)), gone=tuple(gone))
