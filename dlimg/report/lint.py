"""Findings as text, as data, and as GitHub annotations."""

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


def findings_text(linted: LintResult) -> str:
    """Return a line for each finding in the form of compilers, so that editors can jump to it."""
    return "".join(f"{clean(line)}\n" for line in _lines(linted))


def summary(linted: LintResult) -> str:
    """Return text such as `1 error, 2 warnings, 3 notes; 1 ignored`."""
    counts = [counted(linted.count(severity), severity.value) for severity in Severity]
    ignored = f"; {len(linted.ignored)} ignored" if linted.ignored else ""
    return ", ".join(counts) + ignored


def _lines(linted: LintResult) -> Iterator[str]:
    for finding in linted.findings:
        source = f" ({finding.source})" if finding.source else ""
        location = f"{finding.file}:{finding.line}"
        yield f"{location}: {finding.severity}: {finding.message} [{finding.id}]{source}"


def github_annotations(linted: LintResult) -> str:
    """Return GitHub's workflow commands, which show findings beside their lines."""
    return "".join(f"{_command(finding)}\n" for finding in linted.findings)


def _command(finding: Finding) -> str:
    kind = _KINDS[finding.severity]
    message = _message(clean(f"{finding.message} ({PAGES}/{finding.id}.md)"))
    title = _property(f"dlimg {finding.id}")
    location = f"file={_property(finding.file)},line={finding.line},title={title}"
    return f"::{kind} {location}::{message}"


def _message(text: str) -> str:
    """Return the text escaped for a workflow command, so that it cannot start another one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(clean(text)).replace(":", "%3A").replace(",", "%2C")


def lint_json(linted: LintResult) -> dict[str, object]:
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


def finding_json(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "file": finding.file,
        "line": finding.line,
        "about": finding.about,
        "message": finding.message,
        "source": finding.source or None,
        "page": f"{PAGES}/{finding.id}.md",
    }
