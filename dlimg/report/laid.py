"""Evidence of one image from several places: where each lies, and which of it counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dlimg.proof import Evidence, Status, Verdict
from dlimg.report.table import seconds_text
from dlimg.report.words import gpu_text
from dlimg.smoke.records import evidence_record
from dlimg.smoke.verdicts import NO_DEVICE, gpu_names, is_gpu_tested, outcome

HERE: Final = "kept here"
AT_REGISTRY: Final = "at the registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One device's evidence and where it lies."""

    evidence: Evidence
    where: tuple[str, ...]


def proofs(kept: Sequence[Evidence], published: Sequence[Evidence]) -> tuple[Proof, ...]:
    """Each evidence once, newest first, with every place where it lies."""
    distinct: list[Evidence] = []
    for one in (*kept, *published):
        if one not in distinct:
            distinct.append(one)
    places = ((HERE, kept), (AT_REGISTRY, published))
    found = [
        Proof(evidence=one, where=tuple(name for name, there in places if one in there))
        for one in distinct
    ]
    return tuple(sorted(found, key=lambda proof: proof.evidence.day, reverse=True))


def on_gpu_text(evidence: Evidence) -> str:
    """`tested on NVIDIA H200, driver 580.159, 2026-11-21`, or how it failed there, and when."""
    if is_gpu_tested(evidence):
        return gpu_text(evidence)
    on = " and ".join(gpu_names(evidence)) or evidence.device
    return f"{outcome(evidence.verdicts)} on {on}, {evidence.day}"


def newest_by_gpu(found: Sequence[Proof]) -> tuple[Evidence, ...]:
    """What was last seen on each GPU: an older pass does not outweigh it."""
    newest: dict[tuple[str, ...], Evidence] = {}
    for proof in found:
        if proof.evidence.device != NO_DEVICE:
            newest.setdefault(gpu_names(proof.evidence), proof.evidence)
    return tuple(newest.values())


def proof_text(proof: Proof) -> str:
    """`tested on NVIDIA H200, driver 580.159, 2026-11-21: 19 of 19 passed (at the registry)`."""
    evidence = proof.evidence
    passed = sum(one.status is Status.PASSED for one in evidence.verdicts)
    counts = [f"{passed} of {len(evidence.verdicts)} passed"]
    for status, word in ((Status.FAILED, "failed"), (Status.NOT_RUN, "not run")):
        number = sum(one.status is status for one in evidence.verdicts)
        counts += [f"{number} {word}"] if number else []
    if evidence.vanished:
        counts.append(f"gone since the evidence before: {', '.join(evidence.vanished)}")
    return f"{_tested_text(evidence)}: {', '.join(counts)} ({' and '.join(proof.where)})"


def _tested_text(evidence: Evidence) -> str:
    if is_gpu_tested(evidence):
        return gpu_text(evidence)
    wants_gpu = any("gpu" in one.needs for one in evidence.verdicts)
    return f"{gpu_text(evidence) if wants_gpu else 'tested without a GPU'}, {evidence.day}"


def verdict_row(verdict: Verdict) -> tuple[str, str, str, str]:
    """Status, check, seconds and the reason, as people read them."""
    reason = verdict.reason or (
        f"at the second attempt: {verdict.first_reason}" if verdict.attempts > 1 else ""
    )
    return verdict.status.value, verdict.check, seconds_text(verdict.seconds), reason


def proof_json(proof: Proof) -> dict[str, object]:
    """The document itself, with what it amounts to."""
    return {
        "says": proof_text(proof),
        "where": list(proof.where),
        "digest": proof.evidence.digest,
        "outcome": outcome(proof.evidence.verdicts),
        "gpu_tested": is_gpu_tested(proof.evidence),
        **evidence_record(proof.evidence),
    }
