"""The files of `images/` that a project uses: where each comes from, and copies to change."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

from dlimg.errors import BadInput, Negative, Problem, nearest
from dlimg.image_files import IMAGES, shipped_root

Origin = Literal["project", "package"]
# Compiled check scripts and the like are no files of images.
_CACHES: Final = "__pycache__"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    """A file of `images/` by its name, such as `jax/Dockerfile.j2`; `replaces` one of dlimg's."""

    name: str
    path: Path
    origin: Origin
    replaces: bool = False


def template_files(root: Path) -> tuple[TemplateFile, ...]:
    """Return every file that the project at `root` uses, sorted by name."""
    shipped = _files(shipped_root() / IMAGES)
    own = _files(root / IMAGES)
    is_shipped = (root / IMAGES).resolve() == shipped_root() / IMAGES
    files = [
        TemplateFile(name=name, path=path, origin="package")
        for name, path in shipped.items()
        if name not in own
    ]
    files += [
        TemplateFile(
            name=name, path=path, origin="project", replaces=name in shipped and not is_shipped
        )
        for name, path in own.items()
    ]
    return tuple(sorted(files, key=lambda file: file.name))


def eject(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Copy files or whole folders that dlimg ships into the project; return the copies.

    Raises BadInput for unknown names, Negative for files that the project has already; then
    nothing is copied.
    """
    shipped = _files(shipped_root() / IMAGES)
    copies: dict[Path, Path] = {}
    problems: list[Problem] = []
    for name in names:
        chosen = _chosen(name, shipped)
        if not chosen:
            close = get_close_matches(_plain(name), {*shipped, *_folders(shipped)}, n=1)
            hint = nearest(_plain(name), close) or "`dlimg list --templates` shows them"
            problems.append(
                Problem(message="dlimg ships no such file of images", where=name, hint=hint)
            )
        copies |= {root / IMAGES / file: path for file, path in chosen.items()}
    if problems:
        raise BadInput.of(problems)
    existing = [path for path in copies if path.exists() or path.is_symlink()]
    if existing:
        hint = "change it, or remove it to get dlimg's again"
        raise Negative.of(
            Problem(message="the project has this file already", where=str(path), hint=hint)
            for path in existing
        )
    for target, path in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return tuple(copies)


def _files(folder: Path) -> Mapping[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _CACHES not in path.parts
    }


def _plain(name: str) -> str:
    return name.removeprefix("./").removeprefix(f"{IMAGES}/").rstrip("/")


def _chosen(name: str, shipped: Mapping[str, Path]) -> Mapping[str, Path]:
    plain = _plain(name)
    return {
        file: path
        for file, path in shipped.items()
        if file == plain or file.startswith(f"{plain}/")
    }


def _folders(shipped: Mapping[str, Path]) -> Iterator[str]:
    for name in shipped:
        yield from (parent.as_posix() for parent in Path(name).parents if parent.name)
