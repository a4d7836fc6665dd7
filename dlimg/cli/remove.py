"""`dlimg remove`: cells taken out of the matrix, with all that only they need."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from datetime import UTC, datetime

from dlimg.cli.edit_options import add_edit, edit_of
from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.lock.check import unused_locks
from dlimg.pipeline.matrix_edit import EditRequest, plan_removal, write_edit
from dlimg.pipeline.project import read_project
from dlimg.report.matrix_edit import edit_diff, edit_sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """The options of `remove`."""

    request: EditRequest
    dry_run: bool


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "family",
        metavar="FAMILY",
        help="a family of the matrix, its framework, or the id of a cell",
    )
    parser.add_argument("version", nargs="?", metavar="VERSION", help="of this version alone")
    add_edit(parser)


def options_of(arguments: Namespace) -> RemoveOptions:
    return RemoveOptions(request=edit_of(arguments), dry_run=arguments.dry_run)


def run(options: RemoveOptions, context: Context) -> int:
    """Return 0; the matrix has none of the cells any more."""
    edit = plan_removal(options.request, datetime.now(tz=UTC).date())
    if edit.before == edit.after:
        context.log("the matrix has no such cell: nothing to remove")
        return 0
    out(edit_diff(edit))
    for sentence in edit_sentences(edit):
        context.log(sentence)
    if not options.dry_run:
        write_edit(edit)
        project = read_project(str(edit.path))
        for problem in unused_locks(project.resolution.cells, project.locks):
            context.log(str(problem))
        context.log("next: `dlimg render`, which removes their Dockerfiles")
    return 0
