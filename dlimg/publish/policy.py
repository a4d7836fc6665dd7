"""Who may be published: the rules of design.md D5 and D7, over values alone."""

from collections.abc import Sequence
from typing import Literal

from dlimg.checks.evidence import checks_of
from dlimg.checks.verdicts import GPU, is_gpu_tested, possible_here
from dlimg.errors import Negative, NotRun
from dlimg.model import BuiltImage, Check, CheckStatus, Evidence, Verdict

Require = Literal["gpu", "no-gpu"]
Standing = Literal["tested", "not tested on a GPU"]

NOT_TESTED_ON_GPU: Standing = "not tested on a GPU"


def admit(
    built: BuiltImage,
    evidence: Evidence | None,
    *,
    digest: str,
    require: Require,
    checks: Sequence[Check],
) -> Standing:
    """How well the image is tested, when that is enough; `digest` is the engine's of today.

    `checks` are those of today: evidence that lacks one that is required, or has another script
    under its name, is not enough. Raises `Negative` for an image that failed, was not tested, or
    is not the tested one, and `NotRun` when required checks were not run; a GPU is required of
    CUDA images alone.
    """
    cell = built.planned.image.cell
    if evidence is None or not evidence.verdicts:
        raise Negative(
            "the image was not tested", where=cell.id, hint=f"run `dlimg test {cell.id}`"
        )
    _same(built, evidence, digest)
    _none_failed(evidence)
    _all_there(evidence, checks)
    possible = possible_here(evidence.verdicts)
    missing = [one for one in possible if one.required and one.status is CheckStatus.NOT_RUN]
    elsewhere = [verdict for verdict in missing if not (cell.is_cuda and GPU in verdict.needs)]
    if elsewhere:
        raise NotRun(f"checks were not run: {_names(elsewhere)}", where=cell.id)
    if not any(one.required for one in evidence.verdicts):
        raise NotRun("no check of this image is required", where=cell.id)
    if not cell.is_cuda or (not missing and is_gpu_tested(evidence)):
        return "tested"
    if require == "gpu":
        raise NotRun(
            "the image is not tested on a GPU",
            where=cell.id,
            hint="run `dlimg test` where a GPU is, or say so: --require no-gpu",
        )
    return NOT_TESTED_ON_GPU


def _same(built: BuiltImage, evidence: Evidence, digest: str) -> None:
    if not built.digest == evidence.digest == digest:
        cell = built.planned.image.cell.id
        raise Negative(
            f"{built.planned.reference} is {digest or 'gone'}, tested was {evidence.digest}",
            where=cell,
            hint=f"run `dlimg build {cell}` and `dlimg test {cell}`",
        )


def _all_there(evidence: Evidence, checks: Sequence[Check]) -> None:
    known = checks_of(evidence)
    missing = [
        check.name for check in checks if check.required and (check.name, check.sha256) not in known
    ]
    if missing:
        raise NotRun(
            f"the evidence is of other checks: it has no verdict of {', '.join(missing)}, as they "
            "are now",
            where=evidence.cell,
            hint=f"run `dlimg test {evidence.cell}`",
        )


def _none_failed(evidence: Evidence) -> None:
    failed = [verdict for verdict in evidence.verdicts if verdict.status is CheckStatus.FAILED]
    if failed:
        raise Negative(
            f"checks failed: {_names(failed)}",
            where=evidence.cell,
            hint=f"`dlimg test {evidence.cell}` shows why",
        )


def _names(verdicts: list[Verdict]) -> str:
    return ", ".join(verdict.check for verdict in verdicts)
