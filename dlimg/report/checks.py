"""The checks of cells, as rows and as data."""

from collections.abc import Collection, Sequence
from typing import Final

from dlimg.model import Cell, Check

OF_ONE: Final = ("check", "needs", "container", "required", "proves")
OF_MANY: Final = ("check", "needs", "container", "required", "cells", "proves")

Pair = tuple[Cell, Check]


def check_json(cell: Cell, check: Check) -> dict[str, object]:
    """One check of one cell as stable data; `container` is null for the ordinary one."""
    return {
        "cell": cell.id,
        "family": cell.family,
        "check": check.name,
        "needs": _needs(check.needs),
        "container": check.container or None,
        "required": check.required,
        "seconds": check.seconds,
        "flaky": check.flaky or None,
        "proves": check.proves,
        "path": check.path,
    }


def check_row(check: Check) -> tuple[str, ...]:
    """One check of the only cell."""
    required = "yes" if check.required else "no"
    return (check.name, _needs(check.needs), check.container or "-", required, check.proves)


def check_rows(pairs: Sequence[Pair], cells: int) -> list[tuple[str, ...]]:
    """A row for each check of these many cells, in the order of the first that has it."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair[1].name, []).append(pair)
    return [_row(one, cells) for one in found.values()]


def _row(pairs: Sequence[Pair], cells: int) -> tuple[str, ...]:
    """What is said of a check in all its cells; each family has its own words for what it proves.

    What is needed by some of the cells is needed.
    """
    check = pairs[0][1]
    needs: frozenset[str] = frozenset().union(*(one.needs for _, one in pairs))
    families = list(dict.fromkeys(cell.family for cell, _ in pairs))
    alike = {one.proves for _, one in pairs} == {check.proves}
    proves = check.proves if alike else f"e.g. {families[0]}: {check.proves}"
    required = _of(sum(one.required for _, one in pairs), len(pairs))
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
