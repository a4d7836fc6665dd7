"""Wheels that `dlimg wheel` built, kept by their sha256, each with a record of what built it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context

RECORD: Final = "wheel.json"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelRecord:
    """A built wheel: the source distribution, the system and the Python that made it.

    `system` is the suite that a wheel with compiled parts is for, such as `bookworm`; empty for a
    wheel that fits every system. `base` is the identity of the system's base, `packages` are its
    distribution packages.
    """

    file: str
    sha256: str
    name: str
    version: str
    source: str
    source_sha256: str
    index: str
    system: str
    base: str
    python: str
    packages: tuple[str, ...]
    dlimg: str


def built_folders(context: Context) -> tuple[Path, ...]:
    """Return the folders of built wheels, one each."""
    return tuple(path.parent for path in sorted(_root(context).glob(f"*/{RECORD}")))


def built_files(context: Context) -> frozenset[tuple[str, str]]:
    """Return the file names of the built wheels, each with its sha256."""
    return frozenset((record.file, record.sha256) for _, record in records(context))


def keep_wheel(record: WheelRecord, wheel: Path, context: Context) -> Path:
    """Move a wheel to its folder, write its record beside it, and return the wheel's path."""
    folder = _root(context) / record.sha256
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / record.file
    target.write_bytes(wheel.read_bytes())
    values = {"schema": SCHEMA, **asdict(record)}
    atomic_write(folder / RECORD, f"{json.dumps(values, indent=2)}\n")
    return target


def records(context: Context) -> Iterator[tuple[Path, WheelRecord]]:
    """Yield the path of each built wheel with its record; damaged records are left out."""
    for folder in built_folders(context):
        record = _read(folder / RECORD)
        if record and (folder / record.file).is_file():
            yield folder / record.file, record


def fits_system(folder: Path, system: str) -> bool:
    """Return whether a folder's wheels are for this system; any folder without a record is."""
    record = _read(folder / RECORD)
    return record is None or record.system in {"", system}


def _root(context: Context) -> Path:
    return context.state / "wheels"


def _read(path: Path) -> WheelRecord | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values.pop("schema")
        return WheelRecord(**{**values, "packages": tuple(values["packages"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
