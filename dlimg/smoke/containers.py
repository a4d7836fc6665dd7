"""Checks run in a container of the image; every one of them ends, and so does the container."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import docker
from docker.models.containers import Container

import dlimg
from dlimg.build.interrupt import terminable
from dlimg.engine.client import Engine, answering
from dlimg.engine.gpu import device_request
from dlimg.errors import BadInput, DlimgError, Negative
from dlimg.model import Built, Check, Evidence, Verdict
from dlimg.smoke.evidence import read_evidence, reusable, write_evidence
from dlimg.smoke.execute import Place, first_environment, run_check
from dlimg.smoke.host import engine_text, host_of
from dlimg.smoke.last import vanished
from dlimg.smoke.scripts import archive, placed, scripts
from dlimg.smoke.told import Told, told
from dlimg.smoke.verdicts import GPU, NO_DEVICE, SIGHT, Gpu, gpus, verdict

LABEL: Final = "io.dlimg.check"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where evidence is kept, and what a check may use; `memory` 0 is 3/4 of the engine's."""

    evidence: Path
    say: Callable[[str], None]
    memory: int = 0
    processes: int = 4096
    shared_memory: str = "1g"
    patience: float = 15.0


@answering()
def test(
    built: Built,
    checks: Sequence[Check],
    engine: Engine,
    *,
    device: str | None,
    images: Path,
    settings: Settings,
) -> Evidence:
    """What these checks say of the image, on this device or without one; kept as evidence.

    A verdict that still holds is not sought again: what is kept of a check that needs a GPU
    holds only on the same GPU with the same driver, so a given GPU is always looked at anew.
    Raises `BadInput` when the engine does not have the device, and `KeyboardInterrupt` after
    the container is gone.
    """
    given = device or NO_DEVICE
    found = scripts(images, built.planned.image.cell.family)
    ready = [placed(check, images, found) for check in checks]
    cell_id = built.planned.image.cell.id
    gone = vanished(settings.evidence, cell_id, {check.name for check in ready}, say=settings.say)
    known = read_evidence(settings.evidence, built.digest, say=settings.say)
    before = next((one for one in known if one.device == given), None)
    kept = {check.name: reusable(known, check, given) for check in ready}
    if before is not None and all(kept.values()) and not _is_on_gpu(ready, given):
        return _again(before, tuple(one for one in kept.values() if one), gone, settings)
    facts = told(built.planned, engine.sdk.images.get(built.digest).labels)
    with _container(built, engine, device, settings, facts) as there:
        there.container.put_archive("/", archive({**found, **facts.files}))
        seen_before = gpus(before.verdicts) if before else ()
        verdicts = _verdicts(there, ready, kept, given, seen_before)
    is_new = any(one is not kept[one.check] for one in verdicts if one.check != SIGHT)
    if before is not None and not is_new:
        return _again(before, verdicts, gone, settings)
    evidence = replace(_evidence(built, engine, given, verdicts), vanished=gone)
    write_evidence(settings.evidence, evidence, say=settings.say)
    return evidence


def _again(
    before: Evidence, verdicts: tuple[Verdict, ...], gone: tuple[str, ...], settings: Settings
) -> Evidence:
    """What was known before; noted anew when a check is gone, so that this is told of once."""
    names = {verdict.check for verdict in verdicts}
    missed = gone or tuple(name for name in before.vanished if name not in names)
    evidence = replace(before, verdicts=verdicts, vanished=missed)
    if gone:
        write_evidence(settings.evidence, evidence, say=settings.say)
    return evidence


def _is_on_gpu(checks: Sequence[Check], given: str) -> bool:
    return given != NO_DEVICE and any(GPU in check.needs for check in checks)


def _verdicts(
    there: Place,
    checks: Sequence[Check],
    kept: Mapping[str, Verdict | None],
    given: str,
    seen_before: tuple[Gpu, ...],
) -> tuple[Verdict, ...]:
    """A verdict for each check; what is kept of another GPU or driver is not one."""
    found: dict[str, Verdict] = {}
    # The look at the GPU comes first: what is kept of the others depends on it.
    for check in sorted(checks, key=lambda one: one.name != SIGHT):
        seen = gpus(tuple(found.values()))
        is_same = bool(seen) and seen == seen_before
        held = kept[check.name] if is_same or not _is_on_gpu([check], given) else None
        found[check.name] = held or verdict(check, run_check(there, check), device=given)
    return tuple(found[check.name] for check in checks)


@contextlib.contextmanager
def _container(
    built: Built, engine: Engine, device: str | None, settings: Settings, facts: Told
) -> Iterator[Place]:
    """A container of the image that does nothing; removed whatever happens."""
    memory = settings.memory or int(engine.sdk.info()["MemTotal"]) * 3 // 4
    # The name is known before the container is there, so an interrupt leaves nothing behind.
    name = f"dlimg-check-{secrets.token_hex(6)}"
    with terminable():
        try:
            limited = replace(settings, memory=memory)
            container = _started(name, built, engine, device, limited, facts)
            yield Place(
                container=container,
                api=engine.sdk.api,
                environment=first_environment(container) if device else {},
                memory=memory,
                patience=settings.patience,
            )
        finally:
            with contextlib.suppress(docker.errors.NotFound):
                engine.sdk.api.remove_container(name, force=True)


def _started(
    name: str, built: Built, engine: Engine, device: str | None, settings: Settings, facts: Told
) -> Container:
    try:
        container = engine.sdk.containers.create(
            built.digest,
            name=name,
            entrypoint=["sleep", "infinity"],
            environment={**facts.environment, "DLIMG_GPU": "expected" if device else "none"},
            labels={LABEL: built.digest},
            network_mode="none",
            mem_limit=settings.memory,
            memswap_limit=settings.memory,
            pids_limit=settings.processes,
            shm_size=settings.shared_memory,
            device_requests=[device_request(device)] if device else None,
            use_config_proxy=False,  # a proxy's password is the user's, and not the image's
        )
        container.start()
    except docker.errors.APIError as error:
        raise _refusal(built, device, error) from error
    return container


def _refusal(built: Built, device: str | None, error: docker.errors.APIError) -> DlimgError:
    """What it means that the engine does not do as it was told."""
    if device:
        return BadInput(
            f"the engine cannot give {device} to a container: {error.explanation}",
            hint="`docker info` lists its CDI devices; without --device the checks run on the CPU",
        )
    return Negative(
        f"no check could be run: {error.explanation}",
        where=built.planned.image.cell.id,
        hint="the engine's own log may say more; build the image again if it is gone",
    )


def _evidence(built: Built, engine: Engine, device: str, verdicts: tuple[Verdict, ...]) -> Evidence:
    return Evidence(
        digest=built.digest,
        cell=built.planned.image.cell.id,
        device=device,
        day=datetime.now(UTC).date().isoformat(),
        dlimg=dlimg.__version__,
        engine=engine_text(engine),
        host=host_of(engine),
        verdicts=verdicts,
    )
