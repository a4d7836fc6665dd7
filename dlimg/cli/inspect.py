"""`dlimg inspect`: an image in the engine or at a registry, with all evidence about it."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from dlimg.cli.arguments import add_format
from dlimg.cli.printing import out, print_json, print_table
from dlimg.context import Context
from dlimg.pipeline.inspect import InspectReport, inspect
from dlimg.publish.image_content import maker_of
from dlimg.report.evidence_text import proof_text, verdict_row
from dlimg.report.inspect import fact_rows, inspect_json, layer_rows, printable, wheel_rows
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectOptions:
    """The options of `inspect`."""

    reference: str
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "reference", metavar="REF", help="an image in the engine, or HOST/NAME:TAG at a registry"
    )
    add_format(parser)


def options_of(arguments: Namespace) -> InspectOptions:
    return InspectOptions(reference=arguments.reference, format=arguments.format)


def run(options: InspectOptions, context: Context) -> int:
    """Return 0 for an image that dlimg made, else 1."""
    report = inspect(options.reference, context)
    if options.format == "json":
        print_json(inspect_json(report))
    else:
        _print(report, context)
    return 0 if maker_of(report.content) == "dlimg" else 1


def _print(report: InspectReport, context: Context) -> None:
    _print_line(report.content.reference)
    rows = fact_rows(report)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        _print_line(f"  {name:{width}}  {text}")
    _print_line("")
    _print_line("evidence" if report.proofs else "no evidence: not tested, or no longer kept")
    for proof in report.proofs:
        _print_line(proof_text(proof))
        verdicts = [verdict_row(verdict) for verdict in proof.evidence.verdicts]
        _print_table(("verdict", "check", "time", "reason"), verdicts, context)
    wheels = wheel_rows(report)
    if wheels:
        _print_line("")
        _print_line(f"{counted(len(wheels), 'wheel')}")
        _print_table(("wheel", "version", "download"), wheels, context)
    _print_line("")
    _print_line(f"{counted(len(report.content.layers), 'layer')}, lowest first")
    headings = ("to pull", "unpacked", "digest", "made by")
    _print_table(headings, layer_rows(report.content), context)
    for remark in report.remarks:
        context.log(f"note: {printable(remark)}")


def _print_line(text: str) -> None:
    out(f"{printable(text)}\n")


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], context: Context) -> None:
    print_table(headings, [[printable(text) for text in row] for row in rows], context)
