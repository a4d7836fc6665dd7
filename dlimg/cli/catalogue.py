"""`dlimg catalogue`: every release that the index serves, tried; the page about it is written."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.image_files import image_files
from dlimg.pipeline.catalogue import CatalogueRow
from dlimg.pipeline.catalogue_agreement import disagreements
from dlimg.pipeline.catalogue_run import CatalogueResult, run_catalogue
from dlimg.pipeline.facts_files import read_facts, read_text
from dlimg.render.frameworks import read_frameworks
from dlimg.report.catalogue import BUILT, catalogue_json, catalogue_page, parse_catalogue
from dlimg.units import bytes_text, counted, seconds_text

DATA: Final = Path("docs/catalogue.json")
PAGE: Final = Path("docs/catalogue.md")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueOptions:
    """The options of `catalogue`."""

    matrix: str
    frameworks: tuple[str, ...]
    again: bool
    check: bool


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "frameworks", nargs="*", metavar="FRAMEWORK", help="torch, tensorflow, jax; none: all"
    )
    parser.add_argument("--again", action="store_true", help="try again what was tried today")
    parser.add_argument(
        "--check",
        action="store_true",
        help="ask no index: only compare the written rows with `why` and `list`",
    )


def options_of(arguments: Namespace) -> CatalogueOptions:
    return CatalogueOptions(
        matrix=arguments.matrix,
        frameworks=tuple(arguments.frameworks),
        again=arguments.again,
        check=arguments.check,
    )


def run(options: CatalogueOptions, context: Context) -> int:
    """Return 0 if `why` and `list` agree with every row, else 1."""
    root = Path(options.matrix).parent
    if options.check:
        _, rows = parse_catalogue(read_text(root / DATA), source=str(DATA))
        return _report(rows, root)
    result = run_catalogue(root, options.frameworks, context, again=options.again)
    rows = _with_others(result, root)
    day = datetime.now(tz=UTC).date().isoformat()
    page = root / PAGE
    _, mark, built = (read_text(page) if page.exists() else "").partition(BUILT)
    atomic_write(root / DATA, catalogue_json(rows, day))
    atomic_write(page, catalogue_page(rows, day, f"{mark or BUILT}{built}"))
    out(
        f"{counted(len(result.rows), 'row')}, {result.tried} tried now, "
        f"{seconds_text(result.seconds)}, {bytes_text(result.bytes_read)}\n"
    )
    return _report(rows, root)


def _with_others(result: CatalogueResult, root: Path) -> tuple[CatalogueRow, ...]:
    """Return the rows in the order of their frameworks, with the written ones of others."""
    tried = {row.framework for row in result.rows}
    written = root / DATA
    before = parse_catalogue(read_text(written), source=str(DATA))[1] if written.exists() else ()
    others = [row for row in before if row.framework not in tried]
    order = sorted(tried | {row.framework for row in others})
    return tuple(sorted((*others, *result.rows), key=lambda row: order.index(row.framework)))


def _report(rows: tuple[CatalogueRow, ...], root: Path) -> int:
    frameworks = read_frameworks(image_files(root))
    today = datetime.now(tz=UTC).date()
    sentences = tuple(disagreements(rows, read_facts(), frameworks, today))
    for sentence in sentences:
        out(f"{sentence}\n")
    works = sum(row.works for row in rows)
    out(f"{works} of {len(rows)} work; {counted(len(sentences), 'disagreement')} with the facts\n")
    return 1 if sentences else 0
