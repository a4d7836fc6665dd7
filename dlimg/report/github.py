"""The Markdown summary of a GitHub job: one table, then failures and notes."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Final

from dlimg.builders.build_failure import explain_failure
from dlimg.model import BuildFailure, BuiltImage, CheckStatus, Verdict
from dlimg.report.evidence_text import attempts_text, flaky, gpu_text, not_run
from dlimg.report.plain import clean
from dlimg.report.summary import outcome_text
from dlimg.results import ImageResult, image_exit_code
from dlimg.units import bytes_text, counted, seconds_text

# GitHub accepts 1 MiB from a step, and drops all of a larger summary.
LIMIT: Final = 1_000_000
# Characters of each failure's output, of which as many as fit are shown.
_ROOM: Final = (20_000, 4_000, 500, 0)
_MOST: Final = 300
# What Markdown may take for more than text, inside a line.
_MARKS: Final = re.compile(r"([\\`*_\[\]|~#$])")
_CUT: Final = (
    "\n\nThe rest is cut: a summary has no room for more. The JSON report has all of it.\n"
)


def github_summary(results: Sequence[ImageResult]) -> str:
    """Return the summary, never longer than GitHub's limit."""
    texts = ("\n".join(_parts(results, room)) + "\n" for room in _ROOM)
    fitting = next((text for text in texts if len(text.encode()) <= LIMIT), "")
    if fitting:
        return fitting
    barest = "\n".join(_parts(results, 0)).encode()
    beginning = barest[: LIMIT - len(_CUT)].decode(errors="ignore")
    return beginning[: beginning.rfind("\n")] + _CUT


def _parts(results: Sequence[ImageResult], room: int) -> Iterator[str]:
    skipped = [result for result in results if result.skipped]
    passed = sum(image_exit_code(result) == 0 for result in results) - len(skipped)
    left_out = f", {len(skipped)} skipped" if skipped else ""
    images = counted(len(results), "image", "is")
    yield f"### dlimg: {passed} of {images} good{left_out}\n"
    yield "| image | outcome | passed | tested on | size | time | published |"
    yield "|---|---|--:|---|--:|--:|---|"
    for result in results:
        yield f"| {' | '.join(_cells(result))} |"
    yield from _section(
        "What went wrong", [text for result in results for text in _failures(result, room)]
    )
    yield from _section("Skipped", [_skipped(result) for result in skipped])
    yield from _section("Not run", _not_run(results))
    second = [
        f"- {_code(result.cell)}: {_flaky(verdict)}"
        for result in results
        for verdict in _again(result)
    ]
    yield from _section("Passed at the second attempt", second)
    gone = [
        f"- {_code(result.cell)}: {_codes(result.vanished)}"
        for result in results
        if result.vanished
    ]
    yield from _section("Checks that the last evidence had, and that are gone", gone)


def _cells(result: ImageResult) -> tuple[str, ...]:
    built, completed = result.result, outcome_text(result)
    passed = sum(verdict.status is CheckStatus.PASSED for verdict in result.verdicts)
    tested = gpu_text(result.evidence) if result.evidence and result.wants_gpu else "-"
    seconds = "-"
    if built:
        is_cached = isinstance(built, BuiltImage) and built.cached
        seconds = "present" if is_cached else seconds_text(built.seconds)
    return (
        _code(result.name),
        _text(completed) if image_exit_code(result) == 0 else f"**{_text(completed)}**",
        f"{passed} of {len(result.verdicts)}" if result.evidence else "-",
        _text(tested),
        bytes_text(built.size) if isinstance(built, BuiltImage) else "-",
        seconds,
        _code(result.published.reference) if result.published else "-",
    )


def _failures(result: ImageResult, room: int) -> Iterator[str]:
    if isinstance(result.result, BuildFailure):
        problem = explain_failure(result.result)
        reason = f"{problem.message} (hint: {problem.hint})"
        yield _details(result, "build", reason, "\n".join(result.result.log), room)
    for verdict in result.verdicts:
        if verdict.status is CheckStatus.FAILED:
            yield _details(result, verdict.check, verdict.reason, verdict.output, room)
    if result.error:
        yield f"- {_code(result.cell)}: {_text(result.error_text)}"


def _details(result: ImageResult, name: str, reason: str, output: str, room: int) -> str:
    """Return a collapsed block with the output as text in `<pre>`, so that no Markdown applies."""
    summary = html.escape(_short(reason))
    head = f"<code>{html.escape(result.cell)}</code> {html.escape(name)}: {summary}"
    if not output:
        return f"- {_code(result.cell)} {_text(name)}: {_text(reason)}"
    text = clean(output[-room:] if room else "")
    if len(output) > room:
        text = f"(its beginning is cut)\n{text}"
    # The blank lines end one block of HTML and begin another; without them `<pre>` is none.
    return f"<details><summary>{head}</summary>\n\n<pre>{html.escape(text)}</pre>\n\n</details>\n"


def _not_run(results: Sequence[ImageResult]) -> list[str]:
    """Return a line per reason and set of checks that were not run, with all their images."""
    cells_of: dict[tuple[str, bool, tuple[str, ...]], list[str]] = {}
    for result in results:
        for (reason, is_required), names in not_run(result.verdicts).items():
            cells_of.setdefault((reason, is_required, names), []).append(result.cell)
    return [
        f"- {_text(reason)}: {'**required** ' if is_required else ''}{_codes(names)}"
        f" ({_codes(cells)})"
        for (reason, is_required, names), cells in cells_of.items()
    ]


def _skipped(result: ImageResult) -> str:
    problem = result.skipped
    text = f"{problem.message} (hint: {problem.hint})" if problem else ""
    return f"- {_code(result.cell)}: {_text(text)}"


def _again(result: ImageResult) -> tuple[Verdict, ...]:
    return flaky(result.verdicts)


def _flaky(verdict: Verdict) -> str:
    return _text(attempts_text(verdict))


def _section(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield f"\n#### {title}\n"
        yield from texts


def _codes(names: Sequence[str]) -> str:
    return ", ".join(_code(name) for name in names)


def _code(text: str) -> str:
    """Return the text in `<code>`, with Markdown and HTML escaped."""
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """Return the text as one line, with Markdown and HTML escaped."""
    escaped = html.escape(_short(text), quote=False)
    return _MARKS.sub(r"\\\1", escaped)


def _short(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= _MOST else f"{line[:_MOST]} ..."
