"""Findings as lines for people, as data, and as workflow commands that annotate a change."""

from collections.abc import Iterator
from typing import Final

from dlimg.lint.catalogue import LintResult
from dlimg.lint.model import Finding, Severity
from dlimg.report.plain import clean
from dlimg.units import counted

_KINDS: Final = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "notice",
}
PAGES: Final = "docs/lint"


def linted_text(linted: LintResult) -> str:
    """A line for each finding, as compilers write them, so that editors can jump to its place."""
    return "".join(f"{clean(line)}\n" for line in _lines(linted))


def summary(linted: LintResult) -> str:
    """Return text such as `1 error, 2 warnings, 3 notes; 1 ignored`."""
    counts = [counted(linted.count(severity), severity.value) for severity in Severity]
    ignored = f"; {len(linted.ignored)} ignored" if linted.ignored else ""
    return ", ".join(counts) + ignored


def _lines(linted: LintResult) -> Iterator[str]:
    for one in linted.findings:
        source = f" ({one.source})" if one.source else ""
        yield f"{one.file}:{one.line}: {one.severity}: {one.message} [{one.id}]{source}"


def linted_github(linted: LintResult) -> str:
    """GitHub's workflow commands: each finding stands beside its line in the change."""
    return "".join(f"{_command(one)}\n" for one in linted.findings)


def _command(one: Finding) -> str:
    kind = _KINDS[one.severity]
    said = _message(clean(f"{one.message} ({PAGES}/{one.id}.md)"))
    place = f"file={_property(one.file)},line={one.line},title={_property(f'dlimg {one.id}')}"
    return f"::{kind} {place}::{said}"


def _message(text: str) -> str:
    """What GitHub takes back from a message: nothing in it begins another command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(clean(text)).replace(":", "%3A").replace(",", "%2C")


def linted_json(linted: LintResult) -> dict[str, object]:
    """Return the result as stable data; `accepted` and `not_looked_at` go with the next release."""
    ignored = [{**finding_json(finding), "why": entry.why} for finding, entry in linted.ignored]
    return {
        "findings": [finding_json(finding) for finding in linted.findings],
        "ignored": ignored,
        "accepted": ignored,
        "skipped": list(linted.skipped),
        "not_looked_at": list(linted.skipped),
        "errors": linted.count(Severity.ERROR),
        "warnings": linted.count(Severity.WARNING),
        "notes": linted.count(Severity.NOTE),
    }


def finding_json(one: Finding) -> dict[str, object]:
    return {
        "id": one.id,
        "severity": one.severity.value,
        "file": one.file,
        "line": one.line,
        "about": one.about,
        "message": one.message,
        "source": one.source or None,
        "page": f"{PAGES}/{one.id}.md",
    }
