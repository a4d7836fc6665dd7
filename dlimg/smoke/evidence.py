"""Evidence on disk: what was run, on which digest and device, with which verdicts.

One JSON file for each image digest, with one record for each device. A damaged file is worth
nothing but harms nobody: the checks are run again.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dlimg.engine.folders import state_folder
from dlimg.model import Check, Evidence, Status, Verdict
from dlimg.smoke.verdicts import GPU, NO_DEVICE

FORMAT: Final = 1
# JSON that is nested too deeply ends in a RecursionError.
_DAMAGED: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


def evidence_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/dlimg/evidence`, by default under `~/.local/state`."""
    return state_folder(environment) / "evidence"


def read_evidence(folder: Path, digest: str, *, say: Callable[[str], None]) -> tuple[Evidence, ...]:
    """What is known about a digest, one value for each device; a damaged file is told of."""
    path = _path(folder, digest)
    try:
        return parse_evidence(path.read_text(encoding="utf-8"), digest)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except _DAMAGED as error:
        say(f"warning: {path} cannot be used ({error}); the checks are run again")
        return ()


def write_evidence(folder: Path, evidence: Evidence, *, say: Callable[[str], None]) -> None:
    """Put this evidence in the place of any other for its digest and device.

    The file is whole or not there at all, whatever interrupts. Where it cannot be written that
    is told of, and the checks will be run again.
    """
    others = read_evidence(folder, evidence.digest, say=say)
    kept = [one for one in others if one.device != evidence.device]
    text = evidence_text([*kept, evidence])
    try:
        _replace(_path(folder, evidence.digest), text)
    except OSError as error:
        reason = error.strerror or error
        say(f"warning: verdicts cannot be kept in {folder} ({reason}); they count this once")


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


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
    """The records of a file. Raises ValueError, KeyError or TypeError for one that is not ours."""
    content = json.loads(text)
    if content["format"] != FORMAT or content["digest"] != digest:
        raise ValueError("it is of another format or another image")
    return tuple(_evidence(record, digest) for record in content["devices"])


def evidence_text(evidence: Sequence[Evidence]) -> str:
    """The file for one digest: what `parse_evidence` reads."""
    devices = [
        {
            "device": one.device,
            "cell": one.cell,
            "day": one.day,
            "dlimg": one.dlimg,
            "engine": one.engine,
            "verdicts": [_record(verdict) for verdict in one.verdicts],
        }
        for one in evidence
    ]
    content = {"format": FORMAT, "digest": evidence[0].digest, "devices": devices}
    return json.dumps(content, indent=2) + "\n"


def _path(folder: Path, digest: str) -> Path:
    return folder / f"{digest.removeprefix('sha256:')}.json"


def _holds(verdict: Verdict, device: str) -> bool:
    match verdict.status:
        case Status.PASSED:
            return True
        case Status.NOT_RUN:
            return GPU in verdict.needs and device == NO_DEVICE
        case Status.FAILED:
            return False


def _record(verdict: Verdict) -> dict[str, object]:
    return {
        "check": verdict.check,
        "sha256": verdict.sha256,
        "status": str(verdict.status),
        "reason": verdict.reason,
        "seconds": verdict.seconds,
        "required": verdict.required,
        "figures": dict(verdict.figures),
        "output": verdict.output,
        "needs": sorted(verdict.needs),
    }


def _evidence(record: Mapping[str, Any], digest: str) -> Evidence:
    return Evidence(
        digest=digest,
        cell=str(record["cell"]),
        device=str(record["device"]),
        day=str(record["day"]),
        dlimg=str(record["dlimg"]),
        engine=str(record["engine"]),
        verdicts=tuple(_verdict(one) for one in record["verdicts"]),
    )


def _verdict(record: Mapping[str, Any]) -> Verdict:
    return Verdict(
        check=str(record["check"]),
        sha256=str(record["sha256"]),
        status=Status(record["status"]),
        reason=str(record["reason"]),
        seconds=float(record["seconds"]),
        required=bool(record["required"]),
        figures=dict(record["figures"]),
        output=str(record["output"]),
        needs=frozenset(str(need) for need in record["needs"]),
    )
