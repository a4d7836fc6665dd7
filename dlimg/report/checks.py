"""Checks of cells as rows and as data."""

from collections.abc import Collection, Sequence
from typing import Final

from dlimg.model import Cell, Check

OF_ONE: Final = ("check", "needs", "container", "required", "proves")
OF_MANY: Final = ("check", "needs", "container", "required", "cells", "proves")

Pair = tuple[Cell, Check]


def check_json(cell: Cell, check: Check) -> dict[str, object]:
    """Return one check of one cell as stable data; `container` is null for the default kind."""
    return {
        "cell": cell.id,
        "family": cell.family,
        "check": check.name,
        "needs": _needs(check.needs),
        "container": check.container or None,
        "required": check.required,
        "seconds": check.seconds,
        "flaky": check.flaky or None,
        "alone": check.alone or None,
        "proves": check.proves,
        "path": check.path,
    }


def check_row(check: Check) -> tuple[str, ...]:
    """Return the row of a check of a single cell."""
    required = "yes" if check.required else "no"
    return (check.name, _needs(check.needs), check.container or "-", required, check.proves)


def check_rows(pairs: Sequence[Pair], cells: int) -> list[tuple[str, ...]]:
    """Return a row for each check of many cells, in the order of first appearance."""
    by_name: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_name.setdefault(pair[1].name, []).append(pair)
    return [_row(pairs_of_check, cells) for pairs_of_check in by_name.values()]


def _row(pairs: Sequence[Pair], cells: int) -> tuple[str, ...]:
    """Return the row of a check in all its cells.

    It shows every need that the check has in some cell, and one family's text as an example if
    families differ in what the check proves.
    """
    check = pairs[0][1]
    needs: frozenset[str] = frozenset().union(*(check_of_cell.needs for _, check_of_cell in pairs))
    families = list(dict.fromkeys(cell.family for cell, _ in pairs))
    is_same = {check_of_cell.proves for _, check_of_cell in pairs} == {check.proves}
    proves = check.proves if is_same else f"e.g. {families[0]}: {check.proves}"
    required = _of(sum(check_of_cell.required for _, check_of_cell in pairs), len(pairs))
    return (
        check.name,
        _needs(needs),
        check.container or "-",
        required,
        f"{len(pairs)} of {cells}" if len(pairs) < cells else "all",
        proves,
    )


def _of(some: int, every: int) -> str:
    return {0: "no", every: "yes"}.get(some, f"in {some} of {every}")


def _needs(needs: Collection[str]) -> str:
    return ", ".join(sorted(needs)) or "-"
