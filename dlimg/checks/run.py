"""Checks run in containers of the image; every one of them ends, and so do the containers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import docker

import dlimg
from dlimg.checks.container import CheckContainer, ContainerSpec, check_container
from dlimg.checks.container_setup import (
    ROOT,
    ContainerKind,
    container_options,
    group_by_kind,
    prepare_check,
    scripts_archive,
)
from dlimg.checks.discover import read_scripts
from dlimg.checks.evidence import (
    CheckSets,
    check_sets,
    closest_record,
    missing_before,
    read_evidence,
    read_last_run,
    record_last_run,
    report_missing_checks,
    reusable_verdict,
    write_evidence,
)
from dlimg.checks.execute import is_clean, run_check
from dlimg.checks.host import engine_text, host_of
from dlimg.checks.image_inputs import wheel_records
from dlimg.checks.inputs import CheckInputs, ReferenceData, check_inputs
from dlimg.checks.verdicts import (
    GPU,
    GPU_CHECK,
    NO_DEVICE,
    TestedGpu,
    run_with_retry,
    tested_gpus,
    verdict_line,
    verdict_of,
)
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.gpu import device_request
from dlimg.engine.ownership import OWNER_LABEL, owner_label
from dlimg.errors import BadInput, DlimgError, Negative
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.model import BaseSource, BuiltImage, Check, Evidence, PlannedImage, Verdict
from dlimg.render.dockerfile import templates
from dlimg.render.layout_tree import Node, layout_tree
from dlimg.store.store import layer_store

LABEL: Final = "io.dlimg.check"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """Where evidence is kept, and what a check may use; `memory` 0 is 3/4 of the engine's.

    `own` is a user's folder of checks, `revision` the commit of the project that the others are
    of. An image that `is_foreign` was built elsewhere, and is not noted as the cell's last one.
    """

    evidence: Path
    log: Callable[[str], None]
    memory: int = 0
    processes: int = 4096
    shared_memory: str = "1g"
    patience: float = 15.0
    own: Path | None = None
    revision: Revision = NO_REVISION
    is_foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all containers of one image's checks are made from."""

    built: BuiltImage
    engine: Engine
    device: str | None
    settings: CheckSettings
    facts: CheckInputs
    files: bytes


@engine_errors()
def run_checks(
    built: BuiltImage,
    checks: Sequence[Check],
    engine: Engine,
    *,
    device: str | None,
    images: Path,
    settings: CheckSettings,
) -> Evidence:
    """What these checks log of the image, on this device or without one; kept as evidence.

    A verdict that still holds is not sought again: what is kept of a check that needs a GPU
    holds only on the same GPU with the same driver, so a given GPU is always looked at anew.
    Raises `BadInput` when the engine does not have the device, `Negative` when it has no such
    image any more, and `KeyboardInterrupt` after the container is gone.
    """
    given = device or NO_DEVICE
    cell = built.planned.image.cell
    found = read_scripts(images, cell.family, settings.own, cell.framework.folder)
    facts = inputs_of_engine_image(built, engine, images)
    ready = [prepare_check(check, images, found, facts) for check in checks]
    sets = check_sets([check.name for check in ready], found, images, settings.own)
    last = read_last_run(settings.evidence, cell.id, log=settings.log)
    gone = report_missing_checks(last, sets, log=settings.log)
    missed = gone or missing_before(last, sets)
    noted = None if settings.is_foreign else sets
    known = read_evidence(settings.evidence, built.digest, log=settings.log)
    before = closest_record(known, check_ids(ready), given)
    # A device's name does not log which GPU it is, so all is compared with one record's GPUs.
    comparable = known if given == NO_DEVICE else tuple(one for one in (before,) if one)
    kept = {check.name: _held(comparable, check, given) for check in ready}
    if before is not None and all(kept.values()) and not _is_on_gpu(ready, given):
        verdicts = tuple(one for one in kept.values() if one)
        return _again(before, verdicts, missed, noted, settings)
    files = scripts_archive({**found, **facts.files}, ROOT)
    memory = settings.memory or int(engine.sdk.info()["MemTotal"]) * 3 // 4
    job = _Job(
        built=built,
        engine=engine,
        device=device,
        settings=replace(settings, memory=memory),
        facts=facts,
        files=files,
    )
    seen_before = tested_gpus(before.verdicts) if before else ()
    verdicts = _verdicts(job, ready, kept, seen_before)
    is_new = any(one is not kept[one.check] for one in verdicts if one.check != GPU_CHECK)
    if before is not None and not is_new:
        return _again(before, verdicts, missed, noted, settings)
    evidence = replace(_evidence(job, given, verdicts), vanished=gone)
    write_evidence(settings.evidence, evidence, log=settings.log, sets=noted)
    return evidence


def current_checks(
    built: BuiltImage, checks: Sequence[Check], engine: Engine, *, images: Path, own: Path | None
) -> tuple[Check, ...]:
    """These checks as they would run in the image now, each with the sha256 that verdicts go by.

    Raises `Negative` when the engine has the image no more.
    """
    facts = inputs_of_engine_image(built, engine, images)
    return prepare_checks(built.planned, checks, facts, images=images, own_checks=own)


def prepare_checks(
    planned: PlannedImage,
    checks: Sequence[Check],
    facts: CheckInputs,
    *,
    images: Path,
    own: Path | None,
) -> tuple[Check, ...]:
    """The same for an image of which only is known what checks would be told of it."""
    cell = planned.image.cell
    found = read_scripts(images, cell.family, own, cell.framework.folder)
    return tuple(prepare_check(check, images, found, facts) for check in checks)


def check_ids(checks: Sequence[Check]) -> frozenset[tuple[str, str]]:
    """The set of these checks: the name and sha256 of each."""
    return frozenset((check.name, check.sha256) for check in checks)


def _again(
    before: Evidence,
    verdicts: tuple[Verdict, ...],
    missed: tuple[str, ...],
    sets: CheckSets | None,
    settings: CheckSettings,
) -> Evidence:
    """What was known before, of these checks alone; a check that is gone is told of once."""
    evidence = replace(before, verdicts=verdicts, vanished=missed)
    record_last_run(settings.evidence, evidence, log=settings.log, sets=sets)
    return evidence


def inputs_of_engine_image(built: BuiltImage, engine: Engine, images: Path) -> CheckInputs:
    """What checks are told of an image in the engine; `Negative` when it is there no more.

    `told_by_config` has to tell the same of an image at a registry.
    """
    config, history = _config(built, engine)
    reference = reference_data(built.planned, engine, images)
    return check_inputs(built.planned, config.get("Labels") or {}, config, history, reference)


def reference_data(planned: PlannedImage, engine: Engine, images: Path) -> ReferenceData:
    """What this machine knows that the image can be compared with; `images` has the templates."""
    store = layer_store(engine.environment)
    return ReferenceData(
        base_labels=_base_labels(planned, engine),
        layout=_layout(planned, images),
        records=wheel_records(planned.image.lock, store),
    )


def _config(built: BuiltImage, engine: Engine) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """How the image is started, with its labels, and the steps of its history, newest first.

    Raises `Negative` when the engine has it no more.
    """
    try:
        image = engine.sdk.images.get(built.digest)
        steps = (str(step.get("CreatedBy") or "") for step in image.history())
        return dict(image.attrs.get("Config") or {}), tuple(steps)
    except docker.errors.ImageNotFound as error:
        raise Negative(
            f"the engine has no image {built.digest} any more",
            where=built.planned.image.cell.id,
            hint=f"`dlimg build {built.planned.image.cell.id}` makes it again",
        ) from error


def _base_labels(planned: PlannedImage, engine: Engine) -> Mapping[str, str]:
    """The labels of the registry's image below, where the engine has that."""
    base = planned.base
    if base.source is not BaseSource.REGISTRY:
        return {}
    try:
        image = engine.sdk.images.get(base.reference.removeprefix("docker-image://"))
    except docker.errors.APIError:
        return {}
    return {str(name): str(text) for name, text in (image.labels or {}).items()}


def _layout(planned: PlannedImage, images: Path) -> tuple[Node, ...]:
    """The layout's own paths; none for a project that does not have dlimg's layout."""
    if not (images / "_layout").is_dir():
        return ()
    image = planned.image
    return layout_tree(image.cell, image.lock, templates(str(images)))


def _is_on_gpu(checks: Sequence[Check], given: str) -> bool:
    return given != NO_DEVICE and any(GPU in check.needs for check in checks)


def _held(known: Sequence[Evidence], check: Check, given: str) -> Verdict | None:
    """The verdict that still holds; whether it is required is for today's matrix to log."""
    held = reusable_verdict(known, check, given)
    return replace(held, required=check.required) if held else None


def _verdicts(
    job: _Job,
    checks: Sequence[Check],
    kept: Mapping[str, Verdict | None],
    seen_before: tuple[TestedGpu, ...],
) -> tuple[Verdict, ...]:
    """A verdict for each check; what is kept of another GPU or driver is not one."""
    given = job.device or NO_DEVICE
    found: dict[str, Verdict] = {}
    for kind, members in group_by_kind(checks):
        with check_container(job.engine, _recipe(job, kind, members)) as here:
            for check in members:
                seen = tested_gpus(tuple(found.values()))
                is_same = bool(seen) and seen == seen_before
                held = kept[check.name] if is_same or not _is_on_gpu([check], given) else None
                found[check.name] = held or _sought(job, here, check)
    return tuple(found[check.name] for check in checks)


def _sought(job: _Job, here: CheckContainer, check: Check) -> Verdict:
    """The verdict, of which the user is told; a second attempt is made in a fresh container."""
    given = job.device or NO_DEVICE
    found = run_with_retry(check, lambda: _attempt(here, check, given), between=here.clear)
    job.settings.log(verdict_line(job.built.planned.image.cell.id, found))
    return found


def _attempt(here: CheckContainer, check: Check, given: str) -> Verdict:
    there = here.place()
    ran = run_check(there, check)
    if not is_clean(there):
        here.clear()
    return verdict_of(check, ran, device=given)


def _recipe(job: _Job, kind: ContainerKind, members: Sequence[Check]) -> ContainerSpec:
    """The container of these checks; a GPU is given only where one of them needs it."""
    settings = job.settings
    device = job.device if any(GPU in check.needs for check in members) else None
    told_of_gpu = {"DLIMG_GPU": "expected" if device else "none"}
    common: dict[str, Any] = {
        "environment": {**job.facts.environment, **told_of_gpu},
        "labels": {LABEL: job.built.digest, OWNER_LABEL: owner_label()},
        "pids_limit": settings.processes,
        "shm_size": settings.shared_memory,
        "device_requests": [device_request(device)] if device else None,
    }

    def refusal(error: docker.errors.APIError) -> DlimgError:
        return _refusal(job.built, device, error)

    return ContainerSpec(
        digest=job.built.digest,
        options={**common, **container_options(kind)},
        files=job.files,
        has_device=device is not None,
        memory=settings.memory,
        patience=settings.patience,
        refusal=refusal,
    )


def _refusal(built: BuiltImage, device: str | None, error: docker.errors.APIError) -> DlimgError:
    """What it means that the engine does not do as it was told."""
    if device:
        return BadInput(
            f"the engine cannot give {device} to a container: {error.explanation}",
            hint="`docker info` lists its CDI devices; without --device the checks run on the CPU",
        )
    return Negative(
        f"no check could be run: {error.explanation}",
        where=built.planned.image.cell.id,
        hint="the engine's own log may log more; build the image again if it is gone",
    )


def _evidence(job: _Job, device: str, verdicts: tuple[Verdict, ...]) -> Evidence:
    return Evidence(
        digest=job.built.digest,
        cell=job.built.planned.image.cell.id,
        device=device,
        day=datetime.now(UTC).date().isoformat(),
        dlimg=dlimg.__version__,
        engine=engine_text(job.engine),
        host=host_of(job.engine),
        verdicts=verdicts,
        revision=job.settings.revision.commit,
        dirty=job.settings.revision.dirty,
    )
