"""The run of the commands build, test and publish."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlimg.builders.builder import BuildParameters, existing_images
from dlimg.builders.choose import build_images
from dlimg.builders.secrets import secrets_from
from dlimg.checks.evidence import covering_records, read_evidence
from dlimg.checks.image_inputs import read_reference_data
from dlimg.checks.inputs import make_inputs_from_config
from dlimg.checks.run import (
    CheckSettings,
    current_checks,
    ids_of_checks,
    prepare_checks,
    run_checks,
)
from dlimg.checks.verdicts import is_gpu_tested
from dlimg.context import Context
from dlimg.engine.client import Engine, check_buildx, engine_errors
from dlimg.engine.discover import find_engine
from dlimg.engine.gpu import check_device, default_device
from dlimg.errors import BadInput, DlimgError
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.lock.local_wheels import wheel_folders
from dlimg.model import (
    Base,
    BuildFailure,
    BuiltImage,
    Cell,
    CellSelection,
    Check,
    Evidence,
    Image,
    PlannedImage,
)
from dlimg.pipeline.engine_compression import ReadableImages, readable_images
from dlimg.pipeline.images import check_architecture, checks_of_cell, log_former_needs
from dlimg.pipeline.planned_images import (
    BuildSettings,
    buildable_images,
    find_bases,
    keys_by_engine,
    plan_images,
)
from dlimg.pipeline.project import (
    DEFAULT_GROUP,
    Project,
    compression_of,
    select_cells,
    stated_compression,
)
from dlimg.pipeline.published_images import pull_published
from dlimg.pipeline.skipped import is_default_selection, unreachable_images, unreachable_result
from dlimg.publish.attach import AttachSettings
from dlimg.publish.policy import CheckRunner
from dlimg.publish.promote import PublishedImage, PublishRequest, publish
from dlimg.publish.push_source import ImageSources
from dlimg.publish.tags import repositories_of_families
from dlimg.registry.reference import check_destination
from dlimg.results import ImageResult
from dlimg.store.store import layer_store


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSettings:
    """Settings of tests: the folder for evidence, the GPU, the checks.

    `device` is a CDI name; if empty, the engine's first GPU is used. `only` names the checks to
    run, which are then required; if empty, all run. `revision` is the project's commit, for the
    evidence.
    """

    evidence: Path
    device: str = ""
    own_checks: Path | None = None
    only: frozenset[str] = frozenset()
    revision: Revision = NO_REVISION


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    """The target of publishing, its conditions, and the attached files."""

    to: str
    allow_untested_gpu: bool = False
    attach_evidence: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run over a project's images: a build, and tests and publication if they are set."""

    project: Project
    context: Context
    build: BuildSettings
    test: TestSettings | None = None
    publish: PublishSettings | None = None


def images_to_build(run: Run) -> tuple[Image, ...]:
    """Return the selected images. Raises BadInput for what is wrong before a build is needed."""
    if run.build.jobs < 1:
        raise BadInput(f"--jobs {run.build.jobs} builds nothing", hint="give 1 or more")
    cells = select_cells(run.project, run.build.cells, otherwise=DEFAULT_GROUP, log=run.context.log)
    images = buildable_images(
        cells,
        run.project,
        run.build.find_links,
        run.context,
        private_engine=run.build.private_engine,
    )
    own_checks = run.test.own_checks if run.test else None
    for cell in _one_of_each_kind([image.cell for image in images]):
        checks_of_cell(run.project, cell, own_checks)
    if run.test:
        tested = [image.cell for image in images]
        log_former_needs(run.project, tested, own_checks, run.context.log)
    if run.publish:
        check_destination(run.publish.to)
    device = run.test.device if run.test else ""
    if device and not any(image.cell.is_cuda for image in images):
        hint = "choose CUDA cells, or leave --device out"
        raise BadInput(f"--device {device}: no chosen cell uses a GPU", hint=hint)
    return images


def _one_of_each_kind(cells: Sequence[Cell]) -> Iterable[Cell]:
    """Return the first cell of each kind with its own checks: reading them takes time."""
    kinds: dict[tuple[object, ...], Cell] = {}
    for cell in cells:
        kind = (cell.family, cell.is_cuda, cell.flavour, cell.required_checks)
        kinds.setdefault(kind, cell)
    return kinds.values()


def run_images(run: Run, images: Sequence[Image]) -> tuple[list[ImageResult], Engine]:
    """Build these images, and test and publish them if set; return results and the engine."""
    engine = find_engine(run.context, private=run.build.private_engine)
    check_architecture(
        (image.cell for image in images), engine.architecture, f"the engine at {engine.host}"
    )
    if run.test and run.test.device:
        check_device(run.test.device, engine)
    if run.publish:
        check_buildx(engine)  # it adds labels before a push
    bases = find_bases(images, engine, run.project, run.build.base, run.context)
    compression = compression_of(run.project, run.build.compression)
    planned = plan_images(images, bases, compression)
    keyed = keys_by_engine(planned, engine, run.build, run.context)
    built: dict[str, BuiltImage | BuildFailure] = {
        failure.planned.image.cell.id: failure
        for failure in keyed
        if isinstance(failure, BuildFailure)
    }
    readable = _readable(run, [image for image in keyed if isinstance(image, PlannedImage)], engine)
    buildable = list(readable.images)
    present = existing_images(buildable, engine)
    absent = [image for image in buildable if image.reference not in present]
    unreachable = unreachable_images(absent, run.build, run.context)
    buildable = [image for image in buildable if image.image.cell.id not in unreachable]
    if run.project.is_shipped and run.build.builder == "auto":
        pull_published(buildable, engine)
    results_by_builder = _build(run, buildable, engine, readable.obstacle)
    built |= {result.planned.image.cell.id: result for result in results_by_builder}
    skips = may_skip(run.build.cells, run.publish)
    results = [
        unreachable_result(image, unreachable[image.cell.id], may_skip=skips)
        if image.cell.id in unreachable
        else _result(run, image, built.get(image.cell.id), bases[image.cell.os.name], engine)
        for image in images
    ]
    return results, engine


def may_skip(selection: CellSelection, publish_settings: PublishSettings | None) -> bool:
    """Return whether an image may be skipped if its index does not answer: it was not named."""
    return publish_settings is None and is_default_selection(selection)


def _readable(run: Run, planned: Sequence[PlannedImage], engine: Engine) -> ReadableImages:
    """Return the images in a compression that this engine reads, unless one is stated."""
    is_stated = bool(stated_compression(run.project, run.build.compression))
    may_change = run.publish is None and not is_stated
    with engine_errors():
        return readable_images(planned, engine, may_change=may_change, log=run.context.log)


def _build(
    run: Run, planned: Sequence[PlannedImage], engine: Engine, engine_obstacle: str
) -> tuple[BuiltImage | BuildFailure, ...]:
    with secrets_from(run.context) as secrets, run.build.display(run.context) as on_progress:
        return build_images(
            planned,
            engine,
            BuildParameters(
                jobs=run.build.jobs,
                secrets=secrets,
                find_links=wheel_folders(run.build.find_links, run.context),
                on_progress=on_progress,
            ),
            option=run.build.builder,
            engine_obstacle=engine_obstacle,
            log=run.context.log,
        )


def _result(
    run: Run,
    image: Image,
    built: BuiltImage | BuildFailure | None,
    base: Base | DlimgError,
    engine: Engine,
) -> ImageResult:
    """Test and publish one image; an error ends this image and no other."""
    if isinstance(base, DlimgError):
        return ImageResult(image=image, error=base)
    if not isinstance(built, BuiltImage) or run.test is None:
        return ImageResult(image=image, result=built)
    evidence: Evidence | None = None
    try:
        evidence = _test(run, run.test, built, engine)
        published = (
            _publish(run, run.test, run.publish, (built, evidence), engine) if run.publish else None
        )
        return ImageResult(image=image, result=built, evidence=evidence, published=published)
    except DlimgError as error:
        return ImageResult(image=image, result=built, evidence=evidence, error=error)


def _checks(run: Run, settings: TestSettings, cell: Cell) -> tuple[Check, ...]:
    checks = checks_of_cell(run.project, cell, settings.own_checks)
    if not settings.only:
        return checks
    return tuple(replace(check, required=True) for check in checks if check.name in settings.only)


def _test(
    run: Run,
    settings: TestSettings,
    built: BuiltImage,
    engine: Engine,
    *,
    is_foreign: bool = False,
) -> Evidence:
    cell = built.planned.image.cell
    device = (settings.device or default_device(engine)) if cell.is_cuda else None
    run.context.log(f"{cell.id}  testing {f'on {device}' if device else 'without a GPU'}")
    return run_checks(
        built,
        _checks(run, settings, cell),
        engine,
        device=device,
        images=run.project.images,
        settings=CheckSettings(
            evidence=settings.evidence,
            log=run.context.log,
            own_checks=settings.own_checks,
            revision=settings.revision,
            is_foreign=is_foreign,
        ),
    )


def _publish(
    run: Run,
    settings: TestSettings,
    publish_settings: PublishSettings,
    tested: tuple[BuiltImage, Evidence],
    engine: Engine,
) -> PublishedImage:
    """Publish a tested image; raises what `publish` raises."""
    built, evidence = tested
    context = run.context
    attach = AttachSettings(evidence=settings.evidence, revision=settings.revision)
    request = PublishRequest(
        to=publish_settings.to,
        allow_untested_gpu=publish_settings.allow_untested_gpu,
        attach=attach if publish_settings.attach_evidence else None,
        context=context,
        runner=_check_runner(run, settings, built.planned.image.cell, engine),
        state=settings.evidence,
    )
    families = (cell.family for cell in run.project.resolution.cells)
    sources = ImageSources(
        store=layer_store(context),
        engine=engine,
        siblings=repositories_of_families(publish_settings.to, families),
        log=context.log,
    )
    return publish(built, evidence, sources, request=request)


def _check_runner(run: Run, settings: TestSettings, cell: Cell, engine: Engine) -> CheckRunner:
    images, own = run.project.images, settings.own_checks
    checks = _checks(run, settings, cell)

    def checks_today(built: BuiltImage) -> Sequence[Check]:
        return current_checks(built, checks, engine, images=images, own_checks=own)

    def test_image(built: BuiltImage) -> Evidence:
        return _test(run, settings, built, engine, is_foreign=True)

    def known_evidence(built: BuiltImage, config: Mapping[str, Any]) -> Evidence | None:
        inputs = make_inputs_from_config(
            built.planned, config, read_reference_data(built.planned, engine, images)
        )
        ready = prepare_checks(built.planned, checks, inputs, images=images, own_checks=own)
        records = read_evidence(settings.evidence, built.digest, log=run.context.log)
        complete = covering_records(records, ids_of_checks(ready))
        on_gpu = (evidence for evidence in complete if is_gpu_tested(evidence))
        best = next(on_gpu, complete[-1] if complete else None)
        return _with_required(best, checks) if best else None

    return CheckRunner(checks=checks_today, test=test_image, known=known_evidence)


def _with_required(evidence: Evidence, checks: Sequence[Check]) -> Evidence:
    """Return the evidence with what is required today."""
    required = {check.name: check.required for check in checks}
    verdicts = tuple(
        replace(verdict, required=required[verdict.check]) for verdict in evidence.verdicts
    )
    return replace(evidence, verdicts=verdicts)
