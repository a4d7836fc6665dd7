"""Options and output that build, test, publish and bench-gpu share."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from dlimg.checks.evidence import evidence_folder
from dlimg.cli.arguments import (
    add_base,
    add_builder,
    add_cells,
    add_compression,
    add_find_links,
    add_format,
    add_private_engine,
    add_report,
    cells_of,
)
from dlimg.cli.printing import print_json, print_table
from dlimg.cli.progress import progress_display
from dlimg.cli.report_files import write_reports
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import BadInput, Problem
from dlimg.host.git_revision import revision_of
from dlimg.model import BuiltImage
from dlimg.pipeline.host_checks import HostSettings
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.run import TestSettings
from dlimg.render.docker_run import try_line
from dlimg.report.summary import count_text, failure_text, headings, result_json, result_row
from dlimg.results import ImageResult, exit_code_of_results


def add_build_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of every command that builds images."""
    add_cells(parser)
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="builds at once (2)")
    add_base(parser)
    add_builder(parser)
    add_compression(parser)
    add_find_links(parser)
    add_private_engine(parser)
    add_format(parser)
    add_report(parser)


def build_settings_of(arguments: Namespace) -> BuildSettings:
    """Return the options of `add_build_arguments`; progress is shown on standard error."""
    return BuildSettings(
        cells=cells_of(arguments),
        display=progress_display,
        jobs=arguments.jobs,
        base=arguments.base,
        builder=arguments.builder,
        compression=arguments.compression or "",
        find_links=tuple(arguments.find_links),
        private_engine="refuse" if arguments.no_private_engine else "allow",
    )


def own_checks_of(arguments: Namespace) -> Path | None:
    """Return the folder that `--checks` names."""
    return None if arguments.checks is None else Path(arguments.checks)


def host_settings_of(arguments: Namespace) -> HostSettings | None:
    """Return the settings of checks on this machine; None without `--on-host`.

    Raises BadInput if options about images are given with `--on-host`.
    """
    if arguments.on_host is None:
        if arguments.python is None:
            return None
        hint = "e.g. --on-host pytorch"
        raise BadInput("--python is for --on-host, which names a family", hint=hint)
    refused = {
        "PATTERN": arguments.patterns,
        "--group": arguments.group,
        "--device": arguments.device,
    }
    hint = "it takes this machine's Python and GPUs; leave one of the two out"
    problems = [
        Problem(message=f"--on-host goes with no {name}", hint=hint)
        for name, is_given in refused.items()
        if is_given
    ]
    if problems:
        raise BadInput.of(problems)
    return HostSettings(
        root=Path(arguments.matrix).parent,
        family=arguments.on_host,
        python=arguments.python or "",
        own_checks=own_checks_of(arguments),
    )


def refuse_no_engine(arguments: Namespace) -> None:
    """Raise BadInput for `--no-engine` with a command whose checks take an engine."""
    if arguments.no_engine:
        hint = "test where an engine is, or with this machine's own Python: `dlimg test --on-host`"
        message = f"--no-engine: the checks of `dlimg {arguments.command}` take an engine"
        raise BadInput(message, hint=hint)


def test_settings(
    matrix: str, device: str, own_checks: Path | None, context: Context
) -> TestSettings:
    """Return the settings of tests whose evidence is kept, with the project's commit."""
    return TestSettings(
        evidence=evidence_folder(context),
        device=device,
        own_checks=own_checks,
        revision=revision_of(Path(matrix).parent, context),
    )


def print_results(
    results: Sequence[ImageResult],
    *,
    seconds: float,
    format: str,  # noqa: A002 - as the option
    reports: Sequence[str],
    is_publish: bool,
    context: Context,
) -> None:
    """Print the results of a run, log failures, and write the report files."""
    value = [result_json(result) for result in results]
    if format == "json":
        print_json(value)
    else:
        rows = [result_row(result, is_publish=is_publish) for result in results]
        print_table(headings(is_publish=is_publish), rows, context)
    for result in results:
        text = failure_text(result)
        if text:
            context.log(text)
    context.log(f"{count_text(results)} in {seconds:.0f} s")
    write_reports(reports, results, value, context.log)


def log_how_to_try(results: Sequence[ImageResult], engine: Engine, context: Context) -> None:
    """Log the command that runs the first good image."""
    for result in results:
        if isinstance(result.result, BuiltImage):
            if exit_code_of_results([result]) != 1:
                planned = result.result.planned
                client = (str(engine.docker), "-H", engine.host) if engine.private else ("docker",)
                command = try_line(planned.image.cell, planned.moving_reference, docker=client)
                context.log(f"try it:\n  {command}")
            return
