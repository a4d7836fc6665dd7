"""`dlimg plan`: what would be built, as a table or as data for other programs."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from dlimg.builders.choose import BuilderOption
from dlimg.cli.arguments import add_base, add_builder, add_cells, add_format, cells_of
from dlimg.cli.printing import out, print_json, print_table
from dlimg.context import Context
from dlimg.engine.bases import BaseChoice
from dlimg.model import CellSelection
from dlimg.pipeline.plan import bake_file, images_to_plan, project_plan
from dlimg.pipeline.project import read_project
from dlimg.render.plan import PlanEntry, github_jobs, plan_json
from dlimg.report.plain import json_text
from dlimg.units import bytes_text


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """The options of `plan`."""

    matrix: str
    cells: CellSelection
    base: BaseChoice
    builder: BuilderOption
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    add_base(parser)
    add_builder(parser)
    add_format(parser, "bake", "github")


def options_of(arguments: Namespace) -> PlanOptions:
    return PlanOptions(
        matrix=arguments.matrix,
        cells=cells_of(arguments),
        base=arguments.base,
        builder=arguments.builder,
        format=arguments.format,
    )


def run(options: PlanOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    images = images_to_plan(project, options.cells, context)
    if options.format == "bake":
        file = bake_file(project, images)
        context.log(
            "immutable names come with the packages that a build installs: `dlimg build` gives them"
        )
        out(json_text(file) + "\n")
        return 0
    plan = project_plan(project, images, options.base, options.builder, context)
    match options.format:
        case "json":
            print_json(plan_json(plan))
        case "github":
            out(json.dumps(github_jobs(plan)) + "\n")
        case _:
            _print_table(plan, context)
    return 0


def _print_table(plan: Sequence[PlanEntry], context: Context) -> None:
    headings = ("image", "base", "builder", "wheels", "download", "checks")
    rows = [
        (
            f"{entry.image.repository}:{entry.image.tag}",
            entry.base,
            f"{entry.builder}: {entry.why}",
            str(len(entry.image.lock.wheels)),
            bytes_text(entry.image.lock.size),
            "need a GPU" if entry.needs_gpu else "need no GPU",
        )
        for entry in plan
    ]
    print_table(headings, rows, context)
