"""`dlimg doctor`: checks a machine for runs, and installs what it lacks if asked."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_format, add_on, refuse_empty
from dlimg.cli.printing import out, print_json, print_table
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.host.ssh import check_destination, open_ssh
from dlimg.pipeline.doctor import DoctorReport, DoctorRequest, examine, run_step
from dlimg.report.doctor import HEADINGS, doctor_json, finding_rows, plan_lines
from dlimg.run.model import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """The options of `doctor`; `fix` prints the plan, `yes` runs it."""

    matrix: str
    request: RunRequest
    on: str
    fix: bool
    yes: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_on(parser)
    parser.add_argument("--cpu", action="store_true", help="for runs without a GPU")
    parser.add_argument(
        "--env", metavar="ENV", help="the image, as for `run` (what the code here imports)"
    )
    parser.add_argument("--fix", action="store_true", help="print the lines that install the rest")
    parser.add_argument("--yes", action="store_true", help="with --fix: run these lines as root")
    add_format(parser)


def options_of(arguments: Namespace) -> DoctorOptions:
    refuse_empty(arguments, ("env", "on"))
    if arguments.on:
        check_destination(arguments.on)
    if arguments.yes and not arguments.fix:
        raise BadInput("--yes goes with --fix, whose lines it runs")
    request = RunRequest(
        folder=Path.cwd(), env=arguments.env or "", gpu="cpu" if arguments.cpu else "auto"
    )
    return DoctorOptions(
        matrix=arguments.matrix,
        request=request,
        on=arguments.on or "",
        fix=arguments.fix,
        yes=arguments.yes,
        format=arguments.format,
    )


def run(options: DoctorOptions, context: Context) -> int:
    """Return 0 if nothing has to be mended, else 1."""
    host = open_ssh(options.on, context) if options.on else None
    target = DoctorRequest(request=options.request, matrix=options.matrix, host=host)
    report = examine(target, context)
    if options.yes:
        report = _mended(report, target, context)
    _print(report, options, context)
    return 0 if report.is_good else 1


def _mended(report: DoctorReport, target: DoctorRequest, context: Context) -> DoctorReport:
    """Run the plan and examine the machine again."""
    for step in report.plan.steps:
        context.log(f"{step.name}:")
        run_step(step, target.host, report.probe.sudo, context)
    if not report.plan.steps:
        return report
    return examine(target, context)


def _print(report: DoctorReport, options: DoctorOptions, context: Context) -> None:
    if options.format == "json":
        print_json(doctor_json(report.findings, report.plan))
        return
    print_table(HEADINGS, finding_rows(report.findings), context)
    if options.fix:
        for line in plan_lines(report.plan):
            out(f"{line}\n")
    elif report.plan.reboot:
        context.log(f"reboot: {report.plan.reboot}")
