"""Evidence on disk: what was run, on which digest, device and host, with which verdicts.

One JSON file for each image digest, with one record for each device and set of checks; what checks
proved on a machine without an engine is in a file for each family. A damaged file is worth nothing
but harms nobody: the checks are run again. docs/evidence.md tells it field by field.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.checks.discover import OWN
from dlimg.checks.evidence_json import evidence_of, evidence_record
from dlimg.checks.verdicts import GPU, NO_DEVICE
from dlimg.host.local_state import file_lock, state_folder
from dlimg.matrix.renamed_checks import current_name
from dlimg.model import Check, CheckStatus, Evidence, Verdict

FOLDER: Final = "last"
LAST_RUN_FORMAT: Final = 2
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
class LastRun:
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


def read_last_run(folder: Path, cell_id: str, *, log: Callable[[str], None]) -> LastRun | None:
    """The note on this cell's last evidence, or none."""
    path = _path(folder, cell_id)
    try:
        return _last(json.loads(path.read_text(encoding="utf-8")), cell_id)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DAMAGED as error:
        log(f"warning: {path} cannot be used ({error}); no check is missed by it")
        return None


def write_last_run(folder: Path, evidence: Evidence, sets: CheckSets) -> None:
    """Note this evidence as the last one of its cell, and the checks of these folders.

    What other folders had stays as long as they are there. Raises OSError.
    """
    before = read_last_run(folder, evidence.cell, log=_silent)  # a damaged one is written anew
    known = before.sets if before else {}
    kept = {name: one for name, one in known.items() if name not in sets and Path(name).is_dir()}
    found = {
        name: CheckSet(day=evidence.day, checks=tuple(sorted(checks)), gone=evidence.vanished)
        for name, checks in sets.items()
    }
    last = LastRun(cell=evidence.cell, day=evidence.day, digest=evidence.digest, sets=kept | found)
    if last != before:
        atomic_write(_path(folder, evidence.cell), _text(last))


def report_missing_checks(
    last: LastRun | None, sets: CheckSets, *, log: Callable[[str], None]
) -> tuple[str, ...]:
    """The checks that these folders had at the cell's last evidence and have no more.

    Each is told of.
    """
    here = _names(sets)
    gone: dict[str, str] = {}
    for one in _same_sets(last, sets):
        gone |= {name: one.day for name in one.checks if name not in here}
    for name, day in gone.items():
        log(f"{last.cell if last else ''}  check {name} was there on {day} and is gone")
    return tuple(gone)


def missing_before(last: LastRun | None, sets: CheckSets) -> tuple[str, ...]:
    """The checks that these folders lacked already when the cell was last tested with them."""
    here = _names(sets)
    noted = [one.gone for one in _same_sets(last, sets)]
    return tuple(dict.fromkeys(name for names in noted for name in names if name not in here))


def _same_sets(last: LastRun | None, sets: CheckSets) -> list[CheckSet]:
    return [last.sets[name] for name in sets if last and name in last.sets]


def _silent(_: str) -> None:
    pass


def _names(sets: CheckSets) -> set[str]:
    return {name for names in sets.values() for name in names}


def _path(folder: Path, cell_id: str) -> Path:
    return folder / FOLDER / f"{cell_id}.json"


def _text(last: LastRun) -> str:
    sets = {
        name: {"day": one.day, "checks": list(one.checks), "gone": list(one.gone)}
        for name, one in sorted(last.sets.items())
    }
    content = {
        "format": LAST_RUN_FORMAT,
        "cell": last.cell,
        "day": last.day,
        "digest": last.digest,
        "sets": sets,
    }
    return json.dumps(content, indent=2) + "\n"


def _last(content: Mapping[str, Any], cell_id: str) -> LastRun:
    if content["format"] not in {LAST_RUN_FORMAT, _WITHOUT_SETS} or content["cell"] != cell_id:
        raise ValueError("it is of another format or another cell")
    sets = content["sets"] if content["format"] == LAST_RUN_FORMAT else {}
    if not all(isinstance(content[name], str) for name in ("day", "digest")):
        raise TypeError("it holds something else than texts")
    found = {str(name): _set(one) for name, one in sets.items()}
    return LastRun(cell=cell_id, day=content["day"], digest=content["digest"], sets=found)


def _set(content: Mapping[str, Any]) -> CheckSet:
    day, checks, gone = content["day"], content["checks"], content["gone"]
    if not (isinstance(checks, list) and isinstance(gone, list)):
        raise TypeError("it holds something else than lists")
    if not all(isinstance(text, str) for text in (day, *checks, *gone)):
        raise TypeError("it holds something else than texts")
    names, former = (tuple(map(current_name, texts)) for texts in (checks, gone))
    return CheckSet(day=day, checks=tuple(sorted(names)), gone=former)


FORMAT: Final = 2
# Records of one image on one device: each change of a check begins another one.
MOST_RECORDS: Final = 8
NO_SETS: Final[CheckSets] = MappingProxyType({})
MEDIA_TYPE: Final = "application/vnd.dlimg.evidence.v1+json"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
# JSON that is nested too deeply ends in a RecursionError.
_DAMAGED_EVIDENCE: Final = (OSError, ValueError, RecursionError)


def evidence_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/dlimg/evidence`, by default under `~/.local/state`."""
    return state_folder(environment) / "evidence"


def read_evidence(
    folder: Path, digest: str, *, log: Callable[[str], None], bare: str = ""
) -> tuple[Evidence, ...]:
    """What is known about a digest, for each device and set of checks, the latest last.

    A damaged file is told of. With `bare` and no digest: what is known of that family on this
    machine.
    """
    path = _path_evidence(folder, digest, bare)
    try:
        return parse_evidence(path.read_text(encoding="utf-8"), digest)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except _DAMAGED_EVIDENCE as error:
        log(f"warning: {path} cannot be used ({error}); the checks are run again")
        return ()


def write_evidence(
    folder: Path,
    evidence: Evidence,
    *,
    log: Callable[[str], None],
    sets: CheckSets | None = NO_SETS,
) -> None:
    """Put this evidence in the place of any other for its digest, device and set of checks.

    It is noted as the last one of its cell, too, with the checks that each folder had; without
    `sets` it is not, as for an image that was built elsewhere. Each file is whole or not there at
    all, whatever interrupts. Where they cannot be written that is told of, and the checks will be
    run again.
    """
    path = _path_evidence(folder, evidence.digest, evidence.bare)
    try:
        # Another dlimg may be adding what it saw on another device.
        with file_lock(folder / ".lock", doing="noting evidence", log=log):
            known = read_evidence(folder, evidence.digest, log=log, bare=evidence.bare)
            atomic_write(path, evidence_text(_with(known, evidence)))
            if sets is not None:
                write_last_run(folder, evidence, sets)
    except OSError as error:
        _log_not_kept(folder, error, log)


def record_last_run(
    folder: Path, evidence: Evidence, *, log: Callable[[str], None], sets: CheckSets | None
) -> None:
    """Note that a cell was tested with these checks, where nothing new came of it."""
    if sets is None:
        return
    try:
        with file_lock(folder / ".lock", doing="noting evidence", log=log):
            write_last_run(folder, evidence, sets)
    except OSError as error:
        _log_not_kept(folder, error, log)


def _with(known: Sequence[Evidence], evidence: Evidence) -> tuple[Evidence, ...]:
    """The records with this one, those of the device bounded in number, the oldest dropped."""
    checks = checks_of(evidence)
    others = [one for one in known if one.device != evidence.device or checks_of(one) != checks]
    mine = [one for one in others if one.device == evidence.device]
    dropped = mine[: max(0, len(mine) + 1 - MOST_RECORDS)]
    return (*(one for one in others if one not in dropped), evidence)


def _log_not_kept(folder: Path, error: OSError, log: Callable[[str], None]) -> None:
    reason = error.strerror or error
    log(f"warning: verdicts cannot be kept in {folder} ({reason}); they count this once")


def checks_of(evidence: Evidence) -> frozenset[tuple[str, str]]:
    """The set of checks that evidence is of: the name and sha256 of each."""
    return frozenset((verdict.check, verdict.sha256) for verdict in evidence.verdicts)


def closest_record(
    known: Sequence[Evidence], checks: frozenset[tuple[str, str]], device: str
) -> Evidence | None:
    """The device's record of this very set of checks, or else the latest with most of them."""
    mine = [one for one in known if one.device == device]
    exact = [one for one in mine if checks_of(one) == checks]
    ranked = exact or sorted(mine, key=lambda one: len(checks_of(one) & checks))
    return ranked[-1] if ranked else None


def covering_records(
    known: Sequence[Evidence], checks: frozenset[tuple[str, str]]
) -> tuple[Evidence, ...]:
    """What is known of all of these checks, and of no other: one value for each device.

    A record of more checks, such as another user's own, counts with the verdicts of these alone.
    """
    found: list[Evidence] = []
    for device in dict.fromkeys(one.device for one in known):
        near = closest_record(known, checks, device)
        if near is None or not checks <= checks_of(near):
            continue
        verdicts = tuple(one for one in near.verdicts if (one.check, one.sha256) in checks)
        found.append(near if verdicts == near.verdicts else replace(near, verdicts=verdicts))
    return tuple(found)


def last_evidence(
    folder: Path, cell_id: str, *, log: Callable[[str], None]
) -> tuple[Evidence, ...]:
    """What was last seen on each device of the image that a cell's checks were last run in.

    The newest comes first.
    """
    last = read_last_run(folder, cell_id, log=log)
    found = read_evidence(folder, last.digest, log=log) if last and last.digest else ()
    mine = {one.device: one for one in found if one.cell == cell_id}
    return tuple(sorted(mine.values(), key=lambda one: one.day, reverse=True))


def reusable_verdict(evidence: Sequence[Evidence], check: Check, device: str) -> Verdict | None:
    """The verdict that still holds for this script on this device, or none.

    A pass holds. A check that lacked a GPU would lack it again while none is given. A failure,
    and anything else that was not run, is tried again. A device's name does not log which GPU it
    is: with a GPU the caller has to see whether it is the one that the evidence tells of.
    """
    for one in evidence:
        for verdict in one.verdicts:
            is_same = (verdict.check, verdict.sha256) == (check.name, check.sha256)
            if is_same and one.device == device and _holds(verdict, device):
                return verdict
    return None


def parse_evidence(text: str, digest: str) -> tuple[Evidence, ...]:
    """The records of a file. Raises ValueError for one that is not ours."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("it is of another format")
    if content.get("digest") != digest:
        raise ValueError("it is about another image")
    records = content.get("devices")
    if not isinstance(records, list):
        raise ValueError("`devices` is no list")  # noqa: TRY004 -- damaged text, no wrong call
    return tuple(evidence_of(record, digest) for record in records)


def evidence_text(evidence: Sequence[Evidence]) -> str:
    """The file for one digest: what `parse_evidence` reads."""
    devices = [evidence_record(one) for one in evidence]
    content = {"format": FORMAT, "digest": evidence[0].digest, "devices": devices}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def evidence_document(evidence: Evidence) -> str:
    """One device's evidence for an image as it is published beside it: `parse_document` reads it.

    dlimg/checks/evidence.schema.json describes it. The same evidence gives the same text.
    """
    content = {"mediaType": MEDIA_TYPE, "digest": evidence.digest, **evidence_record(evidence)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def parse_document(text: str) -> Evidence:
    """The evidence of a published document; raises ValueError for anything else.

    Keys that it does not know are passed over: a later dlimg may write more of them.
    """
    try:
        content = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict) or content.get("mediaType") != MEDIA_TYPE:
        raise ValueError(f"it is no {MEDIA_TYPE}")
    digest, day = content.get("digest"), content.get("day")
    if not isinstance(digest, str) or not (_DIGEST.fullmatch(digest) or not digest):
        raise ValueError("`digest` is no digest")
    if not isinstance(day, str) or not _DAY.fullmatch(day):
        raise ValueError("`day` is no day")
    found = evidence_of(content, digest)
    if bool(digest) == bool(found.bare):
        raise ValueError("it is either about a digest or bare")
    return found


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _path_evidence(folder: Path, digest: str, bare: str) -> Path:
    return folder / (f"bare-{bare}.json" if bare else f"{digest.removeprefix('sha256:')}.json")


def _holds(verdict: Verdict, device: str) -> bool:
    match verdict.status:
        case CheckStatus.PASSED:
            return True
        case CheckStatus.NOT_RUN:
            return GPU in verdict.needs and device == NO_DEVICE
        case CheckStatus.FAILED:
            return False
