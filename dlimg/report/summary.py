"""Results of a run as rows, text and data."""

from collections.abc import Sequence

from dlimg.builders.build_failure import explain_failure, is_python_unreachable
from dlimg.checks.verdicts import is_gpu_tested, outcome_of
from dlimg.errors import NetworkFailure, Problem
from dlimg.model import BuildFailure, BuiltImage
from dlimg.publish.promote import PublishedImage
from dlimg.report.evidence_text import gpu_text, reasons, verdict_json, verdicts_text
from dlimg.results import ImageResult
from dlimg.units import bytes_text, counted, seconds_text


def headings(*, is_publish: bool) -> tuple[str, ...]:
    """Return the headings of the rows of `result_row`."""
    columns = ("image", "base", "size", "time", "checks")
    return (*columns, "published") if is_publish else columns


def result_row(result: ImageResult, *, is_publish: bool) -> tuple[str, ...]:
    """Return the row of one image."""
    row = [f"{result.image.repository}:{result.image.tag}" if result.image else result.cell]
    match result.result:
        case BuiltImage(planned=planned, size=size, seconds=seconds, cached=cached):
            row += [planned.base.source.value, bytes_text(size)]
            row += ["present" if cached else seconds_text(seconds), _checks_text(result)]
        case BuildFailure(planned=planned, seconds=seconds):
            row += [planned.base.source.value, "-", seconds_text(seconds), outcome_text(result)]
        case None:
            row += ["-", "-", "-", outcome_text(result)]
    if is_publish:
        row.append(_published_text(result))
    return tuple(row)


def outcome_text(result: ImageResult) -> str:
    """Return how far the image came, in a few words."""
    if result.skipped:
        return "skipped"
    if isinstance(result.result, BuildFailure):
        return (
            "not run: not to be had here"
            if is_python_unreachable(result.result)
            else "failed to build"
        )
    if result.evidence:
        verdict = outcome_of(result.verdicts)
        return f"{verdict}, not published" if result.error else verdict
    if result.result is None:
        is_index = isinstance(result.error, NetworkFailure)
        return f"not run: {'its index does not answer' if is_index else 'no base here'}"
    return "failed: could not be run" if result.error else "built"


def _published_text(result: ImageResult) -> str:
    if result.published:
        text = ", ".join((result.published.reference, *result.published.moved))
        other = f"; another image than the one built here: {result.published.digest}"
        return f"{text}{other if result.published.is_other else ''}"
    return "refused" if result.error and result.evidence else "-"


def _checks_text(result: ImageResult) -> str:
    if result.evidence is None:
        return outcome_text(result) if result.error else "not run"
    text = verdicts_text(result.evidence)
    return f"{text}; {gpu_text(result.evidence)}" if result.wants_gpu else text


def result_json(result: ImageResult) -> dict[str, object]:
    """Return a result as stable data; `digest` is null if nothing was built."""
    built = result.result
    planned = built.planned if built else None
    base = planned.base if planned else None
    return {
        "cell": result.cell,
        "reference": (planned.reference or None) if planned else None,
        "moving_reference": result.name,
        "base": {"source": base.source.value, "identity": base.identity} if base else None,
        "built": isinstance(built, BuiltImage),
        "cached": built.cached if isinstance(built, BuiltImage) else False,
        "digest": built.digest if isinstance(built, BuiltImage) else None,
        "size_bytes": built.size if isinstance(built, BuiltImage) else None,
        "seconds": round(built.seconds, 3) if built else None,
        "outcome": outcome_of(result.evidence.verdicts) if result.evidence else None,
        "gpu_tested": is_gpu_tested(result.evidence) if result.evidence else False,
        "device": result.evidence.device if result.evidence else None,
        "day": result.evidence.day if result.evidence else None,
        "checks": [verdict_json(verdict) for verdict in result.verdicts],
        "vanished": list(result.vanished),
        "published": _published_json(result.published) if result.published else None,
        "step": built.step if isinstance(built, BuildFailure) else None,
        "log": list(built.log) if isinstance(built, BuildFailure) else [],
        "error": _error_text(result),
        "skipped": _skipped_json(result.skipped) if result.skipped else None,
    }


def _skipped_json(problem: Problem) -> dict[str, object]:
    return {"reason": problem.message, "remedy": problem.hint}


def count_text(results: Sequence[ImageResult]) -> str:
    """Return the number of images: `3 images`, or `2 of 3 images` where some were skipped."""
    skipped = sum(result.skipped is not None for result in results)
    images = counted(len(results), "image")
    return f"{len(results) - skipped} of {images}" if skipped else images


def _published_json(published: PublishedImage) -> dict[str, object]:
    return {
        "reference": published.reference,
        "digest": published.digest,
        "moved": list(published.moved),
        "standing": published.standing,
        "is_other": published.is_other,
    }


def _error_text(result: ImageResult) -> str | None:
    if isinstance(result.result, BuildFailure):
        return str(explain_failure(result.result))
    return str(result.error) if result.error else None


def failure_text(result: ImageResult) -> str:
    """Return the error of this image and the end of its log; empty without an error."""
    if isinstance(result.result, BuildFailure):
        log = "\n".join(f"    {text}" for text in result.result.log)
        return f"{explain_failure(result.result)}\n{log}"
    parts = []
    if result.skipped:
        parts.append(
            f"{result.cell}  skipped: {result.skipped.message}\n  hint: {result.skipped.hint}"
        )
    if result.evidence:
        parts += reasons(result.evidence)
    if result.error:
        parts.append(f"{result.cell}: {result.error_text}")
    return "\n".join(parts)
