"""Running an image's checks in containers, and keeping the verdicts as evidence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import docker

import dlimg
from dlimg.checks.container_setup import (
    ROOT,
    ContainerKind,
    container_options,
    group_by_kind,
    kind_of,
    prepare_check,
    scripts_archive,
)
from dlimg.checks.discover import read_scripts
from dlimg.checks.evidence import (
    CheckSets,
    closest_record,
    group_by_folder,
    missing_before,
    read_evidence,
    read_last_run,
    record_last_run,
    report_missing_checks,
    reusable_verdict,
    write_evidence,
)
from dlimg.checks.execute import (
    CheckContainer,
    ContainerSpec,
    is_clean,
    open_container,
    run_check,
)
from dlimg.checks.host import engine_text, host_of
from dlimg.checks.image_inputs import read_inputs
from dlimg.checks.inputs import CheckInputs
from dlimg.checks.side_by_side import (
    OrderedLog,
    count_at_once,
    run_side_by_side,
    runs_alone,
)
from dlimg.checks.verdicts import (
    GPU,
    GPU_CHECK,
    NO_DEVICE,
    TestedGpu,
    gpus_of_verdicts,
    run_with_retry,
    verdict_line,
    verdict_of,
)
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.gpu import device_request
from dlimg.engine.ownership import OWNER_LABEL, owner_label
from dlimg.errors import BadInput, DlimgError, Negative
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.image_files import ImageFiles
from dlimg.model import BuiltImage, Check, Evidence, PlannedImage, Verdict

LABEL: Final = "io.dlimg.check"
_LIMITS: Final = ("out of time", "out of memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """The folder for evidence and the limits of checks; `memory` 0 means 3/4 of the engine's.

    `cores` is the most checks that run at once; 0 means one for each core of the engine.
    `own_checks` is the user's folder of checks, `revision` the project's commit. If `is_foreign`,
    the image was built elsewhere, and its run is not recorded as the cell's last one.
    """

    evidence: Path
    log: Callable[[str], None] = field(repr=False)
    memory: int = 0
    cores: int = 0
    processes: int = 4096
    shared_memory: str = "1g"
    grace: float = 15.0
    own_checks: Path | None = None
    revision: Revision = NO_REVISION
    is_foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One image's run: the values that all its containers share.

    `device` is `none` without a GPU. `gpu_kinds` are the kinds of containers that get it: those
    of which a check needs it.
    """

    built: BuiltImage
    engine: Engine
    device: str
    settings: CheckSettings
    inputs: CheckInputs
    files: bytes
    gpu_kinds: frozenset[ContainerKind] = frozenset()

    @property
    def cell(self) -> str:
        return self.built.planned.image.cell.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """Checks that are missing since the cell's last run, and what is to be recorded of this one.

    `missing` are checks found missing now, `still_missing` those reported before. `sets` are
    recorded as the cell's last run, unless they are None.
    """

    missing: tuple[str, ...]
    still_missing: tuple[str, ...]
    sets: CheckSets | None


@engine_errors()
def run_checks(
    built: BuiltImage,
    checks: Sequence[Check],
    engine: Engine,
    *,
    device: str | None,
    images: ImageFiles,
    settings: CheckSettings,
) -> Evidence:
    """Run these checks of the image, on this device or without one, and keep the evidence.

    Checks whose verdict still holds are not run again. The verdict of a check that needs a GPU
    holds only for the same GPU and driver, so the GPU itself is always checked anew. Raises
    `BadInput` when the engine does not have the device, `Negative` when it no longer has the
    image, and `KeyboardInterrupt` after the container is gone.
    """
    cell = built.planned.image.cell
    device_name = device or NO_DEVICE
    scripts = read_scripts(images, cell.family, settings.own_checks, cell.framework.folder)
    inputs = read_inputs(built, engine, images)
    ready = [prepare_check(check, images, scripts, inputs) for check in checks]
    names = [check.name for check in ready]
    sets = group_by_folder(names, scripts, images, settings.own_checks)
    history = _history(cell.id, sets, settings)
    known = _known_verdicts(built, ready, device_name, settings)
    closest = known.closest
    if closest is not None and known.is_complete and not _is_on_gpu(ready, device_name):
        return _repeat(closest, known.verdicts, history, settings)
    run = replace(
        _new_run(built, engine, device_name, settings, inputs, scripts),
        gpu_kinds=frozenset(kind_of(check) for check in ready if _is_on_gpu([check], device_name)),
    )
    gpus_before = gpus_of_verdicts(closest.verdicts) if closest else ()
    verdicts = _verdicts(run, ready, known.by_check, gpus_before)
    if closest is not None and not known.differs_from(verdicts):
        return _repeat(closest, verdicts, history, settings)
    evidence = _evidence(run, verdicts, history.missing)
    write_evidence(settings.evidence, evidence, log=settings.log, sets=history.sets)
    return evidence


def _new_run(
    built: BuiltImage,
    engine: Engine,
    device: str,
    settings: CheckSettings,
    inputs: CheckInputs,
    scripts: Mapping[str, bytes],
) -> _Run:
    return _Run(
        built=built,
        engine=engine,
        device=device,
        settings=_with_limits(settings, engine),
        inputs=inputs,
        files=scripts_archive({**scripts, **inputs.files}, ROOT),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownVerdicts:
    """The earlier verdict of each check, or None where it does not hold any more.

    `closest` is the record to repeat when nothing is new.
    """

    closest: Evidence | None
    by_check: Mapping[str, Verdict | None]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return tuple(filter(None, self.by_check.values()))

    @property
    def is_complete(self) -> bool:
        return None not in self.by_check.values()

    def differs_from(self, verdicts: Sequence[Verdict]) -> bool:
        """Return whether any of these is new; the GPU's own is always taken anew."""
        return any(
            verdict is not self.by_check[verdict.check]
            for verdict in verdicts
            if verdict.check != GPU_CHECK
        )


def _known_verdicts(
    built: BuiltImage, checks: Sequence[Check], device: str, settings: CheckSettings
) -> _KnownVerdicts:
    records = read_evidence(settings.evidence, built.digest, log=settings.log)
    closest = closest_record(records, ids_of_checks(checks), device)
    # A device's name does not identify its GPU, so all verdicts are taken from one record.
    comparable = records if device == NO_DEVICE else tuple(filter(None, [closest]))
    return _KnownVerdicts(
        closest=closest,
        by_check={check.name: _reusable(comparable, check, device) for check in checks},
    )


def _with_limits(settings: CheckSettings, engine: Engine) -> CheckSettings:
    """Return the settings with the engine's limits in place of 0."""
    info = engine.sdk.info()
    memory = settings.memory or int(info["MemTotal"]) * 3 // 4
    return replace(settings, memory=memory, cores=settings.cores or int(info["NCPU"]))


def current_checks(
    built: BuiltImage,
    checks: Sequence[Check],
    engine: Engine,
    *,
    images: ImageFiles,
    own_checks: Path | None,
) -> tuple[Check, ...]:
    """Return these checks as they would run in the image now, each with its full sha256.

    Raises `Negative` when the engine no longer has the image.
    """
    inputs = read_inputs(built, engine, images)
    return prepare_checks(built.planned, checks, inputs, images=images, own_checks=own_checks)


def prepare_checks(
    planned: PlannedImage,
    checks: Sequence[Check],
    inputs: CheckInputs,
    *,
    images: ImageFiles,
    own_checks: Path | None,
) -> tuple[Check, ...]:
    """Return these checks with paths and full sha256, for an image with these inputs."""
    cell = planned.image.cell
    scripts = read_scripts(images, cell.family, own_checks, cell.framework.folder)
    return tuple(prepare_check(check, images, scripts, inputs) for check in checks)


def ids_of_checks(checks: Sequence[Check]) -> frozenset[tuple[str, str]]:
    """Return the name and sha256 of each check."""
    return frozenset((check.name, check.sha256) for check in checks)


def _history(cell: str, sets: CheckSets, settings: CheckSettings) -> _History:
    last_run = read_last_run(settings.evidence, cell, log=settings.log)
    missing = report_missing_checks(last_run, sets, log=settings.log)
    return _History(
        missing=missing,
        still_missing=missing or missing_before(last_run, sets),
        sets=None if settings.is_foreign else sets,
    )


def _repeat(
    closest: Evidence,
    verdicts: tuple[Verdict, ...],
    history: _History,
    settings: CheckSettings,
) -> Evidence:
    """Return earlier evidence with these verdicts; record it as the result of this run."""
    evidence = replace(closest, verdicts=verdicts, vanished=history.still_missing)
    record_last_run(settings.evidence, evidence, log=settings.log, sets=history.sets)
    return evidence


def _is_on_gpu(checks: Sequence[Check], device: str) -> bool:
    return device != NO_DEVICE and any(GPU in check.needs for check in checks)


def _reusable(records: Sequence[Evidence], check: Check, device: str) -> Verdict | None:
    """Return the verdict that still holds, required as today's matrix says."""
    verdict = reusable_verdict(records, check, device)
    return replace(verdict, required=check.required) if verdict else None


def _verdicts(
    run: _Run,
    checks: Sequence[Check],
    reusable: Mapping[str, Verdict | None],
    gpus_before: tuple[TestedGpu, ...],
) -> tuple[Verdict, ...]:
    """Return a verdict for each check; GPU verdicts are reused only for the same GPU and driver.

    Checks that run alone come first. A check that reaches a limit beside others has proved
    nothing: it runs again alone.
    """
    verdicts: dict[str, Verdict] = {}

    def run_alone(container: CheckContainer, check: Check) -> None:
        gpus = gpus_of_verdicts(tuple(verdicts.values()))
        is_same_gpu = bool(gpus) and gpus == gpus_before
        may_reuse = is_same_gpu or not _is_on_gpu([check], run.device)
        kept_verdict = reusable[check.name] if may_reuse else None
        verdicts[check.name] = kept_verdict or _run_and_log(run, container, check)

    _run_in_turn(run, [check for check in checks if runs_alone(check, run.device)], run_alone)
    others = [check for check in checks if check.name not in verdicts]
    verdicts |= {check.name: verdict for check in others if (verdict := reusable[check.name])}
    verdicts |= _run_beside(run, [check for check in others if check.name not in verdicts])
    _run_in_turn(run, [check for check in others if check.name not in verdicts], run_alone)
    return tuple(verdicts[check.name] for check in checks)


def _run_in_turn(
    run: _Run, checks: Sequence[Check], run_one: Callable[[CheckContainer, Check], None]
) -> None:
    """Run each check in the container of its kind, which has all of the memory."""
    for kind, members in group_by_kind(checks):
        spec = _container_spec(run, kind, run.settings.memory)
        with open_container(run.engine, spec) as container:
            for check in members:
                run_one(container, check)


def _run_beside(run: _Run, checks: Sequence[Check]) -> Mapping[str, Verdict]:
    """Run the checks side by side; return their verdicts, except of checks that reached a limit."""
    ordered = [check for _, members in group_by_kind(checks) for check in members]
    settings = run.settings
    count = count_at_once(ordered, cores=settings.cores, memory=settings.memory)
    log = OrderedLog(settings.log, ordered)
    verdicts: dict[str, Verdict] = {}

    def new_container(kind: ContainerKind) -> CheckContainer:
        return CheckContainer(run.engine, _container_spec(run, kind, settings.memory // count))

    def run_one(container: CheckContainer, check: Check) -> None:
        try:
            verdict = _verdict(run, container, check, is_beside=count > 1)
        except _LimitReached:
            log.add(check, "")
        else:
            verdicts[check.name] = verdict
            log.add(check, verdict_line(run.cell, verdict))

    run_side_by_side(ordered, count, new_container, run_one)
    return verdicts


def _run_and_log(run: _Run, container: CheckContainer, check: Check) -> Verdict:
    verdict = _verdict(run, container, check, is_beside=False)
    run.settings.log(verdict_line(run.cell, verdict))
    return verdict


def _verdict(run: _Run, container: CheckContainer, check: Check, *, is_beside: bool) -> Verdict:
    """Run the check, a second time in a fresh container if it is flaky.

    Raises _LimitReached for a limit of time or memory that it reached beside others.
    """

    def attempt() -> Verdict:
        running = container.running()
        result = run_check(running, check)
        if not is_clean(running):
            container.remove()
        if is_beside and result.ending in _LIMITS:
            raise _LimitReached
        return verdict_of(check, result, device=run.device)

    return run_with_retry(check, attempt, between=container.remove)


class _LimitReached(Exception):
    """A check reached its limit of time or memory beside others."""


def _container_spec(run: _Run, kind: ContainerKind, memory: int) -> ContainerSpec:
    """Return a container of this kind with this limit of memory."""
    settings = run.settings
    device = run.device if kind in run.gpu_kinds else None
    common: dict[str, Any] = {
        "environment": {**run.inputs.environment, "DLIMG_GPU": "expected" if device else "none"},
        "labels": {LABEL: run.built.digest, OWNER_LABEL: owner_label()},
        "pids_limit": settings.processes,
        "shm_size": settings.shared_memory,
        "device_requests": [device_request(device)] if device else None,
    }

    def refusal(error: docker.errors.APIError) -> DlimgError:
        return _refusal(run.cell, device, error)

    return ContainerSpec(
        digest=run.built.digest,
        options={**common, **container_options(kind, run.built.planned.image.cell.user)},
        files=run.files,
        has_device=device is not None,
        memory=memory,
        grace=settings.grace,
        refusal=refusal,
    )


def _refusal(cell: str, device: str | None, error: docker.errors.APIError) -> DlimgError:
    """Return the error for an engine that cannot create the container."""
    if device:
        return BadInput(
            f"the engine cannot give {device} to a container: {error.explanation}",
            hint="`docker info` lists its CDI devices; without --device the checks run on the CPU",
        )
    return Negative(
        f"no check could be run: {error.explanation}",
        where=cell,
        hint="the engine's own log may say more; build the image again if it is gone",
    )


def _evidence(run: _Run, verdicts: tuple[Verdict, ...], missing: tuple[str, ...]) -> Evidence:
    return Evidence(
        digest=run.built.digest,
        cell=run.cell,
        device=run.device,
        day=datetime.now(UTC).date().isoformat(),
        dlimg=dlimg.__version__,
        engine=engine_text(run.engine),
        host=host_of(run.engine),
        verdicts=verdicts,
        vanished=missing,
        revision=run.settings.revision.commit,
        dirty=run.settings.revision.dirty,
    )
