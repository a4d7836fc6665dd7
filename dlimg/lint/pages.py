"""The pages of docs/lint, made from the rules."""

from collections.abc import Mapping
from textwrap import fill, indent
from typing import Final

from dlimg.lint.catalogue import RULES
from dlimg.lint.model import LintRule

WIDTH: Final = 120
INDEX: Final = "README.md"
_INTRODUCTION: Final = (
    "`dlimg lint` compares the matrix and its locks with the facts. It works offline; `--online` "
    "also asks the package index and the registries of base images. An error fails (exit 1), a "
    "warning fails with `--strict`, a note never does. A service that does not answer is named, "
    "and the exit code is 5. Known findings are ignored in matrix.yaml, with a reason; an entry "
    "that ignores nothing is an error:"
)
_IGNORING: Final = """\
    lint:
      ignore:
        - {id: os-end-of-life, about: debian12, why: "one customer needs its glibc until March"}
"""
_ABOUT: Final = (
    "`about` is a pattern for the subject of the finding (`dlimg lint --format json` shows it); "
    "without it all findings of that id are ignored."
)
_MADE: Final = "Made by `nox -s lint_pages` from dlimg/lint; change it there.\n"


def rule_pages() -> Mapping[str, str]:
    """Return every page by its file name; the index is README.md."""
    rows = (f"| [{rule.id}]({rule.id}.md) | {rule.title} | {rule.severity} |" for rule in RULES)
    table = "\n".join(("| finding | meaning | severity |", "|---|---|---|", *rows))
    parts = (
        "# Findings of `dlimg lint`",
        _wrapped(_INTRODUCTION),
        _IGNORING.rstrip(),
        _wrapped(_ABOUT),
        table,
        _MADE,
    )
    return {INDEX: "\n\n".join(parts)} | {f"{rule.id}.md": rule_page(rule) for rule in RULES}


def rule_page(rule: LintRule) -> str:
    """Return the page of one rule."""
    return "\n\n".join(
        (
            f"# {rule.id}",
            _wrapped(f"**{rule.title}**: {rule.severity}."),
            _wrapped(rule.why),
            indent(rule.example, "    "),
            _wrapped(f"What to do: {rule.remedy[0].lower()}{rule.remedy[1:]}"),
            f"[All findings]({INDEX})\n",
        )
    )


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
