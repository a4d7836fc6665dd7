"""`dlimg lint`: the matrix and its locks checked against the facts."""

from argparse import SUPPRESS, ArgumentParser, Namespace
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dlimg.atomic_write import atomic_write
from dlimg.cli.arguments import add_renamed
from dlimg.cli.printing import out, print_json
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.lint.catalogue import RULES, LintResult, lint
from dlimg.lint.model import Severity
from dlimg.lint.pages import rule_page, rule_pages
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.lint import ask_online, read_lint_context
from dlimg.report.lint import findings_text, github_annotations, lint_json, summary


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """The options of `lint`; `pages` is a folder to write the pages of all findings to."""

    matrix: str
    format: str
    strict: bool
    online: bool
    explain: str
    pages: Path | None


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="how to print (text)"
    )
    parser.add_argument("--strict", action="store_true", help="fail for warnings, too")
    parser.add_argument(
        "--online", action="store_true", help="also ask the package index and registries"
    )
    add_renamed(parser, "--index", "--online", is_flag=True)
    parser.add_argument("--explain", metavar="ID", help="print the page of a finding")
    # For developers of dlimg: writes docs/lint.
    parser.add_argument("--pages", metavar="DIR", help=SUPPRESS)


def options_of(arguments: Namespace) -> LintOptions:
    return LintOptions(
        matrix=arguments.matrix,
        format=arguments.format,
        strict=arguments.strict,
        online=arguments.online,
        explain=arguments.explain or "",
        pages=Path(arguments.pages) if arguments.pages else None,
    )


def run(options: LintOptions, context: Context) -> int:
    """Return 0 without errors, 1 with errors (with --strict: or warnings).

    Returns 5 if an index or registry did not answer (--online) and no error is worse.
    """
    if options.explain:
        out(_explanation(options.explain))
        return 0
    if options.pages:
        _write_pages(options.pages, context)
        return 0
    lint_context = read_lint_context(options.matrix, read_facts(), datetime.now(tz=UTC).date())
    if options.online:
        lint_context = replace(lint_context, answers=ask_online(lint_context, context))
    result = lint(lint_context)
    _print(result, options.format, context)
    warnings = result.count(Severity.WARNING) if options.strict else 0
    if result.count(Severity.ERROR) or warnings:
        return 1
    return 5 if lint_context.answers and lint_context.answers.unanswered else 0


def _print(result: LintResult, form: str, context: Context) -> None:
    if form == "json":
        print_json(lint_json(result))
        return
    out(github_annotations(result) if form == "github" else findings_text(result))
    for skipped in result.skipped:
        context.log(f"skipped: {skipped}")
    context.log(summary(result))


def _explanation(name: str) -> str:
    rules = {rule.id: rule for rule in RULES}
    if name not in rules:
        raise BadInput(f"no finding is called {name!r}", hint=nearest(name, rules))
    return rule_page(rules[name])


def _write_pages(folder: Path, context: Context) -> None:
    """Write the pages of all findings, and remove those of findings that are gone."""
    current = rule_pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in current:
            path.unlink()
    for name, text in current.items():
        atomic_write(folder / name, text)
    context.log(f"{len(current)} pages in {folder}")
