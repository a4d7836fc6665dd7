"""`dlimg pick`: the tags that run on a GPU and driver, and why the others do not."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from dlimg.atomic_write import atomic_write
from dlimg.cli.arguments import add_format, refuse_empty
from dlimg.cli.printing import out, print_json, print_table
from dlimg.compat.parse_names import parse_driver, parse_python
from dlimg.compat.pick import Advice, PickRequest, PickResult
from dlimg.compat.pick_table import pick_table
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.model import Cell
from dlimg.pipeline.facts_files import read_text
from dlimg.pipeline.pick import (
    PickContext,
    additions_to,
    detect_machine,
    evidence_lookup,
    family_of,
    pick_images,
    read_pick_context,
    replacement,
    request_on_machine,
    with_user_registry,
)
from dlimg.report import pick as report
from dlimg.report.evidence_text import tested_text
from dlimg.report.pick_table import pick_table_text
from dlimg.report.why import answer_json, answer_text
from dlimg.units import counted

PAGE: Final = Path("docs/pick.md")
TABLE_BEGIN: Final = "<!-- table: written by `dlimg pick --table` -->"
# A family or a package, perhaps with extras, and a specifier.
FAMILY: Final = re.compile(r"([^\[\s=<>!~]+)(?:\[[^\]]*\])?\s*([=<>!~].*)?")
TABLE_END: Final = "<!-- end of the table -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class PickOptions:
    """The options of `pick`; `on_this_machine` takes its GPUs and driver."""

    matrix: str
    family: str
    versions: str
    gpus: tuple[str, ...]
    driver: str
    python: str
    on_this_machine: bool
    every_image: bool
    table: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "family",
        nargs="?",
        metavar="FAMILY[==VERSION]",
        help="of this family or framework only, and of these versions: torch==2.9.0, 'jax>=0.11'",
    )
    parser.add_argument(
        "--gpu",
        action="append",
        default=[],
        metavar="GPU",
        help="by name or architecture: 'RTX 4090', sm_89; twice for a machine with two kinds",
    )
    parser.add_argument("--driver", metavar="VERSION", help="e.g. 550.54.15, or 550")
    parser.add_argument("--python", metavar="VERSION", help="e.g. 3.13")
    parser.add_argument(
        "--here", action="store_true", help="look at the GPUs and driver of this machine"
    )
    parser.add_argument(
        "--all", action="store_true", help="list every Python, operating system and flavour"
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help=f"write the table of all GPUs and drivers into {PAGE}, as Markdown",
    )
    add_format(parser)


def options_of(arguments: Namespace) -> PickOptions:
    refuse_empty(arguments, ("driver", "python"))
    if arguments.family == "":
        raise BadInput("an empty name of a family", hint="name one, or leave it out for all")
    family, versions = split_family(arguments.family or "")
    return PickOptions(
        matrix=arguments.matrix,
        family=family,
        versions=versions,
        gpus=tuple(arguments.gpu),
        driver=arguments.driver or "",
        python=arguments.python or "",
        on_this_machine=arguments.here,
        every_image=arguments.all,
        table=arguments.table,
        format=arguments.format,
    )


def split_family(text: str) -> tuple[str, str]:
    """Return the name and the specifier of `torch==2.9.0`; no specifier is an empty text."""
    match = FAMILY.fullmatch(text.strip())
    name, versions = match.groups(default="") if match else (text, "")
    try:
        return name, str(SpecifierSet(versions))
    except InvalidSpecifier:
        hint = "write it as pip does: torch==2.9.0, 'jax>=0.11,<0.13'"
        raise BadInput(f"not a specifier of versions: {versions}", hint=hint) from None


def run(options: PickOptions, context: Context) -> int:
    """Return 0 if an image runs on the hardware, else 1."""
    pick_context = read_pick_context(options.matrix, datetime.now(tz=UTC).date(), context.log)
    if options.table:
        _write_table(Path(options.matrix).parent / PAGE, pick_context)
        return 0
    pick_context = with_user_registry(pick_context, context)
    machine = detect_machine() if options.on_this_machine else None
    request = _request(options, pick_context.facts)
    request = replace(request, family=family_of(request.family, pick_context))
    if machine is not None:
        facts, today = pick_context.facts, pick_context.today
        request = request_on_machine(request, machine, facts, today, context)
    is_known = request.family in (*pick_context.families, *pick_context.facts.framework_names)
    if request.family and not is_known:
        _print_replacement(request, pick_context, options, context)
        return 1
    picked, advice = pick_images(request, pick_context)
    added = additions_to(request, pick_context, picked)
    tested = _tested(pick_context, context)
    if options.format == "json":
        detected = {"here": report.machine_json(machine)} if machine else {}
        name = pick_context.image_name
        document = report.pick_json(picked, request, advice, name, tested)
        document["add"] = [report.addition_json(addition) for addition in added]
        print_json({**document, **detected})
    else:
        _print(picked, request, advice, options, (pick_context.image_name, tested), context)
        for line in report.addition_lines(added):
            context.log(line)
        if (pick_context.project.is_shipped or pick_context.registry) and picked.matches:
            context.log(report.origin_text(pick_context.registry))
    return 0 if picked.matches else 1


def _write_table(path: Path, pick_context: PickContext) -> None:
    """Replace the table in a page. Raises BadInput if the page has no place for it."""
    table = pick_table_text(pick_table(pick_context.catalog, pick_context.rule_engine))
    atomic_write(path, with_table(read_text(path), table))


def with_table(page: str, table: str) -> str:
    """Return the page with this table between its two marks. Raises BadInput without them."""
    before, begin, after = page.partition(TABLE_BEGIN)
    _, end, after = after.partition(TABLE_END)
    if not (begin and end):
        hint = f"add the lines {TABLE_BEGIN} and {TABLE_END}"
        raise BadInput("the page has no place for the table", where=str(PAGE), hint=hint)
    return f"{before}{begin}\n{table}{end}{after}"


def _request(options: PickOptions, facts: Facts) -> PickRequest:
    """Return the request of the command line. Raises BadInput with the nearest spelling."""
    return PickRequest(
        gpus=tuple({gpu.name: gpu for gpu in map(facts.gpu, options.gpus)}.values()),
        driver=parse_driver(options.driver) if options.driver else "",
        python=parse_python(facts, options.python) if options.python else "",
        family=options.family,
        versions=options.versions,
    )


def _print_replacement(
    request: PickRequest, pick_context: PickContext, options: PickOptions, context: Context
) -> None:
    """Print what is known of an old environment, and the image that replaces it."""
    answer, best = replacement(request, pick_context)
    name = pick_context.image_name(best) if best else None
    if options.format == "json":
        print_json({**answer_json(answer), "replaced_by": name})
        return
    out(answer_text(answer, request.family))
    if name:
        context.log(f"of this matrix, {name} replaces it")


def _tested(pick_context: PickContext, context: Context) -> Callable[[Cell], str]:
    """Return a function that describes a cell's last checks; empty if it has none.

    Evidence for a cell without a lock is left out: it is about another project's image.
    """
    lookup = evidence_lookup(context)

    def tested(cell: Cell) -> str:
        evidence = lookup(cell) if pick_context.catalog.is_locked(cell.id) else None
        return tested_text(evidence, is_cuda=cell.is_cuda) if evidence else ""

    return tested


def _print(
    picked: PickResult,
    request: PickRequest,
    advice: Sequence[Advice],
    options: PickOptions,
    texts: tuple[Callable[[Cell], str], Callable[[Cell], str]],
    context: Context,
) -> None:
    name, tested = texts
    requested = report.request_text(request)
    if requested:
        context.log(f"requested: {requested}")
    rows = list(report.match_rows(picked, request, name, tested, every=options.every_image))
    if rows:
        print_table(*report.without_empty(report.MATCH_HEADINGS, rows), context)
    hidden = report.hidden_matches(picked)
    if hidden and not options.every_image:
        run_there = counted(hidden, "more image", "runs")
        context.log(f"{run_there} there: other Pythons, systems and flavours (--all)")
    rejected = list(report.rejection_rows(picked))
    if rejected:
        out("\n" if rows else "")
        context.log("Rejected:")
        print_table(report.REJECTION_HEADINGS, rejected, context)
    if not rows:
        context.log(report.nothing_text(picked, request))
        for change in advice:
            context.log(f"  {report.advice_text(change, name)}")
        if request.versions and not picked.rejections:
            context.log(report.other_release_text(request))
