"""`build`, `test`, `publish`: one walk, stopped at a later arrow each."""

import time
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dlimg.build.builders import build
from dlimg.build.secrets import secrets_from
from dlimg.commands.live import Board
from dlimg.commands.planning import bases_of, engine_keys, images_of, planned_on
from dlimg.commands.printing import print_json, print_table, say
from dlimg.commands.project import (
    DEFAULT,
    chosen,
    compression_of,
    private_engine,
    read_project,
)
from dlimg.commands.proving import checks_of, own_folder
from dlimg.commands.reporting import prepare_reports, write_reports
from dlimg.commands.walk import Walk
from dlimg.engine.client import Engine, accept_buildx
from dlimg.engine.find import find
from dlimg.engine.gpu import check_device, default_device
from dlimg.engine.revision import NO_REVISION, Revision, revision_of
from dlimg.errors import BadInput, DlimgError
from dlimg.lock.store import wheel_folders
from dlimg.model import Base, BuildFailure, Built, Cell, Image, Planned
from dlimg.proof import Check, Evidence
from dlimg.report.line import Line, exit_code_of
from dlimg.report.summary import failure_text, headings, line_json, line_row
from dlimg.report.table import counted
from dlimg.run.command import try_line
from dlimg.smoke.evidence import evidence_folder


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when every image was built and, where asked for, passed its required checks."""
    began = time.monotonic()
    record = Path(arguments.record) if arguments.command == "build" and arguments.record else None
    if record:
        from dlimg.commands.recording import check_record  # noqa: PLC0415 - few record

        check_record(record)
    walk = Walk(
        project=read_project(arguments.matrix),
        arguments=arguments,
        environment=environment,
        evidence=evidence_folder(environment),
        revision=_revision(arguments, environment),
    )
    lines, engine = walked(walk)
    if record:
        from dlimg.commands.recording import write_record  # noqa: PLC0415 - few record
        from dlimg.layers.store import layer_store  # noqa: PLC0415 - the same

        write_record(record, lines, layer_store(environment))
    report(arguments, environment, lines, time.monotonic() - began)
    _say_how_to_try(lines, engine)
    return exit_code_of(lines)


def _revision(arguments: Namespace, environment: Mapping[str, str]) -> Revision:
    """The commit of the project, for those who keep evidence."""
    if arguments.command == "build":
        return NO_REVISION
    return revision_of(Path(arguments.matrix).parent, environment)


def walked(walk: Walk) -> tuple[list[Line], Engine]:
    """How each chosen image ended, on the engine that was found."""
    arguments = walk.arguments
    if arguments.jobs < 1:
        raise BadInput(f"--jobs {arguments.jobs} builds nothing", hint="give 1 or more")
    cells = chosen(walk.project, arguments, otherwise=DEFAULT)
    images = images_of(cells, walk.project, arguments, walk.environment)
    for cell in _kinds([image.cell for image in images]):
        _checks(walk, cell)  # a wrong check is found before the build
    _check_words(walk, images)
    engine = find(walk.environment, private=private_engine(arguments), say=say)
    if walk.goes_to("test") and arguments.device:
        check_device(arguments.device, engine)
    if walk.goes_to("publish"):
        accept_buildx(engine.docker, engine.environment)  # labels are put on by it
    bases = bases_of(images, engine, walk.project, arguments.base)
    planned = planned_on(images, bases, compression_of(walk.project, arguments))
    keyed = engine_keys(planned, engine, arguments)
    results: dict[str, Built | BuildFailure] = {
        one.planned.image.cell.id: one for one in keyed if isinstance(one, BuildFailure)
    }
    wanted = [one for one in keyed if isinstance(one, Planned)]
    results |= {one.planned.image.cell.id: one for one in _build(walk, wanted, engine)}
    lines = [
        _line(walk, image, results.get(image.cell.id), bases[image.cell.os.name], engine)
        for image in images
    ]
    return lines, engine


def _kinds(cells: Sequence[Cell]) -> Iterable[Cell]:
    """The first cell of each kind that has checks of its own; reading them takes its time."""
    kinds: dict[tuple[object, ...], Cell] = {}
    for one in cells:
        kinds.setdefault((one.family, one.is_cuda, one.flavour, one.required_checks), one)
    return kinds.values()


def _checks(walk: Walk, cell: Cell) -> tuple[Check, ...]:
    found = checks_of(walk.project, cell, own_folder(walk.arguments))
    if not walk.only:
        return found
    # What was asked for by name is required, whatever the matrix says.
    return tuple(replace(check, required=True) for check in found if check.name in walk.only)


def _check_words(walk: Walk, images: Sequence[Image]) -> None:
    """Refuse before a long build what would be refused after it."""
    if walk.goes_to("publish"):
        from dlimg.publish.names import check_destination  # noqa: PLC0415 - for publish alone

        check_destination(walk.arguments.to)
    device = walk.arguments.device if walk.goes_to("test") else None
    if device and not any(image.cell.is_cuda for image in images):
        hint = "choose CUDA cells, or leave --device out"
        raise BadInput(f"--device {device}: no chosen cell uses a GPU", hint=hint)
    prepare_reports(walk.arguments.report)


def _build(
    walk: Walk, planned: Sequence[Planned], engine: Engine
) -> tuple[Built | BuildFailure, ...]:
    with secrets_from(walk.environment) as secrets, Board(walk.environment) as board:
        return build(
            planned,
            engine,
            wanted=walk.arguments.builder,
            jobs=walk.arguments.jobs,
            secrets=secrets,
            find_links=wheel_folders(walk.arguments.find_links, walk.environment),
            on_progress=board.show,
            say=say,
        )


def _line(
    walk: Walk,
    image: Image,
    result: Built | BuildFailure | None,
    base: Base | DlimgError,
    engine: Engine,
) -> Line:
    """One image's way to its end; what stops it stops no other."""
    if isinstance(base, DlimgError):
        return Line(image=image, error=base)
    if not isinstance(result, Built) or not walk.goes_to("test"):
        return Line(image=image, result=result)
    evidence: Evidence | None = None
    try:
        evidence = _tested(walk, result, engine)
        if not walk.goes_to("publish"):
            return Line(image=image, result=result, evidence=evidence)
        from dlimg.commands.publishing import published  # noqa: PLC0415 - for publish alone

        there = published(
            walk,
            result,
            evidence,
            engine,
            checks=_checks(walk, image.cell),
            test=lambda other: _tested(walk, other, engine, is_foreign=True),
        )
        return Line(image=image, result=result, evidence=evidence, published=there)
    except DlimgError as error:
        return Line(image=image, result=result, evidence=evidence, error=error)


def _tested(walk: Walk, built: Built, engine: Engine, *, is_foreign: bool = False) -> Evidence:
    from dlimg.smoke.containers import Settings, test  # noqa: PLC0415 - not for a build

    cell = built.planned.image.cell
    device = (walk.arguments.device or default_device(engine)) if cell.is_cuda else None
    say(f"{cell.id}  testing {f'on {device}' if device else 'without a GPU'}")
    return test(
        built,
        _checks(walk, cell),
        engine,
        device=device,
        images=walk.project.images,
        settings=Settings(
            evidence=walk.evidence,
            say=say,
            own=own_folder(walk.arguments),
            revision=walk.revision,
            is_foreign=is_foreign,
        ),
    )


def report(
    arguments: Namespace, environment: Mapping[str, str], lines: Sequence[Line], seconds: float
) -> None:
    """How each image ended, on the screen and in the files that were asked for."""
    value = [line_json(line) for line in lines]
    if arguments.format == "json":
        print_json(value)
    else:
        publishing = arguments.command == "publish"
        rows = [line_row(line, publishing) for line in lines]
        print_table(headings(publishing), rows, environment)
    for line in lines:
        text = failure_text(line)
        if text:
            say(text)
    say(f"{counted(len(lines), 'image')} in {seconds:.0f} s")
    write_reports(arguments.report, lines, value)


def _say_how_to_try(lines: Sequence[Line], engine: Engine) -> None:
    good = next((one for one in lines if isinstance(one.result, Built)), None)
    if good and isinstance(good.result, Built) and exit_code_of([good]) != 1:
        planned = good.result.planned
        client = (str(engine.docker), "-H", engine.host) if engine.private else ("docker",)
        words = try_line(planned.image.cell, planned.moving_reference, docker=client)
        say(f"try it:\n  {words}")
