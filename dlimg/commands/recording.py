"""`build --record`: what was built, written down for `build --verify`."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dlimg.commands.printing import say
from dlimg.errors import BadInput, Problem
from dlimg.layers.kept import kept
from dlimg.layers.recorded import Record, record_of, records_text
from dlimg.layers.store import Store
from dlimg.model import Built
from dlimg.report.line import Line
from dlimg.report.table import counted
from dlimg.whole import write_whole

_ELSEWHERE: Final = "name a file in another folder"


def check_record(path: Path) -> None:
    """Nothing; BadInput for a file that could not be written, which is known before a build."""
    try:
        if path.exists() and not path.is_file():
            raise BadInput("a record is to be a file", where=str(path), hint="name another one")
        folder = next(one for one in path.absolute().parents if one.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise BadInput(message, where=str(path), hint=_ELSEWHERE) from error


def write_record(path: Path, lines: Sequence[Line], store: Store) -> None:
    """The images that were built or present, into a file; nothing unless that is all of them.

    Raises BadInput when one was not assembled here, or the file cannot be written.
    """
    built = [one.result for one in lines if isinstance(one.result, Built)]
    if len(built) < len(lines):
        say(f"nothing is recorded in {path}: not every image was built")
        return
    problems: list[Problem] = []
    records = dict(_records(built, store, problems))
    if problems:
        raise BadInput.of(problems)
    try:
        write_whole(path, records_text(records))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", where=str(path)) from error
    say(f"{counted(len(records), 'image')} recorded in {path}")


def _records(
    built: Sequence[Built], store: Store, problems: list[Problem]
) -> Iterator[tuple[str, Record]]:
    for one in built:
        cell, image = one.planned.image.cell.id, kept(store, one.digest)
        if image:
            yield cell, record_of(one.planned.key, image)
        else:
            hint = "build it with `--builder layers` first"
            message = "was not assembled with this store: there is nothing to record"
            problems.append(Problem(message=message, where=cell, hint=hint))
