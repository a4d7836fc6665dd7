"""`build --verify`: images assembled anew, from nothing, and compared with what was recorded."""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.builders.assemble import AssembleContext, Assembler, BuildCallbacks, open_assembler
from dlimg.builders.build_failure import explain
from dlimg.builders.executor import EngineExecutor
from dlimg.builders.secrets import secrets_from
from dlimg.cli.printing import print_json, print_table, say
from dlimg.engine.client import Engine, accept_buildx
from dlimg.engine.discover import find
from dlimg.errors import BadInput, DlimgError
from dlimg.host.interrupt import interruptible
from dlimg.lock.store import wheel_folders
from dlimg.model import BuildFailure, Cell, PlannedImage
from dlimg.pipeline.images import bases_of, engine_keys, images_of, planned_on
from dlimg.pipeline.project import chosen, compression_of, private_engine, read_project
from dlimg.store.build_record import (BuildRecord, describe_difference, parse_records, build_record)
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import (copy_system, system_source)
from dlimg.units import counted

_SAME: Final = "as recorded"


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when every image came out as recorded, 1 when one did not."""
    recorded = _read(Path(arguments.verify))
    project = read_project(arguments.matrix)
    cells = [cell for cell in chosen(project, arguments) if cell.id in recorded]
    _check_named(recorded, cells, arguments)
    images = images_of(cells, project, arguments, environment)
    engine = find(environment, private=private_engine(arguments), say=say)
    accept_buildx(engine.docker, engine.environment)
    bases = bases_of(images, engine, project, arguments.base)
    planned = planned_on(images, bases, compression_of(project, arguments))
    found = {cell.id: "its base cannot be had here" for cell in cells}
    keyed = engine_keys(planned, engine, arguments)
    failed = [one for one in keyed if isinstance(one, BuildFailure)]
    found |= {one.planned.image.cell.id: str(explain(one)) for one in failed}
    wanted = [one for one in keyed if isinstance(one, PlannedImage)]
    found |= _compared(wanted, recorded, arguments, engine)
    if arguments.format == "json":
        print_json([{"cell": cell, "difference": said} for cell, said in found.items()])
    else:
        print_table(
            ("cell", "came out"),
            [(cell, said or _SAME) for cell, said in found.items()],
            environment,
        )
    differing = sum(map(bool, found.values()))
    say(f"{counted(len(found), 'image')} verified, {differing or 'none'} came out differently")
    return 1 if differing else 0


def _read(path: Path) -> Mapping[str, BuildRecord]:
    try:
        return parse_records(path.read_text(encoding="utf-8"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read: {error}", where=str(path)) from error


def _check_named(
    recorded: Mapping[str, BuildRecord], cells: Sequence[Cell], arguments: Namespace
) -> None:
    """Refuse where nothing would be compared, or something silently would not."""
    gone = sorted(recorded.keys() - {cell.id for cell in cells})
    if not cells or (gone and not (arguments.patterns or arguments.group)):
        hint = "record anew with `dlimg build --record FILE`, or name the cells to verify"
        names = ", ".join(gone) or "no image"
        raise BadInput(f"{names}: recorded, but no such cell", where=arguments.verify, hint=hint)


def _compared(
    planned: Sequence[PlannedImage],
    recorded: Mapping[str, BuildRecord],
    arguments: Namespace,
    engine: Engine,
) -> dict[str, str]:
    """What is different of each image. Only fetched wheels and systems are taken as they are."""
    environment = engine.environment
    kept = layer_store(environment)
    kept.path.mkdir(parents=True, exist_ok=True)
    folders = wheel_folders(arguments.find_links, environment)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="verifying-", dir=kept.path.parent) as name,
        secrets_from(environment) as secrets,
    ):
        store = Store(path=Path(name))
        for one in planned:
            copy_system(system_source(one), kept, store)
        context = AssembleContext(
            executor=EngineExecutor(engine=engine, secrets=secrets),
            environment=environment,
            store=store,
            find_links=folders,
        )
        with open_assembler(planned, context) as assembler:
            return {one.image.cell.id: _difference(one, recorded, assembler) for one in planned}


def _difference(
    one: PlannedImage, recorded: Mapping[str, BuildRecord], assembler: Assembler
) -> str:
    cell = one.image.cell.id
    say(f"{cell}  assembling anew")
    try:
        image = assembler.assemble(one, BuildCallbacks())
    except DlimgError as error:
        return str(error)
    return describe_difference(recorded[cell], build_record(one.key, image))
