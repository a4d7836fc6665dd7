"""How each image ended: a row, a JSON object, and the end of a failure's log."""

from dlimg.builders.build_failure import explain, is_out_of_reach
from dlimg.checks.verdicts import is_gpu_tested, outcome
from dlimg.model import BuildFailure, BuiltImage
from dlimg.publish.promote import PublishedImage
from dlimg.report.evidence_text import gpu_text, reasons, verdict_json, verdicts_text
from dlimg.units import bytes_text, seconds_text
from dlimg.results import ImageResult


def headings(publishing: bool) -> tuple[str, ...]:  # noqa: FBT001 - one more column or not
    """The headings of the rows that `line_row` makes."""
    columns = ("image", "base", "size", "time", "checks")
    return (*columns, "published") if publishing else columns


def line_row(line: ImageResult, publishing: bool) -> tuple[str, ...]:  # noqa: FBT001 - as above
    """The row of one image, as people read it."""
    row = [f"{line.image.repository}:{line.image.tag}" if line.image else line.cell]
    match line.result:
        case BuiltImage(planned=planned, size=size, seconds=seconds, cached=cached):
            row += [planned.base.source.value, bytes_text(size)]
            row += ["present" if cached else seconds_text(seconds), _checks_text(line)]
        case BuildFailure(planned=planned, seconds=seconds):
            row += [planned.base.source.value, "-", seconds_text(seconds), outcome_text(line)]
        case None:
            row += ["-", "-", "-", outcome_text(line)]
    if publishing:
        row.append(_published_text(line))
    return tuple(row)


def outcome_text(line: ImageResult) -> str:
    """How far the image came, in a few words."""
    if isinstance(line.result, BuildFailure):
        return "not run: not to be had here" if is_out_of_reach(line.result) else "failed to build"
    if line.evidence:
        said = outcome(line.verdicts)
        return f"{said}, not published" if line.error else said
    if line.result is None:
        return "not run: no base here"
    return "failed: could not be run" if line.error else "built"


def _published_text(line: ImageResult) -> str:
    if line.published:
        text = ", ".join((line.published.reference, *line.published.moved))
        other = f"; another image than the one built here: {line.published.digest}"
        return f"{text}{other if line.published.is_other else ''}"
    return "refused" if line.error and line.evidence else "-"


def _checks_text(line: ImageResult) -> str:
    if line.evidence is None:
        return outcome_text(line) if line.error else "not run"
    text = verdicts_text(line.evidence)
    return f"{text}; {gpu_text(line.evidence)}" if line.wants_gpu else text


def line_json(line: ImageResult) -> dict[str, object]:
    """The same as stable data; `digest` is null where nothing was built."""
    result = line.result
    planned = result.planned if result else None
    base = planned.base if planned else None
    return {
        "cell": line.cell,
        "reference": (planned.reference or None) if planned else None,
        "moving_reference": line.name,
        "base": {"source": base.source.value, "identity": base.identity} if base else None,
        "built": isinstance(result, BuiltImage),
        "cached": result.cached if isinstance(result, BuiltImage) else False,
        "digest": result.digest if isinstance(result, BuiltImage) else None,
        "size_bytes": result.size if isinstance(result, BuiltImage) else None,
        "seconds": round(result.seconds, 3) if result else None,
        "outcome": outcome(line.evidence.verdicts) if line.evidence else None,
        "gpu_tested": is_gpu_tested(line.evidence) if line.evidence else False,
        "device": line.evidence.device if line.evidence else None,
        "day": line.evidence.day if line.evidence else None,
        "checks": [verdict_json(one) for one in line.verdicts],
        "vanished": list(line.vanished),
        "published": _published_json(line.published) if line.published else None,
        "step": result.step if isinstance(result, BuildFailure) else None,
        "log": list(result.log) if isinstance(result, BuildFailure) else [],
        "error": _error_text(line),
    }


def _published_json(published: PublishedImage) -> dict[str, object]:
    return {
        "reference": published.reference,
        "digest": published.digest,
        "moved": list(published.moved),
        "standing": published.standing,
        "is_other": published.is_other,
    }


def _error_text(line: ImageResult) -> str | None:
    if isinstance(line.result, BuildFailure):
        return str(explain(line.result))
    return str(line.error) if line.error else None


def failure_text(line: ImageResult) -> str:
    """What went wrong with this image and the end of its log, or nothing."""
    if isinstance(line.result, BuildFailure):
        log = "\n".join(f"    {text}" for text in line.result.log)
        return f"{explain(line.result)}\n{log}"
    parts = []
    if line.evidence:
        parts += reasons(line.evidence)
    if line.error:
        parts.append(f"{line.cell}: {line.error_text}")
    return "\n".join(parts)
