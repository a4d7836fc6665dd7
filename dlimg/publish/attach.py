"""What was proved about an image and what is locked in it, laid beside it at the registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.checks.evidence import MEDIA_TYPE, checks_of, covering, evidence_document, read_evidence
from dlimg.checks.verdicts import gpu_names, is_gpu_tested, outcome
from dlimg.errors import NetworkFailure
from dlimg.host.git_revision import NO_REVISION, Revision
from dlimg.lock.lockfile import lock_text
from dlimg.model import BuiltImage, Evidence
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Descriptor, read_manifest
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.registry.referrers import DIRTY, REVISION, Artifact, attach_if_missing, list_referrers
from dlimg.registry.responses import RegistryRefusal

# An image with its evidence, and `repository@digest` where it now is.
Attach = Callable[[BuiltImage, Evidence, str], None]

LOCK_TYPE: Final = "application/vnd.dlimg.lock.v1+json"
TESTED_DIGEST: Final = "io.dlimg.tested-digest"


def nothing_beside(_built: BuiltImage, _evidence: Evidence, _reference: str) -> None:
    """For a registry that takes images alone."""


def evidence_beside(
    folder: Path,
    environment: Mapping[str, str],
    *,
    revision: Revision = NO_REVISION,
    say: Callable[[str], None],
) -> Attach:
    """What lays the lock beside an image, and the evidence of it in this folder.

    That is the evidence of the checks that were asked for, on every device: what another project
    on this machine has seen by checks of its own is not published. `revision` is the commit of
    the project that publishes.
    """

    def beside(built: BuiltImage, evidence: Evidence, reference: str) -> None:
        known = read_evidence(folder, built.digest, say=say)
        found = covering(known, checks_of(evidence))
        devices = {one.device for one in found}
        records = found if evidence.device in devices else (*found, evidence)
        documents = tuple(artifacts(built, records, revision))
        laid = lay_beside(reference, documents, environment)
        tested = ", ".join(record.device for record in records)
        say(
            f"{evidence.cell}: beside it the lock, and evidence by device: {tested} "
            f"({laid} laid there now, {len(documents) - laid} there already)"
        )

    return beside


def artifacts(
    built: BuiltImage, records: Sequence[Evidence], revision: Revision = NO_REVISION
) -> Iterator[Artifact]:
    """The lock, and a document for each device that the image was tested on.

    The same records make the same documents, so that to publish twice adds nothing; the commit
    of whoever published first is an annotation.
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
                "io.dlimg.gpu": " and ".join(gpu_names(record)) or "none",
                "io.dlimg.gpu-tested": "yes" if is_gpu_tested(record) else "no",
                "io.dlimg.outcome": outcome(record.verdicts),
                TESTED_DIGEST: record.digest,
                **publisher,
            },
        )


def lay_beside(
    reference: str, documents: Sequence[Artifact], environment: Mapping[str, str]
) -> int:
    """How many of these had to be sent to lie beside the image `repository@digest`.

    Those that are there stay as they are. Raises `NetworkFailure` when this machine cannot reach
    the registry, or it takes none.
    """
    place = parse_reference(reference)
    with open_registry(place.host or DOCKER_HUB, environment) as registry:
        repository = Repository(registry=registry, name=place.name)
        image = read_manifest(repository, place.digest)
        if image is None:
            raise NetworkFailure(
                f"{reference} is not there for this machine",
                hint="the engine sees another registry under that address",
            )
        listed = _listed(repository, place.digest)
        return sum(
            attach_if_missing(repository, one, image.descriptor, listed) for one in documents
        )


def _listed(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    """What lies beside the image; nothing where the registry does not tell, but may take more."""
    try:
        return list_referrers(repository, digest)
    except RegistryRefusal:
        return ()
