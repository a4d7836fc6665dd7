"""Evidence on disk: what was run, on which digest, device and host, with which verdicts.

One JSON file for each image digest, with one record for each device; what checks proved on a
machine without an engine is in a file for each family. A damaged file is worth nothing but harms
nobody: the checks are run again. docs/evidence.md tells it field by field.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.engine.folders import state_folder
from dlimg.engine.turns import alone
from dlimg.proof import Check, Evidence, Status, Verdict
from dlimg.smoke.last import read_last, write_last
from dlimg.smoke.records import evidence_of, evidence_record
from dlimg.smoke.verdicts import GPU, NO_DEVICE
from dlimg.whole import write_whole

FORMAT: Final = 2
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
    """What is known about a digest, one value for each device; a damaged file is told of.

    With `bare` and no digest: what is known of that family on this machine.
    """
    path = _path(folder, digest, bare)
    try:
        return parse_evidence(path.read_text(encoding="utf-8"), digest)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except _DAMAGED as error:
        say(f"warning: {path} cannot be used ({error}); the checks are run again")
        return ()


def write_evidence(folder: Path, evidence: Evidence, *, say: Callable[[str], None]) -> None:
    """Put this evidence in the place of any other for its digest and device.

    Its checks are noted as the last ones of its cell, too. Each file is whole or not there at
    all, whatever interrupts. Where they cannot be written that is told of, and the checks will
    be run again.
    """
    path = _path(folder, evidence.digest, evidence.bare)
    try:
        # Another dlimg may be adding what it saw on another device.
        with alone(folder / ".lock", doing="noting evidence", say=say):
            others = read_evidence(folder, evidence.digest, say=say, bare=evidence.bare)
            kept = [one for one in others if one.device != evidence.device]
            write_whole(path, evidence_text([*kept, evidence]))
            write_last(folder, evidence)
    except OSError as error:
        reason = error.strerror or error
        say(f"warning: verdicts cannot be kept in {folder} ({reason}); they count this once")


def last_evidence(
    folder: Path, cell_id: str, *, say: Callable[[str], None]
) -> tuple[Evidence, ...]:
    """What is known about the image that a cell's checks were last run in, newest first."""
    last = read_last(folder, cell_id, say=say)
    found = read_evidence(folder, last.digest, say=say) if last and last.digest else ()
    mine = (one for one in found if one.cell == cell_id)
    return tuple(sorted(mine, key=lambda one: one.day, reverse=True))


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
