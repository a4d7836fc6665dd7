"""`--report FILE`: what was seen, written for other programs once it is all known.

A file is refused before anything is built, and the one of an earlier walk is taken away then: so
a report that is there is of this walk, whatever interrupts it, and it is whole.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import say
from dlimg.errors import BadInput, Negative, Problem
from dlimg.report.github import github
from dlimg.report.junit import junit
from dlimg.results import ImageResult

FORMATS: Final[Mapping[str, Callable[[Sequence[ImageResult]], str] | None]] = MappingProxyType(
    {".json": None, ".md": github, ".xml": junit}
)


def prepare_reports(files: Sequence[str]) -> None:
    """Take away what an earlier walk has left under these names.

    Raises BadInput, with nothing taken away, for a suffix that says no format and for a file that
    could not be written.
    """
    problems = [
        Problem(message=message, where=f"--report {file}", hint=hint)
        for file in files
        for message, hint in [_complaint(Path(file))]
        if message
    ]
    if len(set(files)) != len(files):
        problems.append(Problem(message="a file is named twice", where="--report"))
    if problems:
        raise BadInput.of(problems)
    for file in files:
        Path(file).unlink(missing_ok=True)


def write_reports(files: Sequence[str], lines: Sequence[ImageResult], value: object) -> None:
    """Write each file in the format of its suffix; `value` is what is printed as JSON.

    Raises Negative for what cannot be written, after all others are.
    """
    problems: list[Problem] = []
    for file in files:
        path = Path(file)
        draw = FORMATS[path.suffix]
        text = draw(lines) if draw else f"{json.dumps(value, indent=2)}\n"
        try:
            atomic_write(path, text)
        except OSError as error:
            message = f"the report cannot be written: {error.strerror or error}"
            problems.append(Problem(message=message, where=file))
        else:
            say(f"report: {file}")
    if problems:
        raise Negative.of(problems)


def _complaint(path: Path) -> tuple[str, str]:
    """What is wrong with this file, and what would be right; empty texts when nothing is."""
    folder = path.parent
    if path.suffix not in FORMATS:
        known = "JUnit is .xml, GitHub's summary .md, all of it .json"
        return f"{path.suffix or 'no suffix'} says no format", known
    if not folder.is_dir():
        return f"there is no folder {folder}", "make it first"
    if path.is_dir():
        return "it is a folder", "name a file in it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing can be written to {folder}", "name another folder"
    return "", ""
