"""Evidence on disk: what was run, on which digest, device and host, with which verdicts.

One JSON file for each image digest, with one record for each device and set of checks; what checks
proved on a machine without an engine is in a file for each family. A damaged file is worth nothing
but harms nobody: the checks are run again. docs/evidence.md tells it field by field.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.engine.folders import state_folder
from dlimg.engine.turns import alone
from dlimg.proof import Check, Evidence, Status, Verdict
from dlimg.smoke.last import CheckSets, read_last, write_last
from dlimg.smoke.records import evidence_of, evidence_record
from dlimg.smoke.verdicts import GPU, NO_DEVICE
from dlimg.whole import write_whole

FORMAT: Final = 2
# Records of one image on one device: each change of a check begins another one.
MOST_RECORDS: Final = 8
NO_SETS: Final[CheckSets] = MappingProxyType({})
MEDIA_TYPE: Final = "application/vnd.dlimg.evidence.v1+json"

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
# JSON that is nested too deeply ends in a RecursionError.
_DAMAGED: Final = (OSError, ValueError, RecursionError)


def evidence_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/dlimg/evidence`, by default under `~/.local/state`."""
    return state_folder(environment) / "evidence"


def read_evidence(
    folder: Path, digest: str, *, say: Callable[[str], None], bare: str = ""
) -> tuple[Evidence, ...]:
    """What is known about a digest, for each device and set of checks, the latest last.

    A damaged file is told of. With `bare` and no digest: what is known of that family on this
    machine.
    """
    path = _path(folder, digest, bare)
    try:
        return parse_evidence(path.read_text(encoding="utf-8"), digest)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except _DAMAGED as error:
        say(f"warning: {path} cannot be used ({error}); the checks are run again")
        return ()


def write_evidence(
    folder: Path,
    evidence: Evidence,
    *,
    say: Callable[[str], None],
    sets: CheckSets | None = NO_SETS,
) -> None:
    """Put this evidence in the place of any other for its digest, device and set of checks.

    It is noted as the last one of its cell, too, with the checks that each folder had; without
    `sets` it is not, as for an image that was built elsewhere. Each file is whole or not there at
    all, whatever interrupts. Where they cannot be written that is told of, and the checks will be
    run again.
    """
    path = _path(folder, evidence.digest, evidence.bare)
    try:
        # Another dlimg may be adding what it saw on another device.
        with alone(folder / ".lock", doing="noting evidence", say=say):
            known = read_evidence(folder, evidence.digest, say=say, bare=evidence.bare)
            write_whole(path, evidence_text(_with(known, evidence)))
            if sets is not None:
                write_last(folder, evidence, sets)
    except OSError as error:
        _say_not_kept(folder, error, say)


def note_last(
    folder: Path, evidence: Evidence, *, say: Callable[[str], None], sets: CheckSets | None
) -> None:
    """Note that a cell was tested with these checks, where nothing new came of it."""
    if sets is None:
        return
    try:
        with alone(folder / ".lock", doing="noting evidence", say=say):
            write_last(folder, evidence, sets)
    except OSError as error:
        _say_not_kept(folder, error, say)


def _with(known: Sequence[Evidence], evidence: Evidence) -> tuple[Evidence, ...]:
    """The records with this one, those of the device bounded in number, the oldest dropped."""
    checks = checks_of(evidence)
    others = [one for one in known if one.device != evidence.device or checks_of(one) != checks]
    mine = [one for one in others if one.device == evidence.device]
    dropped = mine[: max(0, len(mine) + 1 - MOST_RECORDS)]
    return (*(one for one in others if one not in dropped), evidence)


def _say_not_kept(folder: Path, error: OSError, say: Callable[[str], None]) -> None:
    reason = error.strerror or error
    say(f"warning: verdicts cannot be kept in {folder} ({reason}); they count this once")


def checks_of(evidence: Evidence) -> frozenset[tuple[str, str]]:
    """The set of checks that evidence is of: the name and sha256 of each."""
    return frozenset((verdict.check, verdict.sha256) for verdict in evidence.verdicts)


def nearest(
    known: Sequence[Evidence], checks: frozenset[tuple[str, str]], device: str
) -> Evidence | None:
    """The device's record of this very set of checks, or else the latest with most of them."""
    mine = [one for one in known if one.device == device]
    exact = [one for one in mine if checks_of(one) == checks]
    ranked = exact or sorted(mine, key=lambda one: len(checks_of(one) & checks))
    return ranked[-1] if ranked else None


def covering(known: Sequence[Evidence], checks: frozenset[tuple[str, str]]) -> tuple[Evidence, ...]:
    """What is known of all of these checks, and of no other: one value for each device.

    A record of more checks, such as another user's own, counts with the verdicts of these alone.
    """
    found: list[Evidence] = []
    for device in dict.fromkeys(one.device for one in known):
        near = nearest(known, checks, device)
        if near is None or not checks <= checks_of(near):
            continue
        verdicts = tuple(one for one in near.verdicts if (one.check, one.sha256) in checks)
        found.append(near if verdicts == near.verdicts else replace(near, verdicts=verdicts))
    return tuple(found)


def last_evidence(
    folder: Path, cell_id: str, *, say: Callable[[str], None]
) -> tuple[Evidence, ...]:
    """What was last seen on each device of the image that a cell's checks were last run in.

    The newest comes first.
    """
    last = read_last(folder, cell_id, say=say)
    found = read_evidence(folder, last.digest, say=say) if last and last.digest else ()
    mine = {one.device: one for one in found if one.cell == cell_id}
    return tuple(sorted(mine.values(), key=lambda one: one.day, reverse=True))


def reusable(evidence: Sequence[Evidence], check: Check, device: str) -> Verdict | None:
    """The verdict that still holds for this script on this device, or none.

    A pass holds. A check that lacked a GPU would lack it again while none is given. A failure,
    and anything else that was not run, is tried again. A device's name does not say which GPU it
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

    dlimg/smoke/evidence.schema.json describes it. The same evidence gives the same text.
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


def _path(folder: Path, digest: str, bare: str) -> Path:
    return folder / (f"bare-{bare}.json" if bare else f"{digest.removeprefix('sha256:')}.json")


def _holds(verdict: Verdict, device: str) -> bool:
    match verdict.status:
        case Status.PASSED:
            return True
        case Status.NOT_RUN:
            return GPU in verdict.needs and device == NO_DEVICE
        case Status.FAILED:
            return False
