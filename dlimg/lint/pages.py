"""The pages of docs/lint, from the rules themselves."""

from collections.abc import Mapping
from textwrap import fill, indent
from typing import Final

from dlimg.lint.catalogue import RULES
from dlimg.lint.model import LintRule

WIDTH: Final = 120
INDEX: Final = "README.md"
_INTRODUCTION: Final = (
    "`dlimg lint` holds the matrix and its locks against the facts. It works offline; `--index` "
    "also asks the package index and the registries of base images. An error fails (exit 1), a "
    "warning fails with `--strict`, a note never does; who did not answer `--index` is named "
    "(exit 5). A finding that you know and keep is "
    "accepted in matrix.yaml, with a reason; one that accepts nothing is an error:"
)
_ACCEPTING: Final = """\
    lint:
      - {id: os-end-of-life, about: debian12, why: "one customer needs its glibc until March"}
"""
_ABOUT: Final = (
    "`about` is a pattern for what the finding is about (`dlimg lint --format json` shows it); "
    "without it all of that id are meant."
)
_MADE: Final = "Made by `nox -s lint_pages` from dlimg/lint; change it there.\n"


def rule_pages() -> Mapping[str, str]:
    """Every page by its file's name; the index is README.md."""
    rows = (f"| [{rule.id}]({rule.id}.md) | {rule.title} | {rule.severity} |" for rule in RULES)
    table = "\n".join(("| finding | what | severity |", "|---|---|---|", *rows))
    parts = (
        "# Findings of `dlimg lint`",
        _wrapped(_INTRODUCTION),
        _ACCEPTING.rstrip(),
        _wrapped(_ABOUT),
        table,
        _MADE,
    )
    return {INDEX: "\n\n".join(parts)} | {f"{rule.id}.md": rule_page(rule) for rule in RULES}


def rule_page(rule: LintRule) -> str:
    """One finding, for people who have it."""
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
