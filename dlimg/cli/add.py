"""`dlimg add`: another cell in the matrix, with all that it needs."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from dataclasses import dataclass
from datetime import UTC, datetime

from dlimg.cli.edit_options import add_edit, edit_of
from dlimg.cli.printing import out
from dlimg.compat.why import WhyAnswer
from dlimg.context import Context
from dlimg.model import CellSelection
from dlimg.pipeline.built_packages import lock_project_cells
from dlimg.pipeline.matrix_edit import (
    LATEST,
    EditRequest,
    MatrixEdit,
    addition_commands,
    plan_addition,
    write_edit,
)
from dlimg.pipeline.project import read_project, select_cells
from dlimg.report.matrix_edit import edit_diff, edit_sentences
from dlimg.report.why import answer_text


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """The options of `add`."""

    request: EditRequest
    dry_run: bool
    lock: bool


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "family",
        metavar="FAMILY",
        help="a family of the matrix, a framework (torch, jax), or one of dlimg's own (vllm); "
        "also with its version: torch==2.6.0",
    )
    parser.add_argument(
        "version",
        metavar="VERSION",
        nargs="?",
        default=LATEST,
        help=f"a release of it, e.g. 2.6.0 ({LATEST}: the newest that fits)",
    )
    add_edit(parser)
    parser.add_argument(
        "--lock",
        action=BooleanOptionalAction,
        default=False,
        help="resolve the new cell to exact wheels at once (no)",
    )


def options_of(arguments: Namespace) -> AddOptions:
    return AddOptions(request=edit_of(arguments), dry_run=arguments.dry_run, lock=arguments.lock)


def run(options: AddOptions, context: Context) -> int:
    """Return 0 if the matrix has the cell, else 1."""
    today = datetime.now(tz=UTC).date()
    edit = plan_addition(options.request, today)
    if isinstance(edit, WhyAnswer):
        out(answer_text(edit))
        commands = [f"  {command}\n" for command in addition_commands(edit, today)]
        out("".join(["\nTo have one of them in the matrix:\n", *commands]) if commands else "")
        context.log("dlimg: this cell cannot exist, and the matrix stays as it is")
        return 1
    (name,) = edit.new
    if edit.before == edit.after:
        context.log(f"{name} is there already")
        return 0
    out(edit_diff(edit))
    for sentence in edit_sentences(edit):
        context.log(sentence)
    if options.dry_run:
        return 0
    write_edit(edit)
    if options.lock:
        _lock(edit, context)
    else:
        context.log(f"next: `dlimg lock {name}`")
    context.log(f"next: `dlimg render`, then `nox -s build -- {name}`")
    return 0


def _lock(edit: MatrixEdit, context: Context) -> None:
    project = read_project(str(edit.path))
    cells = select_cells(project, CellSelection(patterns=edit.new))
    for result in lock_project_cells(project, cells, (), context, private_engine="allow"):
        context.log(f"{result.name}: {result.state.value}")
