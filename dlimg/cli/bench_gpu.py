"""`bench-gpu`: what a GPU is worth, by the checks that see and measure it. It keeps no evidence.

Evidence is about all checks of an image: what a few of them said must not take its place.
"""

import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.checks.host_run import checks_here, test_bare
from dlimg.checks.verdicts import SIGHT
from dlimg.cli.printing import print_json, print_table, say
from dlimg.pipeline.project import (chosen, read_project)
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.cli.test_host import machine_of, refuse_words
from dlimg.errors import BadInput
from dlimg.report.bench import BENCHMARK, HEADINGS, bench_json, bench_rows, bench_text
from dlimg.report.summary import failure_text
from dlimg.results import ImageResult, exit_code_of_results

CHECKS: Final = frozenset({SIGHT, BENCHMARK})
HINT: Final = (
    "with a container engine: dlimg bench-gpu 'pytorch-*-cuda13*-py3.13-debian13'; "
    "without one: dlimg bench-gpu --bare pytorch"
)


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when the GPU was measured and right, 1 when it was wrong, 3 when there is none."""
    if (arguments.bare, arguments.python) != (None, None):
        refuse_words(arguments)
    elif not (arguments.patterns or arguments.group):
        raise BadInput("bench-gpu takes images, or --bare and a family", hint=HINT)
    prepare_reports(arguments.report)
    # Nothing is kept, so nothing is found either: what is shown was measured now.
    with tempfile.TemporaryDirectory(prefix="dlimg-") as folder:
        measured = _in_images if arguments.bare is None else _bare
        lines = measured(arguments, environment, Path(folder))
    _report(arguments, environment, lines)
    return exit_code_of_results(lines)


def _bare(arguments: Namespace, environment: Mapping[str, str], folder: Path) -> list[ImageResult]:
    with machine_of(arguments, environment) as there:
        found = [check for check in checks_here(there) if check.name in CHECKS]
        missing = CHECKS - {check.name for check in found}
        if missing:
            raise BadInput(f"{arguments.bare} has no check {' and '.join(sorted(missing))}")
        return [ImageResult(evidence=test_bare(there, found, folder=folder))]


def _in_images(
    arguments: Namespace, environment: Mapping[str, str], folder: Path
) -> list[ImageResult]:
    from dlimg.cli.build import (  # noqa: PLC0415 - loaded only when needed
        RunSettings,
        walked,
    )

    project = read_project(arguments.matrix)
    cells = [cell.id for cell in chosen(project, arguments) if cell.is_cuda]
    if not cells:
        raise BadInput("no chosen cell uses a GPU", hint=HINT)
    words = {"command": "test", "patterns": cells, "group": None}
    walk = RunSettings(
        project=project,
        arguments=Namespace(**{**vars(arguments), **words}),
        environment=environment,
        evidence=folder,
        only=CHECKS,
    )
    lines, _ = walked(walk)
    return lines


def _report(
    arguments: Namespace, environment: Mapping[str, str], lines: Sequence[ImageResult]
) -> None:
    """What was measured, and why what was not was not."""
    measured = [line.evidence for line in lines if line.evidence]
    value = [bench_json(one) for one in measured]
    if arguments.format == "json":
        print_json(value)
    else:
        rows = [row for one in measured for row in bench_rows(one)]
        print_table(HEADINGS, rows, environment)
    for line in lines:
        # What the checks said is told in the benchmark's own words.
        other = failure_text(replace(line, evidence=None))
        for text in (bench_text(line.evidence) if line.evidence else "", other):
            if text:
                say(text)
    write_reports(arguments.report, lines, value)
