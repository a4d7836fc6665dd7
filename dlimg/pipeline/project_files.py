"""The files of a project that its images get, read from the folder of its matrix."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput, Problem
from dlimg.matrix.additions import with_contents
from dlimg.matrix.model import Matrix, StatedFile

# A file stands in each image's Dockerfile, and in its history.
LARGEST: Final = 1 << 20


def read_project_files(matrix: Matrix, folder: Path) -> Matrix:
    """Return the matrix with the contents of its families' files.

    Raises BadInput, at the line of each file that is missing, too large or elsewhere.
    """
    problems: list[Problem] = []
    families = {}
    for name, family in matrix.families.items():
        contents = dict(_contents(family.additions.files, folder, matrix.source, problems))
        additions = with_contents(family.additions, contents) if contents else family.additions
        families[name] = replace(family, additions=additions)
    if problems:
        raise BadInput.of(problems)
    return replace(matrix, families=families)


def _contents(
    files: tuple[StatedFile, ...], folder: Path, source: str, problems: list[Problem]
) -> Iterator[tuple[str, bytes]]:
    top = folder.resolve()
    for stated in files:
        where = f"{source}:{stated.match.line}"
        path = (folder / stated.file.source).resolve()
        message, hint = "", ""
        if not path.is_relative_to(top):
            message = f"{stated.file.source} leads out of the project's folder"
            hint = "copy the file into the project"
        elif not path.is_file():
            message = f"there is no file {stated.file.source} in the project's folder"
            hint = "files are copied one by one; name each"
        elif path.stat().st_size > LARGEST:
            message = f"{stated.file.source} has more than {LARGEST} bytes"
            hint = "mount it when a container starts, or bring it in a wheel"
        if message:
            problems.append(Problem(message=message, where=where, hint=hint))
            continue
        try:
            yield stated.file.source, path.read_bytes()
        except OSError as error:
            problems.append(Problem(message=f"cannot read it: {error}", where=where))
