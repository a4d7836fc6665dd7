"""The rules for publishing: which tests an image must have passed.

A failed check always prevents publishing; a required check that was not run does so too, except
GPU checks under `--allow-untested-gpu`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dlimg.checks.evidence import checks_of
from dlimg.checks.verdicts import GPU, is_gpu_tested, possible_verdicts
from dlimg.errors import Negative, NotRun
from dlimg.model import BuiltImage, Check, CheckStatus, Evidence, Verdict

Standing = Literal["tested", "not tested on a GPU"]

NOT_TESTED_ON_GPU: Standing = "not tested on a GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRunner:
    """Access to checks and evidence for publishing.

    `checks` returns today's checks of an image in the engine, with the sha256 of each. `test` runs
    them there and keeps the evidence. `known` takes the config, at the registry, of an image that
    is not in the engine; it returns this machine's evidence of the image, or None unless the
    evidence covers all of today's checks.
    """

    checks: Callable[[BuiltImage], Sequence[Check]]
    test: Callable[[BuiltImage], Evidence]
    known: Callable[[BuiltImage, Mapping[str, Any]], Evidence | None]


def check_policy(
    built: BuiltImage,
    evidence: Evidence | None,
    *,
    digest: str,
    allow_untested_gpu: bool,
    checks: Sequence[Check],
) -> Standing:
    """Return how well the image is tested, or raise when that is not enough to publish it.

    `digest` is the image's current one, `checks` are today's: the evidence must have a verdict of
    each required one with the same sha256. Raises `Negative` for an image that failed, was not
    tested, or is not the tested one, and `NotRun` when required checks were not run. Only CUDA
    images need a GPU.
    """
    cell = built.planned.image.cell
    if evidence is None or not evidence.verdicts:
        raise Negative(
            "the image was not tested", where=cell.id, hint=f"run `dlimg test {cell.id}`"
        )
    _check_digest(built, evidence, digest)
    _check_failures(evidence)
    _check_coverage(evidence, checks)
    return _standing(evidence, is_cuda=cell.is_cuda, allow_untested_gpu=allow_untested_gpu)


def _standing(evidence: Evidence, *, is_cuda: bool, allow_untested_gpu: bool) -> Standing:
    """Return how well the image is tested; raises `NotRun` for required checks without a run."""
    possible = possible_verdicts(evidence.verdicts)
    missing = [
        verdict
        for verdict in possible
        if verdict.required and verdict.status is CheckStatus.NOT_RUN
    ]
    without_gpu = [verdict for verdict in missing if not (is_cuda and GPU in verdict.needs)]
    if without_gpu:
        raise NotRun(f"checks were not run: {_names(without_gpu)}", where=evidence.cell)
    if not any(verdict.required for verdict in evidence.verdicts):
        raise NotRun("no check of this image is required", where=evidence.cell)
    if not is_cuda or (not missing and is_gpu_tested(evidence)):
        return "tested"
    if not allow_untested_gpu:
        raise NotRun(
            "the image is not tested on a GPU",
            where=evidence.cell,
            hint="run `dlimg test` on a machine with a GPU, or allow it: --allow-untested-gpu",
        )
    return NOT_TESTED_ON_GPU


def _check_digest(built: BuiltImage, evidence: Evidence, digest: str) -> None:
    if not built.digest == evidence.digest == digest:
        cell = built.planned.image.cell.id
        raise Negative(
            f"{built.planned.reference} is {digest or 'gone'}, but {evidence.digest} was tested",
            where=cell,
            hint=f"run `dlimg build {cell}` and `dlimg test {cell}`",
        )


def _check_coverage(evidence: Evidence, checks: Sequence[Check]) -> None:
    covered = checks_of(evidence)
    missing = [
        check.name
        for check in checks
        if check.required and (check.name, check.sha256) not in covered
    ]
    if missing:
        raise NotRun(
            "the evidence is of other checks: it has no verdict of the current "
            f"{', '.join(missing)}",
            where=evidence.cell,
            hint=f"run `dlimg test {evidence.cell}`",
        )


def _check_failures(evidence: Evidence) -> None:
    failed = [verdict for verdict in evidence.verdicts if verdict.status is CheckStatus.FAILED]
    if failed:
        raise Negative(
            f"checks failed: {_names(failed)}",
            where=evidence.cell,
            hint=f"`dlimg test {evidence.cell}` shows why",
        )


def _names(verdicts: list[Verdict]) -> str:
    return ", ".join(verdict.check for verdict in verdicts)
