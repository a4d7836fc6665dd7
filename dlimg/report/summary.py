"""How each image ended: a row, a JSON object, the end of a failure's log, one exit code."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlimg.build.explain import explain, is_out_of_reach
from dlimg.errors import DlimgError, NotRun
from dlimg.model import BuildFailure, Built, Evidence, Image, Status, Verdict
from dlimg.publish.promote import Published
from dlimg.report.table import bytes_text, seconds_text
from dlimg.smoke.verdicts import (
    NO_DEVICE,
    driver,
    exit_code,
    gpu_names,
    is_gpu_tested,
    outcome,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One image's way: what was built, what the checks said, where it went, or what stopped it."""

    image: Image
    result: Built | BuildFailure | None = None
    evidence: Evidence | None = None
    published: Published | None = None
    error: DlimgError | None = None


def headings(publishing: bool) -> tuple[str, ...]:  # noqa: FBT001 - one more column or not
    """The headings of the rows that `line_row` makes."""
    columns = ("image", "tag", "base", "size", "time", "checks")
    return (*columns, "published") if publishing else columns


def line_row(line: Line, publishing: bool) -> tuple[str, ...]:  # noqa: FBT001 - as above
    """The row of one image, as people read it."""
    row = [line.image.repository, line.image.tag]
    match line.result:
        case Built(planned=planned, size=size, seconds=seconds, cached=cached):
            row += [planned.base.source.value, bytes_text(size)]
            row += ["present" if cached else seconds_text(seconds), _checks_text(line)]
        case BuildFailure(planned=planned, seconds=seconds):
            said = (
                "not run: not to be had here" if is_out_of_reach(line.result) else "failed to build"
            )
            row += [planned.base.source.value, "-", seconds_text(seconds), said]
        case None:
            row += ["-", "-", "-", "not run: no base here"]
    if publishing:
        row.append(_published_text(line))
    return tuple(row)


def _published_text(line: Line) -> str:
    if line.published:
        return ", ".join((line.published.reference, *line.published.moved))
    return "refused" if line.error else "-"


def _checks_text(line: Line) -> str:
    if line.evidence is None:
        return "failed: could not be run" if line.error else "not run"
    text = verdicts_text(line.evidence)
    return f"{text}; {gpu_text(line.evidence)}" if line.image.cell.is_cuda else text


def verdicts_text(evidence: Evidence) -> str:
    """`not-run: 3 of 9 passed, 6 not run`."""
    verdicts = evidence.verdicts
    counts = {status: sum(one.status is status for one in verdicts) for status in Status}
    said = outcome(verdicts)
    text = f"{said}: {counts[Status.PASSED]} of {len(verdicts)} passed"
    if counts[Status.FAILED]:
        text += f", {counts[Status.FAILED]} failed"
    if counts[Status.NOT_RUN]:
        text += f", {counts[Status.NOT_RUN]} not run"
    return text


def gpu_text(evidence: Evidence) -> str:
    """`tested on NVIDIA H200, driver 580.159, 2026-11-21`, or `not tested on a GPU`."""
    if not is_gpu_tested(evidence):
        return "not tested on a GPU"
    on = " and ".join(gpu_names(evidence)) or evidence.device
    return ", ".join(
        part for part in (f"tested on {on}", _driver_text(evidence), evidence.day) if part
    )


def _driver_text(evidence: Evidence) -> str:
    version = driver(evidence)
    return f"driver {version}" if version else ""


def line_json(line: Line) -> dict[str, object]:
    """The same as stable data; `digest` is null where nothing was built."""
    result = line.result
    planned = result.planned if result else None
    base = planned.base if planned else None
    return {
        "cell": line.image.cell.id,
        "reference": planned.reference if planned else None,
        "moving_reference": f"{line.image.repository}:{line.image.tag}",
        "base": {"source": base.source.value, "identity": base.identity} if base else None,
        "built": isinstance(result, Built),
        "cached": result.cached if isinstance(result, Built) else False,
        "digest": result.digest if isinstance(result, Built) else None,
        "size_bytes": result.size if isinstance(result, Built) else None,
        "seconds": round(result.seconds, 3) if result else None,
        "outcome": outcome(line.evidence.verdicts) if line.evidence else None,
        "gpu_tested": is_gpu_tested(line.evidence) if line.evidence else False,
        "device": line.evidence.device if line.evidence else None,
        "checks": [verdict_json(one) for one in line.evidence.verdicts] if line.evidence else [],
        "published": _published_json(line.published) if line.published else None,
        "step": result.step if isinstance(result, BuildFailure) else None,
        "log": list(result.log) if isinstance(result, BuildFailure) else [],
        "error": _error_text(line),
    }


def _published_json(published: Published) -> dict[str, object]:
    return {
        "reference": published.reference,
        "digest": published.digest,
        "moved": list(published.moved),
        "standing": published.standing,
    }


def _error_text(line: Line) -> str | None:
    if isinstance(line.result, BuildFailure):
        return str(explain(line.result))
    return str(line.error) if line.error else None


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """One verdict as stable data."""
    return {
        "check": verdict.check,
        "status": verdict.status.value,
        "reason": verdict.reason,
        "seconds": verdict.seconds,
        "figures": dict(verdict.figures),
    }


def failure_text(line: Line) -> str:
    """What went wrong with this image and the end of its log, or nothing."""
    if isinstance(line.result, BuildFailure):
        log = "\n".join(f"    {text}" for text in line.result.log)
        return f"{explain(line.result)}\n{log}"
    parts = []
    if line.evidence:
        cell = line.evidence.cell
        parts += reasons(line.evidence)
        if line.image.cell.is_cuda and line.evidence.device == NO_DEVICE:
            parts.append(f"{cell}  the engine has no GPU: this image is not tested on a GPU")
    if line.error:
        parts.append(f"{line.image.cell.id}: {line.error}")
    return "\n".join(parts)


def reasons(evidence: Evidence) -> list[str]:
    """Why each check that did not pass did not, and the end of what a failed one printed."""
    found = []
    for one in evidence.verdicts:
        if one.status is not Status.PASSED:
            found.append(f"{evidence.cell}  {one.check} {one.status}: {one.reason}")
        if one.status is Status.FAILED:
            found += [f"    {text}" for text in one.output.splitlines()]
    return found


def exit_code_of(lines: Sequence[Line]) -> int:
    """1 when anything failed, else the first other code that is not 0, else 0."""
    codes = [_code(line) for line in lines]
    return 1 if 1 in codes else next((code for code in codes if code), 0)


def _code(line: Line) -> int:
    if isinstance(line.result, BuildFailure):
        return NotRun.exit_code if is_out_of_reach(line.result) else 1
    if line.error:
        return line.error.exit_code
    if line.published:
        return 0
    return exit_code(outcome(line.evidence.verdicts)) if line.evidence else 0
