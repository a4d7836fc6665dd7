"""Records of builds (`build --record`) and their comparison with a new build (`--verify`)."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dlimg.atomic_write import atomic_write
from dlimg.builders.assemble import AssembleContext, Assembler, BuildCallbacks, open_assembler
from dlimg.builders.build_failure import explain_failure
from dlimg.builders.executor import EngineExecutor
from dlimg.builders.secrets import secrets_from
from dlimg.context import Context, Log
from dlimg.engine.client import Engine, check_buildx
from dlimg.engine.discover import find_engine
from dlimg.errors import BadInput, DlimgError, Problem
from dlimg.host.interrupt import interruptible
from dlimg.lock.local_wheels import wheel_folders
from dlimg.model import BuildFailure, BuiltImage, Cell, PlannedImage
from dlimg.pipeline.images import check_architecture
from dlimg.pipeline.planned_images import (
    BuildSettings,
    buildable_images,
    find_bases,
    keys_by_engine,
    plan_images,
)
from dlimg.pipeline.project import Project, compression_of, select_cells
from dlimg.results import ImageResult
from dlimg.store.build_record import (
    BuildRecord,
    build_record,
    describe_difference,
    format_records,
    parse_records,
)
from dlimg.store.images import load_image
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import copy_system, system_source
from dlimg.units import counted


def check_record_path(path: Path) -> None:
    """Raise BadInput, before a long build, for a file that could not be written."""
    hint = "name a file in another folder"
    try:
        if path.exists() and not path.is_file():
            raise BadInput("a record must be a file", where=str(path), hint="name another one")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise BadInput(message, where=str(path), hint=hint) from error


def write_record(path: Path, results: Sequence[ImageResult], store: Store, log: Log) -> None:
    """Write the digests and layers of all images to a file; nothing when one was not built.

    Raises BadInput when an image was not assembled here, or the file cannot be written.
    """
    built = [result.result for result in results if isinstance(result.result, BuiltImage)]
    if len(built) < len(results):
        log(f"nothing is recorded in {path}: not every image was built")
        return
    problems: list[Problem] = []
    records = dict(_records(built, store, problems))
    if problems:
        raise BadInput.of(problems)
    try:
        atomic_write(path, format_records(records))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", where=str(path)) from error
    log(f"{counted(len(records), 'image')} recorded in {path}")


def _records(
    built: Sequence[BuiltImage], store: Store, problems: list[Problem]
) -> Iterator[tuple[str, BuildRecord]]:
    for image in built:
        cell, assembled = image.planned.image.cell.id, load_image(store, image.digest)
        if assembled:
            yield cell, build_record(image.planned.key, assembled)
        else:
            hint = "build it with `--builder layers` first"
            message = "was not assembled with this store: there is nothing to record"
            problems.append(Problem(message=message, where=cell, hint=hint))


def verify_record(
    path: Path, project: Project, settings: BuildSettings, context: Context
) -> dict[str, str]:
    """Assemble the recorded images anew and return the differences by cell; empty if none."""
    recorded = _read(path)
    selected = select_cells(project, settings.cells, log=context.log)
    cells = [cell for cell in selected if cell.id in recorded]
    _check_cells(recorded, cells, path, is_all=settings.cells.is_all)
    images = buildable_images(
        cells, project, settings.find_links, context, private_engine=settings.private_engine
    )
    engine = find_engine(context, private=settings.private_engine)
    check_architecture(
        (image.cell for image in images), engine.architecture, f"the engine at {engine.host}"
    )
    check_buildx(engine)
    bases = find_bases(images, engine, project, settings.base, context)
    planned = plan_images(images, bases, compression_of(project, settings.compression))
    differences = {cell.id: "its base cannot be had here" for cell in cells}
    keyed = keys_by_engine(planned, engine, settings, context)
    differences |= {
        failure.planned.image.cell.id: str(explain_failure(failure))
        for failure in keyed
        if isinstance(failure, BuildFailure)
    }
    buildable = [image for image in keyed if isinstance(image, PlannedImage)]
    return differences | _compare(buildable, recorded, engine, settings, context)


def _read(path: Path) -> Mapping[str, BuildRecord]:
    try:
        return parse_records(path.read_text(encoding="utf-8"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {error}", where=str(path)) from error


def _check_cells(
    recorded: Mapping[str, BuildRecord], cells: Sequence[Cell], path: Path, *, is_all: bool
) -> None:
    """Raise BadInput for a verification that would compare nothing, or leave images out."""
    gone = sorted(recorded.keys() - {cell.id for cell in cells})
    if not cells or (gone and is_all):
        hint = "record anew with `dlimg build --record FILE`, or name the cells to verify"
        names = ", ".join(gone) or "no image"
        raise BadInput(f"{names}: recorded, but no such cell", where=str(path), hint=hint)


def _compare(
    planned: Sequence[PlannedImage],
    recorded: Mapping[str, BuildRecord],
    engine: Engine,
    settings: BuildSettings,
    context: Context,
) -> dict[str, str]:
    """Return what differs in each image; only fetched wheels and systems are reused."""
    store = layer_store(context)
    store.path.mkdir(parents=True, exist_ok=True)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="verifying-", dir=store.path.parent) as name,
        secrets_from(context) as secrets,
    ):
        empty_store = Store(path=Path(name))
        for image in planned:
            copy_system(system_source(image), store, empty_store)
        assemble_context = AssembleContext(
            executor=EngineExecutor(engine=engine, secrets=secrets),
            context=context,
            store=empty_store,
            find_links=wheel_folders(settings.find_links, context),
        )
        with open_assembler(planned, assemble_context) as assembler:
            return {
                image.image.cell.id: _difference(image, recorded, assembler, context.log)
                for image in planned
            }


def _difference(
    planned: PlannedImage, recorded: Mapping[str, BuildRecord], assembler: Assembler, log: Log
) -> str:
    cell = planned.image.cell.id
    log(f"{cell}  assembling anew")
    try:
        image = assembler.assemble(planned, BuildCallbacks())
    except DlimgError as error:
        return str(error)
    return describe_difference(recorded[cell], build_record(planned.key, image))
