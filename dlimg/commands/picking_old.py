"""`pick` of a name that the matrix does not have: an old environment, or a slip of the pen."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from dlimg.choose.asked import FRAMEWORKS
from dlimg.choose.judge import Judge
from dlimg.choose.legacy import legacy_answer, legacy_named
from dlimg.choose.pick import Shelf, Wish, pick
from dlimg.choose.why import Answer
from dlimg.commands.printing import out, print_json, say
from dlimg.errors import BadInput, nearest
from dlimg.model import Cell
from dlimg.report.why import answer_json, answer_text


def replaced(
    wish: Wish,
    shelf: Shelf,
    judge: Judge,
    naming: tuple[Callable[[Cell], str], date],
    form: str,
) -> int:
    """1: no image is that environment; what is left of it is told, and what replaces it.

    Raises BadInput for a name that nobody has ever heard of.
    """
    name, today = naming
    old = legacy_named(judge.facts, wish.family)
    if old is None:
        families = {cell.family for cell in shelf.cells}
        message = f"the matrix has no family {wish.family!r}"
        raise BadInput(message, hint=nearest(wish.family, families))
    found = legacy_answer(judge, old, today)
    best = _best(wish, shelf, judge, found)
    if form == "json":
        print_json({**answer_json(found), "replaced_by": name(best) if best else None})
        return 1
    out(answer_text(found, wish.family))
    if best:
        say(f"of this matrix, {name(best)} replaces it")
    return 1


def _best(wish: Wish, shelf: Shelf, judge: Judge, found: Answer) -> Cell | None:
    """The best image of the same framework."""
    same = [
        cell
        for cell in shelf.cells
        if FRAMEWORKS.get(cell.package, cell.package) == found.one.framework
    ]
    fits = pick(replace(shelf, cells=same), replace(wish, family=""), judge).fits
    return fits[0].cell if fits else None
