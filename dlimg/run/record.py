"""Records of runs: one small JSON file each, in the user's folder for state."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.run.model import CodeState, Fingerprint, RunData, RunName, RunRecord
from dlimg.run.names import parse_run

FOLDER: Final = "runs"
_FIELDS: Final = tuple(field.name for field in fields(RunRecord))


def runs_folder(context: Context) -> Path:
    return context.state / FOLDER


def take_number(name: str, used: int, context: Context) -> RunName:
    """Return the next free number of this name, above `used`, and create its empty record.

    The file is opened exclusively, so that two commands at once get two numbers.
    """
    folder = runs_folder(context) / name
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal())
    number = max(used, *numbers, 0) + 1
    while True:
        try:
            (folder / f"{number}.json").touch(exist_ok=False)
        except FileExistsError:
            number += 1
            continue
        return RunName(name=name, number=number)


def record_file(run: RunName, context: Context) -> Path:
    return runs_folder(context) / run.name / f"{run.number}.json"


def write_record(record: RunRecord, context: Context) -> None:
    text = json.dumps({"schema": 1, **asdict(record)}, indent=2) + "\n"
    atomic_write(record_file(record.run, context), text, mode=0o600)


def drop_record(run: RunName, context: Context) -> None:
    record_file(run, context).unlink(missing_ok=True)


def read_records(context: Context) -> tuple[RunRecord, ...]:
    """Return all records, the oldest first; files that cannot be read are left out and logged."""
    records = []
    for path in runs_folder(context).glob("*/*.json"):
        record = _read(path, context)
        if record is not None:
            records.append(record)
    return tuple(sorted(records, key=lambda record: (record.created, str(record.run))))


def find_record(text: str, context: Context) -> RunRecord:
    """Return the record of `hello:3`, or of the last run of `hello`. Raises BadInput."""
    records = read_records(context)
    record = last_of(text, records)
    if record is None:
        names = {str(record.run) for record in records}
        hint = nearest(text, names) if names else "`dlimg run` starts one"
        raise BadInput(f"there is no run {text!r}", hint=f"{hint} (`dlimg ps` lists runs)")
    return record


def last_of(text: str, records: Iterable[RunRecord]) -> RunRecord | None:
    """Return the run `hello:3` of these, or the last one of `hello`; None if there is none."""
    run = parse_run(text)
    matching = (r for r in records if (r.run == run if run else r.run.name == text))
    return max(matching, key=lambda record: record.run.number, default=None)


def _read(path: Path, context: Context) -> RunRecord | None:
    try:
        text = path.read_text(encoding="utf-8")
        return _from_json(json.loads(text)) if text else None  # empty while a run is being made
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        context.log(f"{path}: not the record of a run, and left out: {error}")
        return None


def _from_json(document: Mapping[str, Any]) -> RunRecord:
    changed = {
        "run": RunName(**document["run"]),
        "code": CodeState(**document["code"]),
        "data": tuple(_data(entry) for entry in document["data"]),
        **{name: tuple(document[name]) for name in ("command", "secrets", "remarks")},
    }
    return RunRecord(**{name: document[name] for name in _FIELDS if name in document} | changed)


def _data(entry: Mapping[str, Any]) -> RunData:
    values = entry["fingerprint"]
    fingerprint = Fingerprint(**values) if values else None
    return RunData(**{**entry, "fingerprint": fingerprint})
