"""How each image ended: a row, a JSON object, the end of a failure's log, one exit code."""

from collections.abc import Sequence
from dataclasses import dataclass

from dlimg.build.explain import explain
from dlimg.errors import DlimgError
from dlimg.model import BuildFailure, Built, Evidence, Status, Verdict
from dlimg.publish.promote import Published
from dlimg.report.table import bytes_text, seconds_text
from dlimg.smoke.verdicts import NO_DEVICE, exit_code, is_gpu_tested, outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One image's way: what was built, what the checks said, where it went, or what stopped it."""

    result: Built | BuildFailure
    evidence: Evidence | None = None
    published: Published | None = None
    error: DlimgError | None = None


def headings(publishing: bool) -> tuple[str, ...]:  # noqa: FBT001 - one more column or not
    """The headings of the rows that `line_row` makes."""
    columns = ("image", "tag", "base", "size", "time", "checks")
    return (*columns, "published") if publishing else columns


def line_row(line: Line) -> tuple[str, ...]:
    """The row of one image, as people read it."""
    planned = line.result.planned
    image = planned.image
    row = [image.repository, image.tag, planned.base.source.value]
    match line.result:
        case Built(size=size, seconds=seconds, cached=cached):
            row += [bytes_text(size), "present" if cached else seconds_text(seconds)]
            row.append(_checks_text(line))
        case BuildFailure(seconds=seconds):
            row += ["-", seconds_text(seconds), "failed to build"]
    if line.published:
        row.append(", ".join((line.published.reference, *line.published.moved)))
    elif line.error:
        row.append("refused")
    return tuple(row)


def _checks_text(line: Line) -> str:
    if line.evidence is None:
        return "failed: could not be run" if line.error else "not run"
    verdicts = line.evidence.verdicts
    counts = {status: sum(one.status is status for one in verdicts) for status in Status}
    said = outcome(verdicts)
    text = f"{said}: {counts[Status.PASSED]} of {len(verdicts)} passed"
    if counts[Status.FAILED]:
        text += f", {counts[Status.FAILED]} failed"
    if counts[Status.NOT_RUN]:
        text += f", {counts[Status.NOT_RUN]} not run"
    if line.result.planned.image.cell.is_cuda:
        text += f"; {gpu_text(line.evidence)}"
    return text


def gpu_text(evidence: Evidence) -> str:
    """`tested on NVIDIA H200`, or `not tested on a GPU`."""
    if not is_gpu_tested(evidence):
        return "not tested on a GPU"
    names = (str(verdict.figures.get("name", "")) for verdict in evidence.verdicts)
    return f"tested on {next((name for name in names if name), evidence.device)}"


def line_json(line: Line) -> dict[str, object]:
    """The same as stable data; `digest` is null where nothing was built."""
    planned, result = line.result.planned, line.result
    built = isinstance(result, Built)
    return {
        "cell": planned.image.cell.id,
        "reference": planned.reference,
        "moving_reference": planned.moving_reference,
        "base": {"source": planned.base.source.value, "identity": planned.base.identity},
        "built": built,
        "cached": result.cached if isinstance(result, Built) else False,
        "digest": result.digest if isinstance(result, Built) else None,
        "size_bytes": result.size if isinstance(result, Built) else None,
        "seconds": round(result.seconds, 3),
        "outcome": outcome(line.evidence.verdicts) if line.evidence else None,
        "gpu_tested": is_gpu_tested(line.evidence) if line.evidence else False,
        "device": line.evidence.device if line.evidence else None,
        "checks": [_verdict_json(one) for one in line.evidence.verdicts] if line.evidence else [],
        "published": _published_json(line.published) if line.published else None,
        "error": str(line.error) if line.error else None,
    }


def _published_json(published: Published) -> dict[str, object]:
    return {
        "reference": published.reference,
        "digest": published.digest,
        "moved": list(published.moved),
        "standing": published.standing,
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
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
        return f"{explain(line.result)}\n  step: {line.result.step}\n{log}"
    parts = []
    if line.evidence:
        cell = line.evidence.cell
        for one in line.evidence.verdicts:
            if one.status is not Status.PASSED:
                parts.append(f"{cell}  {one.check} {one.status}: {one.reason}")
            if one.status is Status.FAILED:
                parts += [f"    {text}" for text in one.output.splitlines()]
        if line.result.planned.image.cell.is_cuda and line.evidence.device == NO_DEVICE:
            parts.append(f"{cell}  the engine has no GPU: this image is not tested on a GPU")
    if line.error:
        parts.append(f"dlimg: {line.error}")
    return "\n".join(parts)


def exit_code_of(lines: Sequence[Line]) -> int:
    """1 when anything failed, else the first other code that is not 0, else 0."""
    codes = [_code(line) for line in lines]
    return 1 if 1 in codes else next((code for code in codes if code), 0)


def _code(line: Line) -> int:
    if isinstance(line.result, BuildFailure):
        return 1
    if line.error:
        return line.error.exit_code
    if line.published:
        return 0
    return exit_code(outcome(line.evidence.verdicts)) if line.evidence else 0
