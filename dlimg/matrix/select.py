"""Selection of cells by pattern and by group."""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from dlimg.errors import BadInput, Problem, nearest
from dlimg.model import OLD_FLAVOURS, Cell


def select(
    cells: Sequence[Cell], patterns: Sequence[str], log: Callable[[str], None] | None = None
) -> tuple[Cell, ...]:
    """Return the cells whose id fits one of the patterns (`*`, `?`, `[...]`), in their order.

    No pattern means all. A pattern with a flavour's old name selects the new one, and `log` gets
    a sentence about it. Raises BadInput for each pattern that fits none, with the nearest ids.
    """
    if not patterns:
        return tuple(cells)
    ids = [cell.id for cell in cells]
    chosen: set[str] = set()
    problems = []
    for pattern in patterns:
        matches = _matching(pattern, ids)
        today = pattern_of_today(pattern)
        if not matches and today != pattern:
            matches = _matching(today, ids)
            if matches and log:
                log(former_pattern_note(pattern))
        chosen.update(matches)
        if not matches:
            problems.append(_no_cell(pattern, ids))
    if problems:
        raise BadInput.of(problems)
    return tuple(cell for cell in cells if cell.id in chosen)


def pattern_of_today(pattern: str) -> str:
    """Return the pattern with old flavour names replaced by the new ones."""
    for old, new in OLD_FLAVOURS.items():
        pattern = pattern.replace(old, new)
    return pattern


def former_pattern_note(pattern: str) -> str:
    """Return a sentence for a pattern with a flavour's old name, else an empty text."""
    today = pattern_of_today(pattern)
    if today == pattern:
        return ""
    return f"{pattern}: write {today}; the next release does not know the old name"


def _matching(pattern: str, ids: Sequence[str]) -> list[str]:
    return [cell_id for cell_id in ids if fnmatchcase(cell_id, pattern)]


def _no_cell(pattern: str, ids: Sequence[str]) -> Problem:
    part = pattern.strip("*")
    near = [cell_id for cell_id in ids if part and part in cell_id][:3] or _similar(part, ids)
    hint = f"nearest: {', '.join(near)}" if near else "`dlimg list` shows all cells"
    return Problem(message=f"the pattern {pattern!r} fits no cell", hint=hint)


def _similar(part: str, ids: Sequence[str]) -> list[str]:
    """Return the ids that begin most like the written part."""
    beginnings: dict[str, str] = {}
    for cell_id in ids:
        beginnings.setdefault(cell_id[: len(part)], cell_id)
    return [beginnings[near] for near in get_close_matches(part, beginnings, n=3, cutoff=0.7)]


def in_group(
    cells: Sequence[Cell], groups: Mapping[str, Sequence[str]], group: str
) -> tuple[Cell, ...]:
    """Return the cells of a named group. Raises BadInput for an unknown group."""
    if group not in groups:
        raise BadInput(f"no group is called {group!r}", hint=nearest(group, groups))
    wanted = set(groups[group])
    return tuple(cell for cell in cells if cell.id in wanted)
