"""The last evidence of each cell, whatever its digest: which checks it had, and what it said.

A check that nobody runs any more proves nothing, and nobody misses it: so it is missed here.
`last/<cell id>.json` is a note beside the evidence; a damaged one is told of and written anew.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.proof import Evidence
from dlimg.whole import write_whole

FOLDER: Final = "last"
FORMAT: Final = 1

_DAMAGED: Final = (OSError, ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """When a cell's checks were last run, on which image, and their names."""

    cell: str
    day: str
    digest: str
    checks: tuple[str, ...]


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


def write_last(folder: Path, evidence: Evidence) -> None:
    """Note this evidence as the last one of its cell; raises OSError."""
    content = {
        "format": FORMAT,
        "cell": evidence.cell,
        "day": evidence.day,
        "digest": evidence.digest,
        "checks": sorted(verdict.check for verdict in evidence.verdicts),
    }
    write_whole(_path(folder, evidence.cell), json.dumps(content, indent=2) + "\n")


def vanished(
    folder: Path, cell_id: str, names: Collection[str], *, say: Callable[[str], None]
) -> tuple[str, ...]:
    """The checks of the cell's last evidence that are not among these names; each is told of."""
    before = read_last(folder, cell_id, say=say)
    if before is None:
        return ()
    gone = tuple(name for name in before.checks if name not in names)
    for name in gone:
        say(f"{cell_id}  check {name} was there on {before.day} and is gone")
    return gone


def _path(folder: Path, cell_id: str) -> Path:
    return folder / FOLDER / f"{cell_id}.json"


def _last(content: Mapping[str, Any], cell_id: str) -> Last:
    if content["format"] != FORMAT or content["cell"] != cell_id:
        raise ValueError("it is of another format or another cell")
    checks = content["checks"]
    texts = (content["day"], content["digest"], *checks)
    if not isinstance(checks, list) or not all(isinstance(text, str) for text in texts):
        raise TypeError("it holds something else than texts")
    return Last(
        cell=cell_id, day=content["day"], digest=content["digest"], checks=tuple(sorted(checks))
    )
