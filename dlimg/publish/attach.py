"""Documents attached to an image at the registry: its lock, and the evidence of its checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.checks.evidence import (
    MEDIA_TYPE,
    checks_of,
    covering_records,
    evidence_document,
    read_evidence,
)
from dlimg.checks.verdicts import gpu_names_of, is_gpu_tested, outcome_of
from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.lock.lockfile import lock_text
from dlimg.model import BuiltImage, Evidence
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Descriptor, read_manifest
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.registry.referrers import DIRTY, REVISION, Artifact, attach_if_missing, list_referrers
from dlimg.registry.responses import RegistryRefusal

LOCK_TYPE: Final = "application/vnd.dlimg.lock.v1+json"
TESTED_DIGEST_LABEL: Final = "io.dlimg.tested-digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSettings:
    """The evidence folder, and the commit of the project that publishes."""

    evidence: Path
    revision: Revision = NO_REVISION


def attach_documents(
    built: BuiltImage,
    evidence: Evidence,
    reference: str,
    settings: AttachSettings,
    context: Context,
) -> None:
    """Attach the lock and the evidence to the image `repository@digest`.

    The evidence is that of the same checks on every known device; evidence of a user's own checks
    in another project is not published. Raises as `attach_artifacts` does.
    """
    records = read_evidence(settings.evidence, built.digest, log=context.log)
    records = covering_records(records, checks_of(evidence))
    if evidence.device not in {record.device for record in records}:
        records = (*records, evidence)
    artifacts = tuple(artifacts_of(built, records, settings.revision))
    count = attach_artifacts(reference, artifacts, context)
    devices = ", ".join(record.device for record in records)
    context.log(
        f"{evidence.cell}: attached the lock, and evidence by device: {devices} "
        f"({count} attached now, {len(artifacts) - count} already there)"
    )


def artifacts_of(
    built: BuiltImage, records: Sequence[Evidence], revision: Revision = NO_REVISION
) -> Iterator[Artifact]:
    """Yield the lock, and one evidence document for each device.

    The same records give the same documents, so publishing twice adds nothing; the commit of the
    first publisher is an annotation.
    """
    cell = built.planned.image.cell
    publisher = (
        {REVISION: revision.commit, DIRTY: "yes" if revision.dirty else "no"}
        if revision.commit
        else {}
    )
    yield Artifact(
        kind=LOCK_TYPE,
        text=lock_text(built.planned.image.lock),
        title=f"{cell.id}.json",
        annotations={"io.dlimg.cell": cell.id, **publisher},
    )
    for record in records:
        yield Artifact(
            kind=MEDIA_TYPE,
            text=evidence_document(record),
            title=f"{cell.id}-evidence.json",
            annotations={
                "io.dlimg.cell": cell.id,
                "io.dlimg.day": record.day,
                "io.dlimg.device": record.device,
                "io.dlimg.gpu": " and ".join(gpu_names_of(record)) or "none",
                "io.dlimg.gpu-tested": "yes" if is_gpu_tested(record) else "no",
                "io.dlimg.outcome": outcome_of(record.verdicts),
                TESTED_DIGEST_LABEL: record.digest,
                **publisher,
            },
        )


def attach_artifacts(reference: str, artifacts: Sequence[Artifact], context: Context) -> int:
    """Attach these to the image `repository@digest`; return how many had to be sent.

    Raises `NetworkFailure` when this machine cannot reach the registry, or it refuses one.
    """
    target = parse_reference(reference)
    with open_registry(target.host or DOCKER_HUB, context) as registry:
        repository = Repository(registry=registry, name=target.name)
        image = read_manifest(repository, target.digest)
        if image is None:
            raise NetworkFailure(
                f"this machine does not find {reference}",
                hint="the engine reaches another registry under that address",
            )
        listed = _list_referrers(repository, target.digest)
        subject = image.descriptor
        return sum(
            attach_if_missing(repository, artifact, subject, listed) for artifact in artifacts
        )


def _list_referrers(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    """Return the image's referrers; empty if the registry cannot list them but may accept more."""
    try:
        return list_referrers(repository, digest)
    except RegistryRefusal:
        return ()
