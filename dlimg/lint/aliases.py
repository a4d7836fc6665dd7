"""Findings about aliases and default tags."""

from collections.abc import Iterator
from typing import Final

from packaging.version import InvalidVersion, Version

from dlimg.lint.end_of_life import support_ends
from dlimg.lint.model import Finding, LintContext, LintRule, Severity
from dlimg.matrix.cudnn import alias_fits
from dlimg.matrix.model import LEADER, NO_CUDNN, SELECTABLE, Family
from dlimg.model import Cell


def _deprecated(context: LintContext) -> Iterator[Finding]:
    for family, alias, line, cell in _aliased(context):
        for part, end in support_ends(context, cell):
            yield Finding(
                id=DEPRECATED.id,
                severity=Severity.WARNING,
                file=context.matrix.source,
                line=line,
                about=f"{family.name}:{alias}",
                message=f"{family.name}:{alias} leads to a {part} near its end or past it "
                f"({end.message}): let it lead to a newer one",
                source=end.source,
            )


def _behind(context: LintContext) -> Iterator[Finding]:
    newest: dict[str, str] = {}
    for cell in context.resolution.cells:
        best = newest.setdefault(cell.family, cell.version)
        if cell.version != best and _order(cell.version) > _order(best):
            newest[cell.family] = cell.version
    for family, alias, line, cell in _aliased(context):
        best = newest[family.name]
        if alias == "latest" and _order(cell.version) < _order(best):
            yield Finding(
                id=BEHIND.id,
                severity=Severity.WARNING,
                file=context.matrix.source,
                line=line,
                about=f"{family.name}:{alias}",
                message=f"{family.name}:latest is {cell.version}, and the matrix has {best}: "
                "move it, or ignore this with the reason",
            )


def _aliased(context: LintContext) -> Iterator[tuple[Family, str, int, Cell]]:
    """Yield each alias with its family, line and cell."""
    cells: dict[str, list[Cell]] = {}
    for cell in context.resolution.cells:
        cells.setdefault(cell.family, []).append(cell)
    for family in context.matrix.families.values():
        for alias, match in family.aliases.items():
            for cell in cells.get(family.name, ()):
                if alias_fits(match, _axis_values(cell), cell.stack):
                    yield family, alias, match.line, cell
                    break


def _axis_values(cell: Cell) -> dict[str, str]:
    cudnn = (cell.stack.cudnn or LEADER) if cell.stack else NO_CUDNN
    values = (cell.version, cell.accelerator, cell.python, cell.os.name, cell.flavour.value, cudnn)
    return dict(zip(SELECTABLE, values, strict=True))


def _order(version: str) -> Version:
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0")


DEPRECATED: Final = LintRule(
    id="alias-to-deprecated",
    title="An alias that points to something deprecated",
    severity="a warning",
    why=(
        "Most people take the alias, not the full tag. One that leads to a Python, a distribution "
        "or a CUDA at its end starts new users on something that gets no more fixes."
    ),
    example="operating_systems:\n"
    '  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}\n'
    "families: {pytorch: {aliases: {latest: {os: debian12}}}}",
    remedy="Point the alias to a cell without deprecated parts.",
    find=_deprecated,
)
BEHIND: Final = LintRule(
    id="latest-is-not-newest",
    title="`latest` is not the newest version",
    severity="a warning",
    why="Users of `latest` expect the newest version in the matrix.",
    example='axes: {version: ["2.15.0", "2.13.0"]}\naliases: {latest: {version: "2.13.0"}}',
    remedy="Move the alias; where the newest version is not ready for everyone, ignore the finding "
    "and give the reason.",
    find=_behind,
)
