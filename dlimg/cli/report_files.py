"""Report files for other programs: JUnit, GitHub summaries, JSON.

Before the first build, invalid file names are refused and the reports of an earlier run are
removed. So a report that exists is complete and of this run, even if the run is interrupted.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import with_schema
from dlimg.context import Log
from dlimg.errors import BadInput, Negative, Problem
from dlimg.report.github import github_summary
from dlimg.report.junit import junit_report
from dlimg.results import ImageResult

FORMATS: Final[Mapping[str, Callable[[Sequence[ImageResult]], str] | None]] = MappingProxyType(
    {".json": None, ".md": github_summary, ".xml": junit_report}
)


def prepare_reports(files: Sequence[str]) -> None:
    """Remove the reports that an earlier run has left under these names.

    Raises BadInput, and removes nothing, for a suffix without a format and for a file that could
    not be written.
    """
    problems = [
        Problem(message=message, where=f"--report {file}", hint=hint)
        for file in files
        for message, hint in [_file_problem(Path(file))]
        if message
    ]
    if len(set(files)) != len(files):
        problems.append(Problem(message="a file is named twice", where="--report"))
    if problems:
        raise BadInput.of(problems)
    for file in files:
        Path(file).unlink(missing_ok=True)


def write_reports(
    files: Sequence[str], results: Sequence[ImageResult], value: object, log: Log
) -> None:
    """Write each file in the format of its suffix; `value` is the JSON form of the results.

    Raises Negative for files that cannot be written, after writing all others.
    """
    problems: list[Problem] = []
    for file in files:
        path = Path(file)
        render = FORMATS[path.suffix]
        text = render(results) if render else f"{json.dumps(with_schema(value), indent=2)}\n"
        try:
            atomic_write(path, text)
        except OSError as error:
            message = f"the report cannot be written: {error.strerror or error}"
            problems.append(Problem(message=message, where=file))
        else:
            log(f"report: {file}")
    if problems:
        raise Negative.of(problems)


def _file_problem(path: Path) -> tuple[str, str]:
    """Return what is wrong with this file and a hint; empty texts if nothing is."""
    folder = path.parent
    if path.suffix not in FORMATS:
        formats = "JUnit is .xml, GitHub's summary .md, all of it .json"
        return f"{path.suffix or 'no suffix'} names no format", formats
    if not folder.is_dir():
        return f"there is no folder {folder}", "make it first"
    if path.is_dir():
        return "it is a folder", "name a file in it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing can be written to {folder}", "name another folder"
    return "", ""
