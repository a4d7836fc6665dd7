"""Rendered Dockerfiles: compared with the files on disk, or written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.atomic_write import atomic_write
from dlimg.errors import BadInput, Problem
from dlimg.model import Image
from dlimg.pipeline.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedFiles:
    """The Dockerfiles of locked cells by path, and `stale` files that no locked cell has."""

    dockerfiles: Mapping[Path, str]
    stale: tuple[Path, ...]


def rendered_files(project: Project, images: Sequence[Image], *, is_all: bool) -> RenderedFiles:
    """Return the Dockerfiles of these images; stale ones are looked for only among all images."""
    dockerfiles = {_path_of(project, image): image.dockerfile for image in images}
    stale = tuple(_stale_files(project, frozenset(dockerfiles))) if is_all else ()
    return RenderedFiles(dockerfiles=dockerfiles, stale=stale)


def _path_of(project: Project, image: Image) -> Path:
    """Return a Dockerfile's path; of a lock from an extra folder, that is not committed."""
    folder = project.rendered / "local" if image.lock.local else project.rendered
    return folder / image.cell.id / "Dockerfile"


def _stale_files(project: Project, current: frozenset[Path]) -> Iterator[Path]:
    for folder in (project.rendered, project.rendered / "local"):
        for path in sorted(folder.glob("*/Dockerfile")):
            if path not in current:
                yield path


def rendering_problems(files: RenderedFiles) -> list[Problem]:
    """Return a problem for each Dockerfile that is missing, out of date or stale."""
    hint = "run `dlimg render` and review the change"
    problems = [
        _difference(path, text, hint)
        for path, text in files.dockerfiles.items()
        if _read(path) != text
    ]
    problems += [
        Problem(message="no locked cell has this Dockerfile any more", where=str(path), hint=hint)
        for path in files.stale
    ]
    return problems


def _difference(path: Path, text: str, hint: str) -> Problem:
    """Return the problem of a file that is not this text, which may differ in line endings only."""
    written = _read(path)
    if written is None or written.replace("\r\n", "\n") != text:
        return Problem(message="is not what would be rendered now", where=str(path), hint=hint)
    return Problem(
        message="has line endings of Windows, with which no shell in a build works",
        where=str(path),
        hint="put `* text=auto eol=lf` into .gitattributes, then `dlimg render`",
    )


def write_rendered(files: RenderedFiles) -> int:
    """Write the Dockerfiles, remove stale ones, and return the number of those written."""
    changed = [path for path, text in files.dockerfiles.items() if _read(path) != text]
    for path in changed:
        _write(path, files.dockerfiles[path])
    for path in files.stale:
        path.unlink()
        path.parent.rmdir()
    return len(changed)


def _read(path: Path) -> str | None:
    # `read_text` would hide other line endings.
    try:
        return path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    try:
        atomic_write(path, text)
    except OSError as error:
        hint = "make the folder writable; `dlimg build` needs no rendered files"
        raise BadInput(
            f"cannot be written: {error.strerror}", where=str(path), hint=hint
        ) from error
