"""Markdown for the summary of a GitHub job: one table, then what a reader has to know."""

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
from dlimg.units import bytes_text, seconds_text

# GitHub takes 1 MiB from a step; what is more would lose all of it.
LIMIT: Final = 1_000_000
# Characters of each failure's output, of which as many as fit are shown.
_ROOM: Final = (20_000, 4_000, 500, 0)
_MOST: Final = 300
# What Markdown may take for more than text, inside a line.
_MARKS: Final = re.compile(r"([\\`*_\[\]|~#$])")
_CUT: Final = (
    "\n\nThe rest is cut: a summary has no room for more. The JSON report has all of it.\n"
)


def github(lines: Sequence[ImageResult]) -> str:
    """The summary, never longer than what GitHub takes."""
    texts = ("\n".join(_parts(lines, room)) + "\n" for room in _ROOM)
    fitting = next((text for text in texts if len(text.encode()) <= LIMIT), "")
    if fitting:
        return fitting
    barest = "\n".join(_parts(lines, 0)).encode()
    kept = barest[: LIMIT - len(_CUT)].decode(errors="ignore")
    return kept[: kept.rfind("\n")] + _CUT


def _parts(lines: Sequence[ImageResult], room: int) -> Iterator[str]:
    good = sum(image_exit_code(line) == 0 for line in lines)
    yield f"### dlimg: {good} of {len(lines)} images are good\n"
    yield "| image | outcome | passed | tested on | size | time | published |"
    yield "|---|---|--:|---|--:|--:|---|"
    for line in lines:
        yield f"| {' | '.join(_cells(line))} |"
    yield from _section(
        "What went wrong", [text for line in lines for text in _failures(line, room)]
    )
    yield from _section("Not run", _not_run(lines))
    second = [f"- {_code(line.cell)}: {_flaky(one)}" for line in lines for one in _again(line)]
    yield from _section("Passed at the second attempt", second)
    gone = [f"- {_code(line.cell)}: {_codes(line.vanished)}" for line in lines if line.vanished]
    yield from _section("Checks that the last evidence had, and that are gone", gone)


def _cells(line: ImageResult) -> tuple[str, ...]:
    result, word = line.result, outcome_text(line)
    passed = sum(one.status is CheckStatus.PASSED for one in line.verdicts)
    tested = gpu_text(line.evidence) if line.evidence and line.wants_gpu else "-"
    seconds = "-"
    if result:
        is_cached = isinstance(result, BuiltImage) and result.cached
        seconds = "present" if is_cached else seconds_text(result.seconds)
    return (
        _code(line.name),
        _text(word) if image_exit_code(line) == 0 else f"**{_text(word)}**",
        f"{passed} of {len(line.verdicts)}" if line.evidence else "-",
        _text(tested),
        bytes_text(result.size) if isinstance(result, BuiltImage) else "-",
        seconds,
        _code(line.published.reference) if line.published else "-",
    )


def _failures(line: ImageResult, room: int) -> Iterator[str]:
    if isinstance(line.result, BuildFailure):
        problem = explain_failure(line.result)
        reason = f"{problem.message} (hint: {problem.hint})"
        yield _details(line, "build", reason, "\n".join(line.result.log), room)
    for one in line.verdicts:
        if one.status is CheckStatus.FAILED:
            yield _details(line, one.check, one.reason, one.output, room)
    if line.error:
        yield f"- {_code(line.cell)}: {_text(line.error_text)}"


def _details(line: ImageResult, name: str, reason: str, output: str, room: int) -> str:
    """The output is folded away; it is text in `<pre>`, so that nothing in it is Markdown."""
    said = html.escape(_short(reason))
    head = f"<code>{html.escape(line.cell)}</code> {html.escape(name)}: {said}"
    if not output:
        return f"- {_code(line.cell)} {_text(name)}: {_text(reason)}"
    text = clean(output[-room:] if room else "")
    if len(output) > room:
        text = f"(its beginning is cut)\n{text}"
    # The blank lines end one block of HTML and begin another; without them `<pre>` is none.
    return f"<details><summary>{head}</summary>\n\n<pre>{html.escape(text)}</pre>\n\n</details>\n"


def _not_run(lines: Sequence[ImageResult]) -> list[str]:
    """A line for each reason and the checks it kept from running, with all images of that kind."""
    found: dict[tuple[str, bool, tuple[str, ...]], list[str]] = {}
    for line in lines:
        for (reason, is_required), names in not_run(line.verdicts).items():
            found.setdefault((reason, is_required, names), []).append(line.cell)
    return [
        f"- {_text(reason)}: {'**required** ' if is_required else ''}{_codes(names)}"
        f" ({_codes(cells)})"
        for (reason, is_required, names), cells in found.items()
    ]


def _again(line: ImageResult) -> tuple[Verdict, ...]:
    return flaky(line.verdicts)


def _flaky(verdict: Verdict) -> str:
    return _text(attempts_text(verdict))


def _section(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield f"\n#### {title}\n"
        yield from texts


def _codes(names: Sequence[str]) -> str:
    return ", ".join(_code(name) for name in names)


def _code(text: str) -> str:
    """The text in `<code>`, where neither Markdown nor HTML of it counts."""
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """One line of plain text, whatever is in it."""
    escaped = html.escape(_short(text), quote=False)
    return _MARKS.sub(r"\\\1", escaped)


def _short(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= _MOST else f"{line[:_MOST]} ..."
