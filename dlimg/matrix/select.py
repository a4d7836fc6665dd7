"""Cells by pattern and by group."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from dlimg.errors import BadInput, Problem, nearest
from dlimg.model import Cell


def select(cells: Sequence[Cell], patterns: Sequence[str]) -> tuple[Cell, ...]:
    """The cells whose id fits one of the patterns (`*`, `?`, `[...]`), in the matrix's order.

    No pattern means all. Raises BadInput for each pattern that fits none, with the nearest ids.
    """
    if not patterns:
        return tuple(cells)
    ids = [cell.id for cell in cells]
    chosen: set[str] = set()
    problems = []
    for pattern in patterns:
        found = [one for one in ids if fnmatchcase(one, pattern)]
        chosen.update(found)
        if not found:
            problems.append(_no_cell(pattern, ids))
    if problems:
        raise BadInput.of(problems)
    return tuple(cell for cell, one in zip(cells, ids, strict=True) if one in chosen)


def _no_cell(pattern: str, ids: Sequence[str]) -> Problem:
    bare = pattern.strip("*")
    near = [one for one in ids if bare and bare in one][:3] or _alike(bare, ids)
    hint = f"nearest: {', '.join(near)}" if near else "`dlimg list` shows all cells"
    return Problem(message=f"the pattern {pattern!r} fits no cell", hint=hint)


def _alike(bare: str, ids: Sequence[str]) -> list[str]:
    """The ids whose beginning, as long as what was written, is nearest to it."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    beginnings: dict[str, str] = {}
    for one in ids:
        beginnings.setdefault(one[: len(bare)], one)
    return [beginnings[near] for near in get_close_matches(bare, beginnings, n=3, cutoff=0.7)]


def in_group(
    cells: Sequence[Cell], groups: Mapping[str, Sequence[str]], group: str
) -> tuple[Cell, ...]:
    """The cells of a named group. Raises BadInput for a group that the matrix does not have."""
    if group not in groups:
        raise BadInput(f"no group is called {group!r}", hint=nearest(group, groups))
    wanted = set(groups[group])
    return tuple(cell for cell in cells if cell.id in wanted)
