"""Evidence on disk, and the record of each cell's last run.

There is one JSON file for each image digest, with a record for each device and set of checks, and
one for each family whose checks ran on a host without an engine. A damaged file only makes the
checks run again. docs/evidence.md describes every field.
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
from dlimg.checks.evidence_json import (
    SCHEMA,
    current_cell,
    evidence_of,
    evidence_record,
    former_cell,
    schema_of,
)
from dlimg.checks.verdicts import GPU, NO_DEVICE
from dlimg.context import Context, no_log
from dlimg.host.file_lock import file_lock
from dlimg.image_files import ImageFiles
from dlimg.matrix.former_names import current_name
from dlimg.model import Check, CheckStatus, Evidence, Verdict

# The names of a cell's checks from each folder, by the folder's path.
CheckSets = Mapping[str, Collection[str]]

MEDIA_TYPE: Final = "application/vnd.dlimg.evidence.v1+json"
# The number of older versions, which can read today's files, too. For one release.
FORMAT: Final = 2
# Records kept of one image on one device: each change of a check adds one.
MOST_RECORDS: Final = 8
NO_SETS: Final[CheckSets] = MappingProxyType({})
LAST_RUN_FOLDER: Final = "last"
# Records of the last run in this format do not name folders, so no check is missing by them.
_LAST_RUN_WITHOUT_SETS: Final = 1
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
# Deeply nested JSON ends in a RecursionError.
_DAMAGED: Final = (OSError, ValueError, RecursionError)
_DAMAGED_LAST_RUN: Final = (*_DAMAGED, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSet:
    """The checks of a folder at a run; `gone` are checks that it had had before."""

    day: str
    checks: tuple[str, ...]
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """A cell's last run: the day, the image's digest, and the checks by their folder."""

    cell: str
    day: str
    digest: str
    sets: Mapping[str, CheckSet]


def evidence_folder(context: Context) -> Path:
    """Return `$XDG_STATE_HOME/dlimg/evidence`, by default under `~/.local/state`."""
    return context.state / "evidence"


def read_evidence(
    folder: Path, digest: str, *, log: Callable[[str], None], on_host: str = ""
) -> tuple[Evidence, ...]:
    """Return all evidence of a digest, or of a family on this host; the latest comes last.

    Logs a damaged file and returns nothing.
    """
    path = _evidence_path(folder, digest, on_host)
    if on_host and not path.exists():
        path = folder / f"{former_cell(path.stem)}.json"  # written before schema 3
    try:
        return parse_evidence(path.read_text(encoding="utf-8"), digest)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except _DAMAGED as error:
        log(f"warning: {path} cannot be used ({error}); the checks are run again")
        return ()


def write_evidence(
    folder: Path,
    evidence: Evidence,
    *,
    log: Callable[[str], None],
    sets: CheckSets | None = NO_SETS,
) -> None:
    """Write this evidence in place of any other for its digest, device and set of checks.

    It is also recorded as its cell's last run with the checks of each folder, unless `sets` is
    None, as for an image that was built elsewhere. Files are written atomically. Logs when they
    cannot be written; the checks are then run again.
    """
    path = _evidence_path(folder, evidence.digest, evidence.on_host)
    try:
        # Another process may be adding evidence of another device.
        with file_lock(folder / ".lock", doing="writing evidence", log=log):
            records = read_evidence(folder, evidence.digest, log=log, on_host=evidence.on_host)
            atomic_write(path, evidence_text(_merge(records, evidence)))
            if sets is not None:
                write_last_run(folder, evidence, sets)
    except OSError as error:
        _log_not_written(folder, error, log)


def _merge(records: Sequence[Evidence], evidence: Evidence) -> tuple[Evidence, ...]:
    """Return the records with this one added; the device's oldest records are dropped."""
    checks = checks_of(evidence)
    others = [
        record
        for record in records
        if record.device != evidence.device or checks_of(record) != checks
    ]
    same_device = [record for record in others if record.device == evidence.device]
    dropped = same_device[: max(0, len(same_device) + 1 - MOST_RECORDS)]
    return (*(record for record in others if record not in dropped), evidence)


def _log_not_written(folder: Path, error: OSError, log: Callable[[str], None]) -> None:
    reason = error.strerror or error
    log(f"warning: verdicts cannot be written to {folder} ({reason}); they count only this time")


def checks_of(evidence: Evidence) -> frozenset[tuple[str, str]]:
    """Return the name and sha256 of each check that the evidence has a verdict of."""
    return frozenset((verdict.check, verdict.sha256) for verdict in evidence.verdicts)


def closest_record(
    records: Sequence[Evidence], checks: frozenset[tuple[str, str]], device: str
) -> Evidence | None:
    """Return the device's record of these checks, or else the one with most of them."""
    same_device = [record for record in records if record.device == device]
    exact = [record for record in same_device if checks_of(record) == checks]
    ranked = exact or sorted(same_device, key=lambda record: len(checks_of(record) & checks))
    return ranked[-1] if ranked else None


def covering_records(
    records: Sequence[Evidence], checks: frozenset[tuple[str, str]]
) -> tuple[Evidence, ...]:
    """Return a record for each device that has all of these checks, without its other verdicts.

    The others are, for example, another user's own checks.
    """
    covering: list[Evidence] = []
    for device in dict.fromkeys(record.device for record in records):
        closest = closest_record(records, checks, device)
        if closest is None or not checks <= checks_of(closest):
            continue
        verdicts = tuple(
            verdict for verdict in closest.verdicts if (verdict.check, verdict.sha256) in checks
        )
        is_exact = verdicts == closest.verdicts
        covering.append(closest if is_exact else replace(closest, verdicts=verdicts))
    return tuple(covering)


def reusable_verdict(evidence: Sequence[Evidence], check: Check, device: str) -> Verdict | None:
    """Return the verdict that still holds for this script on this device, or None.

    A pass holds. A check that lacked a GPU would lack it again while none is given. Failures, and
    checks that were not run for other reasons, are run again. A device's name does not identify
    its GPU: the caller has to compare it.
    """
    for record in evidence:
        for verdict in record.verdicts:
            is_same = (verdict.check, verdict.sha256) == (check.name, check.sha256)
            if is_same and record.device == device and _holds(verdict, device):
                return verdict
    return None


def _holds(verdict: Verdict, device: str) -> bool:
    match verdict.status:
        case CheckStatus.PASSED:
            return True
        case CheckStatus.NOT_RUN:
            return GPU in verdict.needs and device == NO_DEVICE
        case CheckStatus.FAILED:
            return False


def parse_evidence(text: str, digest: str) -> tuple[Evidence, ...]:
    """Return the records of a file; raises ValueError for an invalid one."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 -- a damaged file, no bug
    if not {"schema", "format"} & content.keys():
        raise ValueError("it has no `schema`")
    schema = schema_of(content)
    if content.get("digest") != digest:
        raise ValueError("it is about another image")
    records = content.get("devices")
    if not isinstance(records, list):
        raise ValueError("`devices` is not a list")  # noqa: TRY004 -- the same
    return tuple(evidence_of(record, digest, schema) for record in records)


def evidence_text(evidence: Sequence[Evidence]) -> str:
    """Return the text of the file for one digest; `parse_evidence` reads it."""
    content = {
        "schema": SCHEMA,
        "format": FORMAT,
        "digest": evidence[0].digest,
        "devices": [evidence_record(record) for record in evidence],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def evidence_document(evidence: Evidence) -> str:
    """Return one device's evidence as the document that is attached to a published image.

    `evidence.schema.json` describes it. The same evidence gives the same text.
    """
    content = {
        "mediaType": MEDIA_TYPE,
        "schema": SCHEMA,
        "digest": evidence.digest,
        **evidence_record(evidence),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def parse_document(text: str) -> Evidence:
    """Return the evidence of a published document; raises ValueError for an invalid one.

    Unknown keys are ignored: a later dlimg may add some.
    """
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict) or content.get("mediaType") != MEDIA_TYPE:
        raise ValueError(f"it is not of the type {MEDIA_TYPE}")
    digest, day = content.get("digest"), content.get("day")
    if not isinstance(digest, str) or not (_DIGEST.fullmatch(digest) or not digest):
        raise ValueError("`digest` is not a digest")
    if not isinstance(day, str) or not _DAY.fullmatch(day):
        raise ValueError("`day` is not a day")
    evidence = evidence_of(content, digest, schema_of(content))
    if bool(digest) == bool(evidence.on_host):
        raise ValueError("it has neither or both of `digest` and `on_host`")
    return evidence


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _evidence_path(folder: Path, digest: str, on_host: str) -> Path:
    return folder / (
        f"host-{on_host}.json" if on_host else f"{digest.removeprefix('sha256:')}.json"
    )


def group_by_folder(
    names: Iterable[str], scripts: Mapping[str, bytes], images: ImageFiles, own_checks: Path | None
) -> CheckSets:
    """Return the names by their folder: the project's `images`, or the user's own checks."""
    own_names = {PurePosixPath(path).stem for path in scripts if path.startswith(f"{OWN}/")}
    ordered = sorted(names)
    sets = {
        str(images.folders[0].resolve()): tuple(name for name in ordered if name not in own_names)
    }
    if own_checks is not None:
        sets[str(own_checks.resolve())] = tuple(name for name in ordered if name in own_names)
    return sets


def read_last_run(folder: Path, cell_id: str, *, log: Callable[[str], None]) -> LastRun | None:
    """Return the record of this cell's last run, or None; logs a damaged one."""
    path = _last_run_path(folder, cell_id)
    if not path.exists():
        path = _last_run_path(folder, former_cell(cell_id))
    try:
        return _parse_last_run(json.loads(path.read_text(encoding="utf-8")), cell_id)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _DAMAGED_LAST_RUN as error:
        log(f"warning: {path} cannot be used ({error}); missing checks are not reported")
        return None


def write_last_run(folder: Path, evidence: Evidence, sets: CheckSets) -> None:
    """Record this evidence as its cell's last run, with the checks of these folders.

    The checks of other folders stay recorded while those exist. Raises OSError.
    """
    before = read_last_run(folder, evidence.cell, log=no_log)  # a damaged one is replaced
    earlier_sets = before.sets if before else {}
    other_sets = {
        name: check_set
        for name, check_set in earlier_sets.items()
        if name not in sets and Path(name).is_dir()
    }
    current = {
        name: CheckSet(day=evidence.day, checks=tuple(sorted(checks)), gone=evidence.vanished)
        for name, checks in sets.items()
    }
    last_run = LastRun(
        cell=evidence.cell, day=evidence.day, digest=evidence.digest, sets=other_sets | current
    )
    if last_run != before:
        atomic_write(_last_run_path(folder, evidence.cell), _last_run_text(last_run))


def record_last_run(
    folder: Path, evidence: Evidence, *, log: Callable[[str], None], sets: CheckSets | None
) -> None:
    """Record a run that gave no new verdicts; does nothing if `sets` is None."""
    if sets is None:
        return
    try:
        with file_lock(folder / ".lock", doing="writing evidence", log=log):
            write_last_run(folder, evidence, sets)
    except OSError as error:
        _log_not_written(folder, error, log)


def last_evidence(
    folder: Path, cell_id: str, *, log: Callable[[str], None]
) -> tuple[Evidence, ...]:
    """Return the latest evidence on each device of the image of a cell's last run, newest first."""
    last_run = read_last_run(folder, cell_id, log=log)
    records = (
        read_evidence(folder, last_run.digest, log=log) if last_run and last_run.digest else ()
    )
    by_device = {record.device: record for record in records if record.cell == cell_id}
    return tuple(sorted(by_device.values(), key=lambda record: record.day, reverse=True))


def report_missing_checks(
    last_run: LastRun | None, sets: CheckSets, *, log: Callable[[str], None]
) -> tuple[str, ...]:
    """Return and log the checks that these folders had at the cell's last run and lack now."""
    current = _names(sets)
    missing: dict[str, str] = {}
    for check_set in _recorded_sets(last_run, sets):
        missing |= {name: check_set.day for name in check_set.checks if name not in current}
    cell = last_run.cell if last_run else ""
    for name, day in missing.items():
        log(f"{cell}  check {name} was there on {day} and is gone")
    return tuple(missing)


def missing_before(last_run: LastRun | None, sets: CheckSets) -> tuple[str, ...]:
    """Return the checks that were missing from these folders at the cell's last run already."""
    current = _names(sets)
    recorded = [check_set.gone for check_set in _recorded_sets(last_run, sets)]
    return tuple(dict.fromkeys(name for names in recorded for name in names if name not in current))


def _recorded_sets(last_run: LastRun | None, sets: CheckSets) -> list[CheckSet]:
    return [last_run.sets[name] for name in sets if last_run and name in last_run.sets]


def _names(sets: CheckSets) -> set[str]:
    return {name for names in sets.values() for name in names}


def _last_run_path(folder: Path, cell_id: str) -> Path:
    return folder / LAST_RUN_FOLDER / f"{cell_id}.json"


def _last_run_text(last_run: LastRun) -> str:
    sets = {
        name: {
            "day": check_set.day,
            "checks": list(check_set.checks),
            "gone": list(check_set.gone),
        }
        for name, check_set in sorted(last_run.sets.items())
    }
    content = {
        "schema": SCHEMA,
        "format": FORMAT,
        "cell": last_run.cell,
        "day": last_run.day,
        "digest": last_run.digest,
        "sets": sets,
    }
    return json.dumps(content, indent=2) + "\n"


def _parse_last_run(content: Mapping[str, Any], cell_id: str) -> LastRun:
    if content.get("format") == _LAST_RUN_WITHOUT_SETS:
        schema, sets = FORMAT, {}
    else:
        schema, sets = schema_of(content), content["sets"]
    if current_cell(content["cell"]) != cell_id:
        raise ValueError("it is about another cell")
    if not all(isinstance(content[name], str) for name in ("day", "digest")):
        raise TypeError("it holds other values than texts")
    parsed = {str(name): _parse_set(value, schema=schema) for name, value in sets.items()}
    return LastRun(cell=cell_id, day=content["day"], digest=content["digest"], sets=parsed)


def _parse_set(content: Mapping[str, Any], *, schema: int) -> CheckSet:
    day, checks, gone = content["day"], content["checks"], content["gone"]
    if not (isinstance(checks, list) and isinstance(gone, list)):
        raise TypeError("it holds other values than lists")
    if not all(isinstance(text, str) for text in (day, *checks, *gone)):
        raise TypeError("it holds other values than texts")
    if schema < SCHEMA:
        checks, gone = ([current_name(name) for name in names] for names in (checks, gone))
    return CheckSet(day=day, checks=tuple(sorted(checks)), gone=tuple(gone))
