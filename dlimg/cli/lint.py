"""`dlimg lint`: the matrix and its locks checked against the facts."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dlimg.cli.arguments import add_renamed
from dlimg.cli.printing import out, print_json
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.lint.catalogue import RULES, LintResult, lint
from dlimg.lint.model import Severity
from dlimg.lint.pages import rule_page
from dlimg.lock.local_wheels import wheel_folders
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.lint import ask_online, read_lint_context
from dlimg.pipeline.system_needs import read_wheel_needs, with_known_needs
from dlimg.report.lint import findings_text, github_annotations, lint_json, summary


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """The options of `lint`."""

    matrix: str
    format: str
    strict: bool
    online: bool
    explain: str


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


def options_of(arguments: Namespace) -> LintOptions:
    return LintOptions(
        matrix=arguments.matrix,
        format=arguments.format,
        strict=arguments.strict,
        online=arguments.online,
        explain=arguments.explain or "",
    )


def run(options: LintOptions, context: Context) -> int:
    """Return 0 without errors, 1 with errors (with --strict: or warnings).

    Returns 5 if an index or registry did not answer (--online) and no error is worse.
    """
    if options.explain:
        out(_explanation(options.explain))
        return 0
    lint_context = read_lint_context(options.matrix, read_facts(), datetime.now(tz=UTC).date())
    if options.online:
        lint_context = replace(lint_context, answers=ask_online(lint_context, context))
        named = context.with_indexes(lint_context.resolution.indexes)
        cells, locks = lint_context.resolution.cells, lint_context.locks
        read_wheel_needs(cells, locks, wheel_folders((), named), named)
    result = lint(with_known_needs(lint_context, context))
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
