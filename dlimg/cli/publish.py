"""`dlimg publish`: images built, tested, and pushed when they passed."""

import time
from argparse import SUPPRESS, ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_device, add_own_checks, warn_renamed
from dlimg.cli.printing import log
from dlimg.cli.report_files import prepare_reports
from dlimg.cli.run_options import (
    add_build_arguments,
    build_settings_of,
    log_how_to_try,
    own_checks_of,
    print_results,
    refuse_no_engine,
    test_settings,
)
from dlimg.context import Context
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.project import read_project
from dlimg.pipeline.run import PublishSettings, Run, images_to_build, run_images
from dlimg.results import exit_code_of_results


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """The options of `publish`."""

    matrix: str
    settings: BuildSettings
    device: str
    own_checks: Path | None
    format: str
    reports: tuple[str, ...]
    publish: PublishSettings


def add_arguments(parser: ArgumentParser) -> None:
    add_build_arguments(parser)
    add_device(parser)
    add_own_checks(parser)
    parser.add_argument("--to", required=True, metavar="REGISTRY", help="e.g. ghcr.io/team")
    parser.add_argument(
        "--allow-untested-gpu",
        action="store_true",
        help="also publish CUDA images that were not tested on a GPU, with a label that says so",
    )
    parser.add_argument(
        "--no-evidence",
        action="store_true",
        help="attach no evidence to the image, for a registry that takes none",
    )
    # The old name of --allow-untested-gpu, until the next release.
    parser.add_argument("--require", choices=("gpu", "no-gpu"), help=SUPPRESS)
    # Known, so that it is refused with the reason.
    parser.add_argument("--no-engine", action="store_true", help=SUPPRESS)


def options_of(arguments: Namespace) -> PublishOptions:
    refuse_no_engine(arguments)
    if arguments.require == "no-gpu":
        warn_renamed("--require no-gpu", "--allow-untested-gpu")
    elif arguments.require:
        log("dlimg: `--require gpu` is the default now; the next release has no such option")
    return PublishOptions(
        matrix=arguments.matrix,
        settings=build_settings_of(arguments),
        device=arguments.device or "",
        own_checks=own_checks_of(arguments),
        format=arguments.format,
        reports=tuple(arguments.report),
        publish=PublishSettings(
            to=arguments.to,
            allow_untested_gpu=arguments.allow_untested_gpu or arguments.require == "no-gpu",
            attach_evidence=not arguments.no_evidence,
        ),
    )


def run(options: PublishOptions, context: Context) -> int:
    """Return 0 when every image passed and is at the registry."""
    began = time.monotonic()
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    publish_run = Run(
        project=project,
        context=context,
        build=options.settings,
        test=test_settings(options.matrix, options.device, options.own_checks, context),
        publish=options.publish,
    )
    images = images_to_build(publish_run)
    prepare_reports(options.reports)
    results, engine = run_images(publish_run, images)
    print_results(
        results,
        seconds=time.monotonic() - began,
        format=options.format,
        reports=options.reports,
        is_publish=True,
        context=context,
    )
    log_how_to_try(results, engine, context)
    return exit_code_of_results(results)
