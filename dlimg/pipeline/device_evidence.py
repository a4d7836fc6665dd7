"""Evidence of one image from several places, by device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.checks.verdicts import NO_DEVICE, gpu_names_of
from dlimg.model import Evidence

HERE: Final = "kept here"
AT_REGISTRY: Final = "at the registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvidence:
    """The evidence of one device, and the places that have it."""

    evidence: Evidence
    where: tuple[str, ...]


def evidence_by_device(
    local: Sequence[Evidence], published: Sequence[Evidence]
) -> tuple[DeviceEvidence, ...]:
    """Return each evidence once, newest first, with every place that has it."""
    distinct: list[Evidence] = []
    for evidence in (*local, *published):
        if evidence not in distinct:
            distinct.append(evidence)
    sources = ((HERE, local), (AT_REGISTRY, published))
    by_device = [
        DeviceEvidence(
            evidence=evidence,
            where=tuple(name for name, collection in sources if evidence in collection),
        )
        for evidence in distinct
    ]
    return tuple(sorted(by_device, key=lambda proof: proof.evidence.day, reverse=True))


def newest_by_gpu(proofs: Sequence[DeviceEvidence]) -> tuple[Evidence, ...]:
    """Return the newest evidence on each GPU: an older pass does not outweigh it."""
    newest: dict[tuple[str, ...], Evidence] = {}
    for proof in proofs:
        if proof.evidence.device != NO_DEVICE:
            newest.setdefault(gpu_names_of(proof.evidence), proof.evidence)
    return tuple(newest.values())
