"""Nothing runs there: what to change, least first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dlimg.choose.judge import Judge
from dlimg.choose.numbered import driver_numbers, numbers
from dlimg.choose.pick import Fit, Shelf, Wish, is_asked, pick, plain, wrong_host
from dlimg.model import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to change so that something runs: in words, with the cell that would, and the source."""

    change: str
    cell: Cell
    source: str = ""


def advice(shelf: Shelf, wish: Wish, judge: Judge) -> tuple[Advice, ...]:
    """The least changes after which one of these cells runs, where there are any."""
    found = [
        _newer_driver(shelf, wish, judge),
        *_one_gpu(shelf, wish, judge),
        _another_python(shelf, wish, judge),
        _another_family(shelf, wish, judge),
        _no_gpu(shelf, wish, judge),
    ]
    return tuple(one for one in found if one)


def _newer_driver(shelf: Shelf, wish: Wish, judge: Judge) -> Advice | None:
    """The oldest driver with which a cell runs, if these GPUs have one so new."""
    if not wish.driver:
        return None
    floors = {
        cell.stack.cuda: judge.facts.cuda[cell.stack.cuda]
        for cell in shelf.cells
        if cell.stack and cell.stack.cuda in judge.facts.cuda
    }
    for fact in sorted(floors.values(), key=lambda one: numbers(one.min_driver)):
        if numbers(fact.min_driver) <= driver_numbers(wish.driver):
            continue
        fits = _sure(shelf, replace(wish, driver=fact.min_driver), judge)
        if fits:
            change = f"update the driver to {fact.min_driver} or newer"
            source = fact.origin.source_of("min_driver")
            return Advice(change=change, cell=fits[0].cell, source=source)
    return None


def _one_gpu(shelf: Shelf, wish: Wish, judge: Judge) -> Iterator[Advice]:
    """An image for one of several kinds of GPU: no image may be for all of them."""
    for gpu in wish.gpus if len(wish.gpus) > 1 else ():
        fits = _sure(shelf, replace(wish, gpus=(gpu,)), judge)
        if fits:
            yield Advice(change=f"use the {gpu.name} alone", cell=fits[0].cell)


def _another_python(shelf: Shelf, wish: Wish, judge: Judge) -> Advice | None:
    if not wish.python:
        return None
    fits = _sure(shelf, replace(wish, python=""), judge)
    change = f"take Python {fits[0].cell.python}" if fits else ""
    return Advice(change=change, cell=fits[0].cell) if fits else None


def _sure(shelf: Shelf, wish: Wish, judge: Judge) -> list[Fit]:
    """What runs there without a doubt: nothing else is worth a change."""
    return [fit for fit in pick(shelf, wish, judge).fits if not fit.doubts]


def _another_family(shelf: Shelf, wish: Wish, judge: Judge) -> Advice | None:
    if not wish.family:
        return None
    fits = _sure(shelf, replace(wish, family=""), judge)
    change = f"take {fits[0].cell.family}" if fits else ""
    return Advice(change=change, cell=fits[0].cell) if fits else None


def _no_gpu(shelf: Shelf, wish: Wish, judge: Judge) -> Advice | None:
    """An image for the CPU: it runs slowly, on any host of the machine that it is for."""
    if not (wish.gpus or wish.driver):
        return None
    cells = [cell for cell in shelf.cells if is_asked(cell, plain(wish))]
    cells = [cell for cell in cells if not wrong_host(cell, wish, judge.facts)]
    change = "do without the GPU"
    best = min(cells, key=lambda cell: _rank_plain(cell, shelf), default=None)
    return Advice(change=change, cell=best) if best else None


def _rank_plain(cell: Cell, shelf: Shelf) -> tuple[bool, bool]:
    return shelf.lock_of(cell.id) is None, not shelf.aliases.get(cell.id)
