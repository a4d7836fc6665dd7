"""`build`, `test`, `publish`: one walk, stopped at a later arrow each."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.builders.choose import build
from dlimg.builders.secrets import secrets_from
from dlimg.checks.evidence import covering, evidence_folder, read_evidence
from dlimg.checks.inputs import told_by_config
from dlimg.checks.run import checks_for_image, checks_now, names_of, reference_data
from dlimg.checks.verdicts import is_gpu_tested
from dlimg.cli.check_selection import checks_of, own_folder
from dlimg.pipeline.images import (bases_of, engine_keys, images_of, planned_on)
from dlimg.cli.printing import print_json, print_table, say
from dlimg.cli.progress import ProgressDisplay
from dlimg.pipeline.project import (DEFAULT, Project, chosen, compression_of, private_engine, read_project)
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.engine.client import Engine, accept_buildx
from dlimg.engine.discover import find
from dlimg.engine.gpu import check_device, default_device
from dlimg.errors import BadInput, DlimgError, Problem
from dlimg.host.git_revision import NO_REVISION, Revision, revision_of
from dlimg.lock.store import wheel_folders
from dlimg.model import Base, BuildFailure, BuiltImage, Cell, Check, Evidence, Image, PlannedImage
from dlimg.publish.attach import evidence_beside, nothing_beside
from dlimg.publish.check_runner import CheckRunner
from dlimg.publish.names import siblings
from dlimg.publish.promote import PublishedImage, PublishRequest, publish
from dlimg.publish.push_source import ImageSources
from dlimg.render.docker_run import try_line
from dlimg.report.summary import failure_text, headings, line_json, line_row
from dlimg.units import counted
from dlimg.results import ImageResult, exit_code_of_results
from dlimg.store.build_record import (BuildRecord, build_record, format_records)
from dlimg.store.images import (load_image)
from dlimg.store.store import Store, layer_store

STOP_AT: Final = ("build", "test", "publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One walk's settings, read once from the command line and the environment.

    `evidence` is the folder to keep it in, `revision` the commit of the project, which goes into
    it; `only` names the checks to run, none named is all.
    """

    project: Project
    arguments: Namespace
    environment: Mapping[str, str]
    evidence: Path
    only: frozenset[str] = frozenset()
    revision: Revision = NO_REVISION

    def goes_to(self, arrow: str) -> bool:
        return STOP_AT.index(self.arguments.command) >= STOP_AT.index(arrow)


def published(
    walk: RunSettings,
    built: BuiltImage,
    evidence: Evidence,
    engine: Engine,
    *,
    checks: Sequence[Check],
    test: Callable[[BuiltImage], Evidence],
) -> PublishedImage:
    """The image at the registry that the command line names; raises what `publish` raises."""
    beside = evidence_beside(walk.evidence, walk.environment, revision=walk.revision, say=say)
    to = walk.arguments.to
    wanted = PublishRequest(
        to=to,
        require=walk.arguments.require,
        attach=nothing_beside if walk.arguments.no_evidence else beside,
        environment=walk.environment,
        runner=_runner(walk, engine, checks, test),
        notes=walk.evidence,
    )
    stock = ImageSources(
        store=layer_store(walk.environment),
        engine=engine,
        siblings=siblings(to, (cell.family for cell in walk.project.resolution.cells)),
        say=say,
    )
    return publish(built, evidence, stock, wanted=wanted, say=say)


def _runner(
    walk: RunSettings,
    engine: Engine,
    checks: Sequence[Check],
    test: Callable[[BuiltImage], Evidence],
) -> CheckRunner:
    images, own = walk.project.images, own_folder(walk.arguments)

    def now(built: BuiltImage) -> Sequence[Check]:
        return checks_now(built, checks, engine, images=images, own=own)

    def known(built: BuiltImage, config: Mapping[str, Any]) -> Evidence | None:
        facts = told_by_config(built.planned, config, reference_data(built.planned, engine, images))
        ready = checks_for_image(built.planned, checks, facts, images=images, own=own)
        records = read_evidence(walk.evidence, built.digest, say=say)
        found = covering(records, names_of(ready))
        best = next((one for one in found if is_gpu_tested(one)), found[-1] if found else None)
        return _required_today(best, checks) if best else None

    return CheckRunner(checks=now, test=test, known=known)


def _required_today(evidence: Evidence, checks: Sequence[Check]) -> Evidence:
    required = {check.name: check.required for check in checks}
    verdicts = tuple(
        replace(verdict, required=required[verdict.check]) for verdict in evidence.verdicts
    )
    return replace(evidence, verdicts=verdicts)


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


def write_record(path: Path, lines: Sequence[ImageResult], store: Store) -> None:
    """The images that were built or present, into a file; nothing unless that is all of them.

    Raises BadInput when one was not assembled here, or the file cannot be written.
    """
    built = [one.result for one in lines if isinstance(one.result, BuiltImage)]
    if len(built) < len(lines):
        say(f"nothing is recorded in {path}: not every image was built")
        return
    problems: list[Problem] = []
    records = dict(_records(built, store, problems))
    if problems:
        raise BadInput.of(problems)
    try:
        atomic_write(path, format_records(records))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", where=str(path)) from error
    say(f"{counted(len(records), 'image')} recorded in {path}")


def _records(
    built: Sequence[BuiltImage], store: Store, problems: list[Problem]
) -> Iterator[tuple[str, BuildRecord]]:
    for one in built:
        cell, image = one.planned.image.cell.id, load_image(store, one.digest)
        if image:
            yield cell, build_record(one.planned.key, image)
        else:
            hint = "build it with `--builder layers` first"
            message = "was not assembled with this store: there is nothing to record"
            problems.append(Problem(message=message, where=cell, hint=hint))


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when every image was built and, where asked for, passed its required checks."""
    began = time.monotonic()
    record = Path(arguments.record) if arguments.command == "build" and arguments.record else None
    if record:
        check_record(record)
    walk = RunSettings(
        project=read_project(arguments.matrix),
        arguments=arguments,
        environment=environment,
        evidence=evidence_folder(environment),
        revision=_revision(arguments, environment),
    )
    lines, engine = walked(walk)
    if record:
        from dlimg.store.store import layer_store  # noqa: PLC0415 - the same

        write_record(record, lines, layer_store(environment))
    report(arguments, environment, lines, time.monotonic() - began)
    _say_how_to_try(lines, engine)
    return exit_code_of_results(lines)


def _revision(arguments: Namespace, environment: Mapping[str, str]) -> Revision:
    """The commit of the project, for those who keep evidence."""
    if arguments.command == "build":
        return NO_REVISION
    return revision_of(Path(arguments.matrix).parent, environment)


def walked(walk: RunSettings) -> tuple[list[ImageResult], Engine]:
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
    results: dict[str, BuiltImage | BuildFailure] = {
        one.planned.image.cell.id: one for one in keyed if isinstance(one, BuildFailure)
    }
    wanted = [one for one in keyed if isinstance(one, PlannedImage)]
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


def _checks(walk: RunSettings, cell: Cell) -> tuple[Check, ...]:
    found = checks_of(walk.project, cell, own_folder(walk.arguments))
    if not walk.only:
        return found
    # What was asked for by name is required, whatever the matrix says.
    return tuple(replace(check, required=True) for check in found if check.name in walk.only)


def _check_words(walk: RunSettings, images: Sequence[Image]) -> None:
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
    walk: RunSettings, planned: Sequence[PlannedImage], engine: Engine
) -> tuple[BuiltImage | BuildFailure, ...]:
    with secrets_from(walk.environment) as secrets, ProgressDisplay(walk.environment) as board:
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
    walk: RunSettings,
    image: Image,
    result: BuiltImage | BuildFailure | None,
    base: Base | DlimgError,
    engine: Engine,
) -> ImageResult:
    """One image's way to its end; what stops it stops no other."""
    if isinstance(base, DlimgError):
        return ImageResult(image=image, error=base)
    if not isinstance(result, BuiltImage) or not walk.goes_to("test"):
        return ImageResult(image=image, result=result)
    evidence: Evidence | None = None
    try:
        evidence = _tested(walk, result, engine)
        if not walk.goes_to("publish"):
            return ImageResult(image=image, result=result, evidence=evidence)

        there = published(
            walk,
            result,
            evidence,
            engine,
            checks=_checks(walk, image.cell),
            test=lambda other: _tested(walk, other, engine, is_foreign=True),
        )
        return ImageResult(image=image, result=result, evidence=evidence, published=there)
    except DlimgError as error:
        return ImageResult(image=image, result=result, evidence=evidence, error=error)


def _tested(
    walk: RunSettings, built: BuiltImage, engine: Engine, *, is_foreign: bool = False
) -> Evidence:
    from dlimg.checks.run import CheckSettings, test  # noqa: PLC0415 - not for a build

    cell = built.planned.image.cell
    device = (walk.arguments.device or default_device(engine)) if cell.is_cuda else None
    say(f"{cell.id}  testing {f'on {device}' if device else 'without a GPU'}")
    return test(
        built,
        _checks(walk, cell),
        engine,
        device=device,
        images=walk.project.images,
        settings=CheckSettings(
            evidence=walk.evidence,
            say=say,
            own=own_folder(walk.arguments),
            revision=walk.revision,
            is_foreign=is_foreign,
        ),
    )


def report(
    arguments: Namespace,
    environment: Mapping[str, str],
    lines: Sequence[ImageResult],
    seconds: float,
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


def _say_how_to_try(lines: Sequence[ImageResult], engine: Engine) -> None:
    good = next((one for one in lines if isinstance(one.result, BuiltImage)), None)
    if good and isinstance(good.result, BuiltImage) and exit_code_of_results([good]) != 1:
        planned = good.result.planned
        client = (str(engine.docker), "-H", engine.host) if engine.private else ("docker",)
        words = try_line(planned.image.cell, planned.moving_reference, docker=client)
        say(f"try it:\n  {words}")
