"""Evidence and verdicts as text and as data."""

from collections.abc import Sequence

from dlimg.checks.evidence_json import evidence_record, to_json_value
from dlimg.checks.verdicts import (
    driver_version_of,
    gpu_names_of,
    is_gpu_tested,
    outcome_of,
    possible_verdicts,
)
from dlimg.model import CheckStatus, Evidence, Verdict
from dlimg.pipeline.device_evidence import DeviceEvidence
from dlimg.report.plain import clean
from dlimg.units import seconds_text


def verdicts_text(evidence: Evidence) -> str:
    """Return `passed: all 9, 1 at the second attempt`, or `not-run: 3 of 9 passed, 6 not run`."""
    verdicts = evidence.verdicts
    counts = {
        status: sum(verdict.status is status for verdict in verdicts) for status in CheckStatus
    }
    result = outcome_of(verdicts)
    text = f"{result}: {counts[CheckStatus.PASSED]} of {len(verdicts)} passed"
    if result == "passed":
        is_all = counts[CheckStatus.PASSED] == len(verdicts)
        text = (
            f"{result}: {'all' if is_all else f'{counts[CheckStatus.PASSED]} of'} {len(verdicts)}"
        )
    if counts[CheckStatus.FAILED]:
        text += f", {counts[CheckStatus.FAILED]} failed"
    if counts[CheckStatus.NOT_RUN]:
        text += f", {counts[CheckStatus.NOT_RUN]} not run"
    if flaky(verdicts):
        text += f", {len(flaky(verdicts))} at the second attempt"
    if evidence.vanished:
        text += f", {len(evidence.vanished)} gone"
    return text


def gpu_text(evidence: Evidence) -> str:
    """Return `tested on NVIDIA H200, driver 580.159, 2026-11-21`, or `not tested on a GPU`."""
    if not is_gpu_tested(evidence):
        return "not tested on a GPU"
    on = " and ".join(gpu_names_of(evidence)) or evidence.device
    parts = (f"tested on {on}", _driver_text(evidence), evidence.day)
    return clean(", ".join(part for part in parts if part))


def tested_text(evidence: Evidence, *, is_cuda: bool) -> str:
    """Return `2026-11-21, passed: all 18; not tested on a GPU`."""
    text = verdicts_text(evidence)
    day = clean(evidence.day)
    if not is_cuda:
        return f"{day}, {text}"
    if is_gpu_tested(evidence):
        return f"{text}; {gpu_text(evidence)}"  # which has the day
    return f"{day}, {text}; {gpu_text(evidence)}"


def tested_json(evidence: Evidence) -> dict[str, object]:
    """Return an evidence's summary as stable data."""
    return {
        "day": evidence.day,
        "digest": evidence.digest,
        "device": evidence.device,
        "outcome": outcome_of(evidence.verdicts),
        "gpu_tested": is_gpu_tested(evidence),
        "gpus": list(gpu_names_of(evidence)),
        "driver": driver_version_of(evidence) or None,
    }


def _driver_text(evidence: Evidence) -> str:
    version = driver_version_of(evidence)
    return f"driver {version}" if version else ""


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """Return a verdict as stable data."""
    return {
        "check": verdict.check,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "seconds": verdict.seconds,
        "required": verdict.required,
        "attempts": verdict.attempts,
        "first_reason": verdict.first_reason,
        "figures": to_json_value(dict(verdict.figures)),
    }


def reasons(evidence: Evidence) -> list[str]:
    """Return why checks did not pass, with the end of a failed check's output.

    Checks that were not run for the same reason share a line.
    """
    lines = []
    for (reason, is_required), names in not_run(evidence.verdicts).items():
        status = "required, not run" if is_required else "not run"
        lines.append(f"{evidence.cell}  {status}: {', '.join(names)}: {reason}")
    if not any(verdict.required for verdict in evidence.verdicts):
        lines.append(f"{evidence.cell}  none of its checks is required, so nothing is proved")
    lines += [f"{evidence.cell}  {attempts_text(verdict)}" for verdict in flaky(evidence.verdicts)]
    for verdict in evidence.verdicts:
        if verdict.status is CheckStatus.FAILED:
            twice = " twice" if verdict.attempts > 1 else ""
            lines.append(f"{evidence.cell}  {verdict.check} failed{twice}: {verdict.reason}")
            if verdict.output.strip() != verdict.reason:
                lines += [f"    {text}" for text in verdict.output.splitlines()]
    return [clean(text) for text in lines]


def attempts_text(verdict: Verdict) -> str:
    """Return `trains passed at the second attempt; the first: out of memory`."""
    return f"{verdict.check} passed at the second attempt; the first: {verdict.first_reason}"


def not_run(verdicts: Sequence[Verdict]) -> dict[tuple[str, bool], tuple[str, ...]]:
    """Return the names of checks that were not run, by reason and whether that is a failure."""
    names: dict[tuple[str, bool], tuple[str, ...]] = {}
    possible = {verdict.check for verdict in possible_verdicts(verdicts)}
    for verdict in verdicts:
        if verdict.status is CheckStatus.NOT_RUN:
            kind = (verdict.reason, verdict.required and verdict.check in possible)
            names[kind] = (*names.get(kind, ()), verdict.check)
    return names


def flaky(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that passed only at the second attempt."""
    return tuple(
        verdict
        for verdict in verdicts
        if verdict.status is CheckStatus.PASSED and verdict.attempts > 1
    )


def on_gpu_text(evidence: Evidence) -> str:
    """Return `tested on NVIDIA H200, driver 580.159, 2026-11-21`, or how it failed there."""
    if is_gpu_tested(evidence):
        return gpu_text(evidence)
    on = " and ".join(gpu_names_of(evidence)) or evidence.device
    return f"{outcome_of(evidence.verdicts)} on {on}, {evidence.day}"


def proof_text(proof: DeviceEvidence) -> str:
    """Return `tested on NVIDIA H200, ..., 2026-11-21: 19 of 19 passed (at the registry)`."""
    evidence = proof.evidence
    passed = sum(verdict.status is CheckStatus.PASSED for verdict in evidence.verdicts)
    counts = [f"{passed} of {len(evidence.verdicts)} passed"]
    for status, name in ((CheckStatus.FAILED, "failed"), (CheckStatus.NOT_RUN, "not run")):
        number = sum(verdict.status is status for verdict in evidence.verdicts)
        counts += [f"{number} {name}"] if number else []
    if evidence.vanished:
        counts.append(f"gone since the evidence before: {', '.join(evidence.vanished)}")
    return f"{_tested_text(evidence)}: {', '.join(counts)} ({' and '.join(proof.where)})"


def _tested_text(evidence: Evidence) -> str:
    if is_gpu_tested(evidence):
        return gpu_text(evidence)
    wants_gpu = any("gpu" in verdict.needs for verdict in evidence.verdicts)
    return f"{gpu_text(evidence) if wants_gpu else 'tested without a GPU'}, {evidence.day}"


def verdict_row(verdict: Verdict) -> tuple[str, str, str, str]:
    """Return the status, check, seconds and reason as a row."""
    reason = verdict.reason or (
        f"at the second attempt: {verdict.first_reason}" if verdict.attempts > 1 else ""
    )
    return verdict.status.value, verdict.check, seconds_text(verdict.seconds), reason


def proof_json(proof: DeviceEvidence) -> dict[str, object]:
    """Return the evidence document with its places and outcome."""
    return {
        "says": proof_text(proof),
        "where": list(proof.where),
        "digest": proof.evidence.digest,
        "outcome": outcome_of(proof.evidence.verdicts),
        "gpu_tested": is_gpu_tested(proof.evidence),
        **evidence_record(proof.evidence),
    }
