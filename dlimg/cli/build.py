"""`dlimg build`: images built and tagged; recorded, verified, or built without an engine."""

import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.printing import print_json, print_table
from dlimg.cli.report_files import prepare_reports
from dlimg.cli.run_options import (
    add_build_arguments,
    build_settings_of,
    log_how_to_try,
    print_results,
)
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.pipeline.no_engine import build_without_engine, check_executable
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.project import read_project
from dlimg.pipeline.record import check_record_path, verify_record, write_record
from dlimg.pipeline.run import Run, images_to_build, run_images
from dlimg.results import exit_code_of_results
from dlimg.store.export import check_export_folder
from dlimg.store.store import layer_store
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """The options of `build`."""

    matrix: str
    settings: BuildSettings
    format: str
    reports: tuple[str, ...]
    record: Path | None
    verify: Path | None
    no_engine: bool
    output: Path | None


def add_arguments(parser: ArgumentParser) -> None:
    add_build_arguments(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--record", metavar="FILE", help="also write each image's digest and layers to FILE"
    )
    either.add_argument(
        "--verify",
        metavar="FILE",
        help="assemble the images recorded in FILE anew, in an empty store, and compare them",
    )
    parser.add_argument(
        "--no-engine",
        action="store_true",
        help="assemble on this machine as root, without any engine, on a base made from the "
        "distribution's packages; images go into the store of layers, and no check is run",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="with --no-engine: also write the images as an OCI layout, a new one or one to add to",
    )


def options_of(arguments: Namespace) -> BuildOptions:
    options = BuildOptions(
        matrix=arguments.matrix,
        settings=build_settings_of(arguments),
        format=arguments.format,
        reports=tuple(arguments.report),
        record=Path(arguments.record) if arguments.record else None,
        verify=Path(arguments.verify) if arguments.verify else None,
        no_engine=arguments.no_engine,
        output=Path(arguments.output) if arguments.output else None,
    )
    if options.no_engine:
        _check_no_engine(options)
    elif options.output:
        hint = "`dlimg store export` writes what an engine has built"
        raise BadInput("--output goes with --no-engine", hint=hint)
    return options


def _check_no_engine(options: BuildOptions) -> None:
    refused = {
        "--verify": options.verify,
        "--builder buildkit": options.settings.builder == "buildkit",
        "--base registry": options.settings.base == "registry",
    }
    for name, is_given in refused.items():
        if is_given:
            raise BadInput(f"{name} takes an engine", hint="leave it or --no-engine out")


def run(options: BuildOptions, context: Context) -> int:
    """Return 0 when every image was built, or came out as recorded."""
    if options.verify:
        return _verify(options, options.verify, context)
    began = time.monotonic()
    if options.output:
        check_export_folder(options.output)
    if options.record:
        check_record_path(options.record)
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    build_run = Run(project=project, context=context, build=options.settings)
    images = images_to_build(build_run)
    engine = None
    if options.no_engine:
        check_executable(images)
        prepare_reports(options.reports)
        results = build_without_engine(
            project, images, options.settings, context, output=options.output
        )
    else:
        prepare_reports(options.reports)
        results, engine = run_images(build_run, images)
    if options.record:
        write_record(options.record, results, layer_store(context), context.log)
    print_results(
        results,
        seconds=time.monotonic() - began,
        format=options.format,
        reports=options.reports,
        is_publish=False,
        context=context,
    )
    if engine:
        log_how_to_try(results, engine, context)
    else:
        _log_without_engine(options, context)
    return exit_code_of_results(results)


def _log_without_engine(options: BuildOptions, context: Context) -> None:
    context.log("no check was run: that takes an engine")
    if not options.output:
        context.log(
            "the images are in the store: `dlimg store export PATTERN FOLDER` writes a layout"
        )


def _verify(options: BuildOptions, record: Path, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    differences = verify_record(record, project, options.settings, context)
    if options.format == "json":
        print_json(
            [{"cell": cell, "difference": difference} for cell, difference in differences.items()]
        )
    else:
        rows = [(cell, difference or "as recorded") for cell, difference in differences.items()]
        print_table(("cell", "result"), rows, context)
    differing = sum(map(bool, differences.values()))
    context.log(
        f"{counted(len(differences), 'image')} verified, {differing or 'none'} came out differently"
    )
    return 1 if differing else 0
