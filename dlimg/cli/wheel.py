"""`dlimg wheel`: a source distribution built to a wheel, for packages without one."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass

from dlimg.cli.arguments import add_format, add_private_engine
from dlimg.cli.printing import out, print_json
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.lock.request import parse_requirement
from dlimg.model import Cell, CellSelection
from dlimg.pipeline.build_wheel import build_wheel
from dlimg.pipeline.locks import PrivateEngine
from dlimg.pipeline.project import DEFAULT_GROUP, Project, read_project, select_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelOptions:
    """The options of `wheel`."""

    matrix: str
    package: str
    cell: str
    format: str
    private_engine: PrivateEngine


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "package", metavar="PACKAGE", help="a package, or with a version: jieba==0.42.1"
    )
    parser.add_argument(
        "--for",
        dest="cell",
        default="",
        metavar="CELL",
        help="the cell whose system and Python build it (the first of the group default)",
    )
    add_private_engine(parser)
    add_format(parser)


def options_of(arguments: Namespace) -> WheelOptions:
    return WheelOptions(
        matrix=arguments.matrix,
        package=arguments.package,
        cell=arguments.cell,
        format=arguments.format,
        private_engine="refuse" if arguments.no_private_engine else "allow",
    )


def run(options: WheelOptions, context: Context) -> int:
    """Return 0 when the wheel is there: built now, or kept from an earlier time."""
    requirement = parse_requirement(options.package, where="")
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    cell = _cell(project, options.cell, context)
    wheel = build_wheel(project, cell, requirement, context, private_engine=options.private_engine)
    if options.format == "json":
        print_json({"path": str(wheel.path), "is_new": wheel.is_new, **asdict(wheel.record)})
    else:
        out(f"{wheel.path}\n")
    state = "built" if wheel.is_new else "built before"
    systems = wheel.record.system or "every system"
    context.log(f"{wheel.record.file} ({state}, for {systems}): `dlimg lock` takes it from there")
    return 0


def _cell(project: Project, name: str, context: Context) -> Cell:
    selection = CellSelection(patterns=(name,) if name else ())
    cells = select_cells(project, selection, otherwise=DEFAULT_GROUP, log=context.log)
    systems = {(cell.os.name, cell.python) for cell in cells}
    if name and len(systems) > 1:
        raise BadInput(
            f"--for {name} fits cells of {len(systems)} systems and Pythons",
            hint=f"name one cell: {', '.join(cell.id for cell in cells[:3])}",
        )
    return cells[0]
