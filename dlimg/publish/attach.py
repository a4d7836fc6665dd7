"""What was proved about an image and what is locked in it, laid beside it at the registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.errors import NetworkFailure
from dlimg.lock.lockfile import lock_text
from dlimg.model import Built
from dlimg.proof import Evidence
from dlimg.registry.artifacts import Artifact, attach
from dlimg.registry.manifests import manifest_at
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.registry.session import Repository, opened
from dlimg.smoke.evidence import MEDIA_TYPE, evidence_document, read_evidence
from dlimg.smoke.verdicts import gpu_names, is_gpu_tested, outcome

# An image with its evidence, and `repository@digest` where it now is.
Attach = Callable[[Built, Evidence, str], None]

LOCK_TYPE: Final = "application/vnd.dlimg.lock.v1+json"
TESTED_DIGEST: Final = "io.dlimg.tested-digest"


def nothing_beside(_built: Built, _evidence: Evidence, _reference: str) -> None:
    """For a registry that takes images alone."""


def evidence_beside(
    folder: Path, environment: Mapping[str, str], *, say: Callable[[str], None]
) -> Attach:
    """What lays the lock beside an image, and all the evidence of it in this folder."""

    def beside(built: Built, evidence: Evidence, reference: str) -> None:
        kept = read_evidence(folder, built.digest, say=say)
        devices = {one.device for one in kept}
        records = kept if evidence.device in devices else (*kept, evidence)
        lay_beside(reference, tuple(artifacts(built, records)), environment)
        tested = ", ".join(record.device for record in records)
        say(f"{evidence.cell}: beside it the lock, and evidence by device: {tested}")

    return beside


def artifacts(built: Built, records: Sequence[Evidence]) -> Iterator[Artifact]:
    """The lock, and a document for each device that the image was tested on.

    The same records make the same artifacts, so that to publish twice adds nothing.
    """
    cell = built.planned.image.cell
    yield Artifact(
        kind=LOCK_TYPE,
        text=lock_text(built.planned.image.lock),
        title=f"{cell.id}.json",
        annotations={"io.dlimg.cell": cell.id},
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
                "io.dlimg.gpu": " and ".join(gpu_names(record)) or "none",
                "io.dlimg.gpu-tested": "yes" if is_gpu_tested(record) else "no",
                "io.dlimg.outcome": outcome(record.verdicts),
                TESTED_DIGEST: record.digest,
            },
        )


def lay_beside(
    reference: str, documents: Sequence[Artifact], environment: Mapping[str, str]
) -> None:
    """Attach these to the image `repository@digest`; those that are there stay as they are.

    Raises `NetworkFailure` when this machine cannot reach the registry, or it takes none.
    """
    place = parse_reference(reference)
    with opened(place.host or DOCKER_HUB, environment) as registry:
        repository = Repository(registry=registry, name=place.name)
        image = manifest_at(repository, place.digest)
        if image is None:
            raise NetworkFailure(
                f"{reference} is not there for this machine",
                hint="the engine sees another registry under that address",
            )
        for document in documents:
            attach(repository, document, image.descriptor)
