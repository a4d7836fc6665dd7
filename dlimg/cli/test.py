"""`dlimg test`: checks run in containers of images, or on this machine itself."""

import time
from argparse import SUPPRESS, ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.checks.verdicts import exit_code_of, outcome_of
from dlimg.cli.arguments import add_device, add_on_host, add_own_checks
from dlimg.cli.printing import print_json, print_table
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.cli.run_options import (
    add_build_arguments,
    build_settings_of,
    host_settings_of,
    log_how_to_try,
    own_checks_of,
    print_results,
    refuse_no_engine,
    test_settings,
)
from dlimg.context import Context
from dlimg.pipeline.host_checks import HostSettings, test_host
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.project import read_project
from dlimg.pipeline.run import Run, images_to_build, run_images
from dlimg.report.host_run import HEADINGS, host_failure_text, host_json, host_row
from dlimg.results import ImageResult, exit_code_of_results


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOptions:
    """The options of `test`; `host` is set for checks on this machine itself."""

    matrix: str
    settings: BuildSettings
    device: str
    own_checks: Path | None
    format: str
    reports: tuple[str, ...]
    host: HostSettings | None


def add_arguments(parser: ArgumentParser) -> None:
    add_build_arguments(parser)
    add_device(parser)
    add_own_checks(parser)
    add_on_host(parser)
    # Known, so that it is refused with the reason.
    parser.add_argument("--no-engine", action="store_true", help=SUPPRESS)


def options_of(arguments: Namespace) -> TestOptions:
    refuse_no_engine(arguments)
    return TestOptions(
        matrix=arguments.matrix,
        settings=build_settings_of(arguments),
        device=arguments.device or "",
        own_checks=own_checks_of(arguments),
        format=arguments.format,
        reports=tuple(arguments.report),
        host=host_settings_of(arguments),
    )


def run(options: TestOptions, context: Context) -> int:
    """Return 0 when every image passed its required checks."""
    if options.host:
        return _test_host(options, options.host, context)
    began = time.monotonic()
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    test_run = Run(
        project=project,
        context=context,
        build=options.settings,
        test=test_settings(options.matrix, options.device, options.own_checks, context),
    )
    images = images_to_build(test_run)
    prepare_reports(options.reports)
    results, engine = run_images(test_run, images)
    print_results(
        results,
        seconds=time.monotonic() - began,
        format=options.format,
        reports=options.reports,
        is_publish=False,
        context=context,
    )
    log_how_to_try(results, engine, context)
    return exit_code_of_results(results)


def _test_host(options: TestOptions, settings: HostSettings, context: Context) -> int:
    prepare_reports(options.reports)
    evidence = test_host(settings, context)
    value = [host_json(evidence)]
    if options.format == "json":
        print_json(value)
    else:
        print_table(HEADINGS, [host_row(evidence)], context)
    context.log(host_failure_text(evidence))
    write_reports(options.reports, [ImageResult(evidence=evidence)], value, context.log)
    return exit_code_of(outcome_of(evidence.verdicts))
