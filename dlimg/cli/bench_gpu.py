"""`dlimg bench-gpu`: the speed of a GPU, by the checks that detect and measure it.

It saves no evidence: evidence covers all checks of an image, and a few must not replace it.
"""

import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.checks.verdicts import GPU_CHECK
from dlimg.cli.arguments import add_device, add_on_host
from dlimg.cli.printing import print_json, print_table
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.cli.run_options import add_build_arguments, build_settings_of, host_settings_of
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.model import CellSelection
from dlimg.pipeline.host_checks import HostSettings, measure_host
from dlimg.pipeline.planned_images import BuildSettings
from dlimg.pipeline.project import read_project, select_cells
from dlimg.pipeline.run import Run, TestSettings, images_to_build, run_images
from dlimg.report.bench import BENCHMARK, HEADINGS, bench_json, bench_rows, bench_text
from dlimg.report.summary import failure_text
from dlimg.results import ImageResult, exit_code_of_results

CHECKS: Final = frozenset({GPU_CHECK, BENCHMARK})
HINT: Final = (
    "with a container engine: dlimg bench-gpu 'pytorch-*-cuda13*-py3.13-debian13'; "
    "without one: dlimg bench-gpu --on-host pytorch"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """The options of `bench-gpu`; `host` is set for this machine's own Python."""

    matrix: str
    settings: BuildSettings
    device: str
    format: str
    reports: tuple[str, ...]
    host: HostSettings | None


def add_arguments(parser: ArgumentParser) -> None:
    add_build_arguments(parser)
    add_device(parser)
    add_on_host(parser)
    parser.set_defaults(checks=None)


def options_of(arguments: Namespace) -> BenchOptions:
    options = BenchOptions(
        matrix=arguments.matrix,
        settings=build_settings_of(arguments),
        device=arguments.device or "",
        format=arguments.format,
        reports=tuple(arguments.report),
        host=host_settings_of(arguments),
    )
    if options.host is None and options.settings.cells.is_all:
        raise BadInput("bench-gpu takes images, or --on-host and a family", hint=HINT)
    return options


def run(options: BenchOptions, context: Context) -> int:
    """Return 0 when the GPU was measured and right, 1 when it was wrong, 3 without a GPU."""
    prepare_reports(options.reports)
    # A folder of its own for evidence: nothing is kept, and nothing old is shown.
    with tempfile.TemporaryDirectory(prefix="dlimg-") as name:
        folder = Path(name)
        if options.host:
            evidence = measure_host(options.host, CHECKS, folder, context)
            results = [ImageResult(evidence=evidence)]
        else:
            results = _measure_in_images(options, folder, context)
    _print(results, options, context)
    return exit_code_of_results(results)


def _measure_in_images(options: BenchOptions, folder: Path, context: Context) -> list[ImageResult]:
    project = read_project(options.matrix, log=context.log)
    context = context.with_indexes(project.resolution.indexes)
    selected = select_cells(project, options.settings.cells, log=context.log)
    cells = tuple(cell.id for cell in selected if cell.is_cuda)
    if not cells:
        raise BadInput("no chosen cell uses a GPU", hint=HINT)
    bench_run = Run(
        project=project,
        context=context,
        build=replace(options.settings, cells=CellSelection(patterns=cells)),
        test=TestSettings(evidence=folder, device=options.device, only=CHECKS),
    )
    results, _ = run_images(bench_run, images_to_build(bench_run))
    return results


def _print(results: Sequence[ImageResult], options: BenchOptions, context: Context) -> None:
    measured = [result.evidence for result in results if result.evidence]
    value = [bench_json(evidence) for evidence in measured]
    if options.format == "json":
        print_json(value)
    else:
        rows = [row for evidence in measured for row in bench_rows(evidence)]
        print_table(HEADINGS, rows, context)
    for result in results:
        other_failures = failure_text(replace(result, evidence=None))
        for text in (bench_text(result.evidence) if result.evidence else "", other_failures):
            if text:
                context.log(text)
    write_reports(options.reports, results, value, context.log)
