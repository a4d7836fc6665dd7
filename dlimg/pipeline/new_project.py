"""A new project: its files, locks and Dockerfiles, complete before they are moved in place."""

import contextlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from dlimg import __version__
from dlimg.context import Context
from dlimg.errors import BadInput, Negative, Problem, nearest
from dlimg.image_files import shipped_root
from dlimg.lock.check import check_locks
from dlimg.lock.pylock import ResolvedWheel
from dlimg.lock.store import STACKS, read_bases, write_bases
from dlimg.pipeline.facts_files import read_facts, read_text
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import DEFAULT_GROUP, Project, read_project
from dlimg.pipeline.render import rendered_files, write_rendered
from dlimg.pipeline.shipped import MATRIX
from dlimg.pipeline.shipped_families import ignored_by_shipped, read_shipped
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import default_addresses
from dlimg.pypi.simple_api import list_files
from dlimg.render.project_files import (
    Ci,
    NewFamily,
    dlimg_lock_text,
    matrix_text,
    new_family,
    project_texts,
    registry_name,
)

PACKAGE: Final = "dlimg"
WHEEL: Final = f"{PACKAGE}-{__version__}-py3-none-any.whl"
_LOCKS: Final = "requirements"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProjectRequest:
    """A request for a new project; `wheel` is dlimg's own, for an index that lacks it."""

    folder: Path
    families: tuple[str, ...]
    ci: Ci
    wheel: Path | None


def start_project(request: NewProjectRequest, context: Context) -> tuple[str, ...]:
    """Make the project and return the names of its files.

    Raises BadInput for unknown families and a wrong wheel, Negative where one of its files exists
    already; then nothing is left behind.
    """
    facts = read_facts()
    own = read_shipped(facts)
    shipped, matrix = own.project, own.matrix
    candidates = {
        name: new_family(matrix, family, own.locked, own.text)
        for name, family in matrix.families.items()
    }
    families = _chosen(
        request, {name: family for name, family in candidates.items() if family}, shipped
    )
    locks = {
        cell.id: lock for family in families for cell in family.cells if (lock := own.lock_of(cell))
    }
    today = datetime.now(tz=UTC).date()
    title = request.folder.resolve().name
    requirement, content = _dlimg(request, context)
    text = matrix_text(matrix, families, registry_name(title))
    ignored = ignored_by_shipped(own, text, facts, today, locks)
    texts = {
        MATRIX: matrix_text(matrix, families, registry_name(title), ignored),
        **project_texts(families, title, request.ci, __version__),
        f"{_LOCKS}/nox.txt": read_text(shipped.root / _LOCKS / "nox.txt"),
        f"{_LOCKS}/dlimg.txt": requirement,
    }
    with _staging(request.folder) as staging:
        for name, text in texts.items():
            _write(staging / name, text.encode())
        if content:
            _write(staging / _LOCKS / WHEEL, content)
        _add_locks(staging, shipped)
        names = tuple(
            path.relative_to(staging).as_posix()
            for path in sorted(staging.rglob("*"))
            if path.is_file()
        )
        _move(names, staging, request.folder)
    return names


def _chosen(
    request: NewProjectRequest, families: Mapping[str, NewFamily], shipped: Project
) -> tuple[NewFamily, ...]:
    """Return the families of the request; without any, those of dlimg's own default group."""
    default = set(shipped.resolution.groups[DEFAULT_GROUP])
    usual = (cell.family for cell in shipped.resolution.cells if cell.id in default)
    names = dict.fromkeys(request.families or usual)
    problems = [
        Problem(message=f"--family {name}: no such family", hint=nearest(name, families))
        for name in names
        if name not in families
    ]
    if problems:
        raise BadInput.of(problems)
    return tuple(families[name] for name in names)


def _dlimg(request: NewProjectRequest, context: Context) -> tuple[str, bytes]:
    """Return the lock of dlimg, and the wheel to copy: empty if an index has it."""
    dependencies = read_text(shipped_root() / _LOCKS / "runtime.txt")
    if request.wheel is None:
        digest = _released(context)
        return dlimg_lock_text(dependencies, f"{PACKAGE}=={__version__}", digest), b""
    if request.wheel.name != WHEEL:
        hint = f"this is dlimg {__version__}: its own wheel is {WHEEL}"
        raise BadInput("not the wheel of this dlimg", where=str(request.wheel), hint=hint)
    try:
        content = request.wheel.read_bytes()
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise BadInput(message, where=str(request.wheel)) from error
    requirement = f"./{_LOCKS}/{WHEEL}"
    return dlimg_lock_text(dependencies, requirement, sha256(content).hexdigest()), content


def _released(context: Context) -> str:
    """Return the sha256 of this dlimg's wheel at the index.

    Raises BadInput if the index has none, or one with other files than these.
    """
    hint = "`dlimg init --wheel FILE` takes dlimg's wheel from a file"
    index = open_index(context, context.cache / "wheels")
    files = {file.file: file for file in list_files(index, default_addresses(context), PACKAGE)}
    if WHEEL not in files:
        raise BadInput(f"the package index has no {PACKAGE} {__version__}", hint=hint)
    file = files[WHEEL]
    wheel = ResolvedWheel(
        name=PACKAGE, version=__version__, file=WHEEL, sha256=file.sha256, address=file.url
    )
    released, installed = index.read(wheel).record, _installed_record()
    # Someone else's package of that name must not become a part of the project.
    if _code(released) != _code(installed):
        message = f"the {PACKAGE} {__version__} of the package index is another than this one"
        raise BadInput(message, hint=hint)
    return file.sha256


def _installed_record() -> str:
    return importlib.metadata.distribution(PACKAGE).read_text("RECORD") or ""


def _code(record: str) -> set[str]:
    """Return the lines of a RECORD that are about the package's own files."""
    lines = record.splitlines()
    return {line for line in lines if line.startswith(f"{PACKAGE}/") and ".pyc," not in line}


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the new files, which is removed afterwards."""
    exists = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".dlimg-init-", dir=folder))
    except OSError as error:
        message = f"no project can be made here: {error.strerror}"
        raise BadInput(message, where=str(folder)) from error
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if not exists and not any(folder.iterdir()):
            folder.rmdir()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _add_locks(staging: Path, shipped: Project) -> None:
    """Copy dlimg's own locks of the new matrix's cells, and render their Dockerfiles."""
    cells = read_project(str(staging / MATRIX)).resolution.cells
    stacks = {cell.stack.lock_name for cell in cells if cell.stack}
    names = [f"{cell.id}.json" for cell in cells] + [f"{STACKS}/{name}.json" for name in stacks]
    for name in names:
        _write(staging / "locks" / name, (shipped.locks / name).read_bytes())
    systems = {cell.os.name for cell in cells}
    pins = {name: pin for name, pin in read_bases(shipped.locks).items() if name in systems}
    if pins:
        write_bases(pins, staging / "locks")
    project = read_project(str(staging / MATRIX))
    every = project.resolution.cells
    problems = check_locks(every, project.locks, everything=every)
    if problems:
        raise Negative.of(problems)
    images = tuple(locked_images(project, project.resolution.cells))
    write_rendered(rendered_files(project, images, is_all=True))


def _move(names: Sequence[str], staging: Path, folder: Path) -> None:
    """Move the files into the folder, all of them or none.

    Raises Negative with those that exist already.
    """
    existing = [folder / name for name in names if (folder / name).exists()]
    if existing:
        hint = "start in an empty folder, or move it away"
        raise Negative.of(
            Problem(message="this file exists already", where=str(path), hint=hint)
            for path in existing
        )
    before = [path for path in folder.iterdir() if path != staging]
    try:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).rename(folder / name)
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        _remove_empty(folder, {*before, staging})
        raise


def _remove_empty(folder: Path, keep: set[Path]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path == other or other in path.parents for other in keep):
            with contextlib.suppress(OSError):
                path.rmdir()
