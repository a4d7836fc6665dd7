"""What evidence says, in words and as data, whether or not there is an image."""

from collections.abc import Sequence

from dlimg.proof import Evidence, Status, Verdict
from dlimg.report.table import clean
from dlimg.smoke.records import jsonable
from dlimg.smoke.verdicts import driver, gpu_names, is_gpu_tested, outcome, possible_here


def verdicts_text(evidence: Evidence) -> str:
    """`passed: all 9, 1 at the second attempt`, or `not-run: 3 of 9 passed, 6 not run`."""
    verdicts = evidence.verdicts
    counts = {status: sum(one.status is status for one in verdicts) for status in Status}
    said = outcome(verdicts)
    text = f"{said}: {counts[Status.PASSED]} of {len(verdicts)} passed"
    if said == "passed":
        is_all = counts[Status.PASSED] == len(verdicts)
        text = f"{said}: {'all' if is_all else f'{counts[Status.PASSED]} of'} {len(verdicts)}"
    if counts[Status.FAILED]:
        text += f", {counts[Status.FAILED]} failed"
    if counts[Status.NOT_RUN]:
        text += f", {counts[Status.NOT_RUN]} not run"
    if flaky(verdicts):
        text += f", {len(flaky(verdicts))} at the second attempt"
    if evidence.vanished:
        text += f", {len(evidence.vanished)} gone"
    return text


def gpu_text(evidence: Evidence) -> str:
    """`tested on NVIDIA H200, driver 580.159, 2026-11-21`, or `not tested on a GPU`."""
    if not is_gpu_tested(evidence):
        return "not tested on a GPU"
    on = " and ".join(gpu_names(evidence)) or evidence.device
    parts = (f"tested on {on}", _driver_text(evidence), evidence.day)
    return clean(", ".join(part for part in parts if part))


def tested_text(evidence: Evidence, *, is_cuda: bool) -> str:
    """`2026-11-21, passed: all 18; not tested on a GPU`."""
    text = verdicts_text(evidence)
    day = clean(evidence.day)
    if not is_cuda:
        return f"{day}, {text}"
    if is_gpu_tested(evidence):
        return f"{text}; {gpu_text(evidence)}"  # which has the day
    return f"{day}, {text}; {gpu_text(evidence)}"


def tested_json(evidence: Evidence) -> dict[str, object]:
    """The same as stable data."""
    return {
        "day": evidence.day,
        "digest": evidence.digest,
        "device": evidence.device,
        "outcome": outcome(evidence.verdicts),
        "gpu_tested": is_gpu_tested(evidence),
        "gpus": list(gpu_names(evidence)),
        "driver": driver(evidence) or None,
    }


def _driver_text(evidence: Evidence) -> str:
    version = driver(evidence)
    return f"driver {version}" if version else ""


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """One verdict as stable data."""
    return {
        "check": verdict.check,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "seconds": verdict.seconds,
        "required": verdict.required,
        "attempts": verdict.attempts,
        "first_reason": verdict.first_reason,
        "figures": jsonable(dict(verdict.figures)),
    }


def reasons(evidence: Evidence) -> list[str]:
    """Why each check that did not pass did not, and the end of what a failed one printed.

    Those that were not run for the same reason share a line.
    """
    found = []
    for (reason, is_required), names in not_run(evidence.verdicts).items():
        word = "required, not run" if is_required else "not run"
        found.append(f"{evidence.cell}  {word}: {', '.join(names)}: {reason}")
    if not any(one.required for one in evidence.verdicts):
        found.append(f"{evidence.cell}  none of its checks is required, so nothing is proved")
    found += [f"{evidence.cell}  {attempts_text(one)}" for one in flaky(evidence.verdicts)]
    for one in evidence.verdicts:
        if one.status is Status.FAILED:
            twice = " twice" if one.attempts > 1 else ""
            found.append(f"{evidence.cell}  {one.check} failed{twice}: {one.reason}")
            if one.output.strip() != one.reason:
                found += [f"    {text}" for text in one.output.splitlines()]
    return [clean(text) for text in found]


def attempts_text(verdict: Verdict) -> str:
    """`learns passed at the second attempt; the first: out of memory`."""
    return f"{verdict.check} passed at the second attempt; the first: {verdict.first_reason}"


def not_run(verdicts: Sequence[Verdict]) -> dict[tuple[str, bool], tuple[str, ...]]:
    """The names of the checks that were not run, by their reason and by whether that hinders."""
    found: dict[tuple[str, bool], tuple[str, ...]] = {}
    possible = {one.check for one in possible_here(verdicts)}
    for one in verdicts:
        if one.status is Status.NOT_RUN:
            kind = (one.reason, one.required and one.check in possible)
            found[kind] = (*found.get(kind, ()), one.check)
    return found


def flaky(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Those that passed, but not at the first attempt."""
    return tuple(one for one in verdicts if one.status is Status.PASSED and one.attempts > 1)
