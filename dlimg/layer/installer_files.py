"""What an installer adds to a wheel's files: INSTALLER, REQUESTED, commands and RECORD.

They depend on the cell and not on the wheel alone, so they are no part of the wheel's layer.
"""

from collections.abc import Iterator
from typing import Final

from dlimg.layer.entries import EXECUTABLE, PLAIN, LayerEntry
from dlimg.layer.wheel_entries import (
    ENVIRONMENT,
    LIBRARY,
    PlacedMember,
    commands,
    launcher,
    placed,
    script_content,
)
from dlimg.wheel.metadata import OpenWheel
from dlimg.wheel.record import RecordRow, matched, parse_record, record_text, row

INSTALLER: Final = b"uv"


def own_entries(wheel: OpenWheel, *, python: str, requested: bool) -> Iterator[LayerEntry]:
    """The files, as uv writes them; `requested` when it was asked for by name.

    uv calls everything requested that stands in the requirements it is given, and a cell's
    Dockerfile gives it the whole lock.
    """
    folder = wheel.information
    written = {"INSTALLER": INSTALLER, **({"REQUESTED": b""} if requested else {})}
    rows = _rows(wheel, python, requested=requested)
    for name, content in written.items():
        rows.append(row(f"{folder}/{name}", content))
        yield _entry(wheel, f"{LIBRARY}/{folder}/{name}", PLAIN, content)
    launchers = {}
    for command in commands(wheel.text("entry_points.txt"), python=python, file=wheel.file):
        launchers[command.name] = launcher(command)
        rows.append(row(f"../../../bin/{command.name}", launchers[command.name]))
    for name, content in launchers.items():
        yield _entry(wheel, f"{ENVIRONMENT}/bin/{name}", EXECUTABLE, content)
    text = record_text(rows)
    yield _entry(wheel, f"{LIBRARY}/{folder}/RECORD", _record_mode(wheel), text.encode())


def _record_mode(wheel: OpenWheel) -> int:
    """An executable RECORD stays so: uv writes into the one that it has unpacked."""
    own = wheel.member(f"{wheel.information}/RECORD")
    return EXECUTABLE if own and own.executable else PLAIN


def _rows(wheel: OpenWheel, python: str, *, requested: bool) -> list[RecordRow]:
    """The wheel's own rows, with the paths and contents that its files have in the image."""
    sizes = {member.path: member.size for member in wheel.archive.members if not member.folder}
    if not requested:
        sizes.pop(f"{wheel.information}/REQUESTED", None)
    rows = matched(parse_record(wheel.text("RECORD"), file=wheel.file), sizes)
    for one in placed(wheel, python=python):
        if one.recorded != one.member.path and not one.member.folder:
            rows[one.member.path] = _moved(wheel, one, rows[one.member.path])
    return list(rows.values())


def _moved(wheel: OpenWheel, one: PlacedMember, old: RecordRow) -> RecordRow:
    content = script_content(wheel, one)
    if content is None:
        return RecordRow(one.recorded, old.identity, old.size)
    return row(one.recorded, content)


def _entry(wheel: OpenWheel, path: str, mode: int, content: bytes) -> LayerEntry:
    return LayerEntry(path=path, mode=mode, content=content, owner=wheel.file)
