"""The catalogue as a page for people, and as JSON with one row on a line."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from dlimg.errors import BadInput
from dlimg.pipeline.catalogue import CatalogueRow
from dlimg.units import bytes_text

# From here on, people write the page.
BUILT: Final = "## Built and checked"
SOURCE: Final = "PyPI, resolved by uv"
_INTRO: Final = """\
# Back catalogue

Written by `nox -s catalogue`, down to "Built and checked"; edit nothing above it.

Every final release from the oldest one named in the facts on that PyPI serves was resolved,
locked (with a comparison of the wheels' files) and rendered, for the Pythons of Debian 12 (3.11)
and Debian 13 (3.13) on x86_64. `yes` has the CUDA and cuDNN that it comes to and the bytes to
download; the number of a `no` is that of its reason, below the table. A `yes` says that an image
can be made, not that it was built: [what was built](#built-and-checked).

The source of every row is PyPI, resolved by uv on {day}. [catalogue.json](catalogue.json) has the
same as data. A test compares each row with the answers of `dlimg why` and `dlimg list`.
"""


def catalogue_json(rows: Sequence[CatalogueRow], day: str) -> str:
    """Return all rows as JSON, fields without a value left out."""
    lines = ",\n".join(
        f"    {json.dumps({name: value for name, value in asdict(row).items() if _is_set(value)})}"
        for row in rows
    )
    head = f'  "checked": {json.dumps(day)},\n  "source": {json.dumps(SOURCE)},\n'
    return f'{{\n{head}  "rows": [\n{lines}\n  ]\n}}\n'


def _is_set(value: object) -> bool:
    return value is False or bool(value)


def parse_catalogue(text: str, *, source: str) -> tuple[str, tuple[CatalogueRow, ...]]:
    """Return the day and the rows of `catalogue_json`. Raises BadInput for anything else."""
    try:
        tree = json.loads(text)
        return str(tree["checked"]), tuple(CatalogueRow(**row) for row in tree["rows"])
    except (ValueError, KeyError, TypeError) as error:
        hint = "run `nox -s catalogue`, which writes it"
        raise BadInput(f"this is no catalogue: {error}", where=source, hint=hint) from error


def catalogue_page(rows: Sequence[CatalogueRow], day: str, built: str) -> str:
    """Return the page in Markdown; `built` is its last part, which people write."""
    parts = [_INTRO.format(day=day), _summary(rows)]
    parts += [
        "\n".join(_table([row for row in rows if row.framework == framework]))
        for framework in dict.fromkeys(row.framework for row in rows)
    ]
    return "\n".join((*parts, built.strip() + "\n"))


def _summary(rows: Sequence[CatalogueRow]) -> str:
    lines = ["| framework | releases | tried | yes | no |", "|---|--:|--:|--:|--:|"]
    for framework in dict.fromkeys(row.framework for row in rows):
        own = [row for row in rows if row.framework == framework]
        releases, works = len({row.version for row in own}), sum(row.works for row in own)
        lines.append(f"| {framework} | {releases} | {len(own)} | {works} | {len(own) - works} |")
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[CatalogueRow]) -> Iterator[str]:
    """Yield the lines about one framework: a line for each release, then the reasons."""
    columns = list(dict.fromkeys((row.accelerator, row.python) for row in rows))
    reasons: dict[str, int] = {}
    yield f"## {rows[0].framework}\n"
    headings = (f"{accelerator}, {python}" for accelerator, python in columns)
    yield f"| release | {' | '.join(headings)} |"
    yield f"|---|{'---|' * len(columns)}"
    for version in dict.fromkeys(row.version for row in rows):
        own = {(row.accelerator, row.python): row for row in rows if row.version == version}
        cells = (_verdict(own[column], reasons) if column in own else "-" for column in columns)
        yield f"| {version} | {' | '.join(cells)} |"
    yield ""
    yield from (f"{number}. {reason}" for reason, number in reasons.items())
    yield ""


def _verdict(row: CatalogueRow, reasons: dict[str, int]) -> str:
    if not row.works:
        reason = row.reason.replace(row.version, "VERSION").replace("|", "\\|")
        return f"no ({reasons.setdefault(reason, len(reasons) + 1)})"
    cuda = f"CUDA {row.cuda}, cuDNN {'.'.join(row.cudnn.split('.')[:2])}, " if row.cuda else ""
    return f"yes: {cuda}{bytes_text(row.size)}"
