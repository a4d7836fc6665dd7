"""Options of the commands that edit matrix.yaml."""

from argparse import ArgumentParser, Namespace
from typing import Final

from dlimg.cli.arguments import refuse_empty
from dlimg.errors import BadInput
from dlimg.model import CPU, Flavour
from dlimg.pipeline.matrix_edit import LATEST, EditRequest

_EDIT: Final = ("cuda", "python", "os", "flavour")


def add_edit(parser: ArgumentParser) -> None:
    """Add the options that name the cells of an edit of the matrix."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--cuda", metavar="CUDA", help="e.g. 12.4, or 12 for any minor of it")
    kind.add_argument("--cpu", action="store_true", help="without CUDA")
    parser.add_argument("--python", metavar="PYTHON", help="e.g. 3.11")
    parser.add_argument("--os", metavar="OS", help="e.g. debian12")
    parser.add_argument(
        "--flavour", choices=[flavour.value for flavour in Flavour], help="e.g. runtime"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would change, and change nothing"
    )


def edit_of(arguments: Namespace) -> EditRequest:
    """Return the cells that `add_edit` was given."""
    refuse_empty(arguments, (*_EDIT, "version"))
    family, separator, version = arguments.family.partition("==")
    if separator and arguments.version not in (None, LATEST, version):
        raise BadInput(f"two versions: {version} and {arguments.version}", hint="name one of them")
    return EditRequest(
        family=family.strip(),
        version=version.strip() or arguments.version or "",
        matrix=arguments.matrix,
        cuda=CPU if arguments.cpu else arguments.cuda or "",
        python=arguments.python or "",
        os=arguments.os or "",
        flavour=arguments.flavour or "",
    )
