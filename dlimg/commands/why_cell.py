"""`why` about a cell of the matrix, or about a corner that it dropped."""

import re
from argparse import Namespace
from datetime import date
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from typing import Final

from dlimg.choose import asked
from dlimg.choose.cell_question import combination_of
from dlimg.choose.changes import Offer
from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.judge import Judge
from dlimg.choose.nearest import offers
from dlimg.choose.question import Ground, Question
from dlimg.choose.reason import against, refusals, warning
from dlimg.choose.rules import rules
from dlimg.choose.select import select
from dlimg.choose.why import Answer, answered
from dlimg.commands.given import refuse_options
from dlimg.commands.project import Project, read_project
from dlimg.commands.reading import read_facts
from dlimg.commands.why import facts_for
from dlimg.errors import BadInput
from dlimg.lock.store import read_lock
from dlimg.model import Cell, Dropped

# What a cell says by itself.
_OF_THE_CELL: Final = ("cuda", "cudnn", "python", "os", "arch")


def cell_answer(text: str, arguments: Namespace, today: date) -> tuple[str, Answer]:
    """The answer about a cell, by its id, a pattern, an alias or a tag; or about a dropped corner.

    Raises BadInput for a name that fits none or several, with the nearest.
    """
    project = read_project(arguments.matrix)
    refuse_options(arguments, _OF_THE_CELL, "the cell says that by itself")
    dropped = next((one for one in project.resolution.dropped if one.id == text), None)
    if dropped is not None:
        return text, _dropped(project, read_facts(), dropped, today)
    cell = _named(project, text)
    framework = asked.FRAMEWORKS.get(cell.package, "")
    facts = facts_for(framework) if framework else read_facts()
    judge = Judge(facts, rules(today))
    lock = read_lock(cell.id, project.locks)
    gpu = facts.gpu(arguments.gpu) if arguments.gpu else None
    driver = asked.driver_named(arguments.driver) if arguments.driver else ""
    one = combination_of(cell, facts, lock, gpu=gpu, driver=driver)
    found = answered(judge, one)
    if found.valid:
        return cell.id, found
    near = _near(project, judge, cell, one) or offers(judge, Ground(facts, today), _asked(one), 5)
    return cell.id, Answer(one=one, fails_at=found.fails_at, reasons=found.reasons, nearest=near)


def _asked(one: Combination) -> Question:
    return Question(
        framework=one.framework,
        version=one.version,
        cuda=one.cuda or asked.CPU,
        python=one.python,
        system=one.distribution,
        gpu=one.gpu,
        driver=one.driver,
        machine=one.machine,
    )


def _named(project: Project, text: str) -> Cell:
    cells = project.resolution.cells
    names = {name for cell in cells for name in names_of(project, cell)}
    word = _without_registry(project, text)
    if word in names:
        return next(cell for cell in cells if word in names_of(project, cell))
    found = select(cells, [text]) if re.search(r"[*?\[]", text) else _alike(project, text)
    if len(found) > 1:
        hint = f"e.g. {found[0].id}"
        raise BadInput(f"{text!r} fits {len(found)} cells, why takes one", hint=hint)
    return found[0]


def _alike(project: Project, text: str) -> tuple[Cell, ...]:
    cells = project.resolution.cells
    dropped = [one.id for one in project.resolution.dropped if fnmatchcase(one.id, text)]
    try:
        return select(cells, dropped or [text])
    except BadInput as error:
        message, hint = error.problems[0].message, error.problems[0].hint
        raise BadInput(message, hint=f"{hint}; or ask e.g. torch==2.6.0 --cuda 12.4") from error


def names_of(project: Project, cell: Cell) -> tuple[str, ...]:
    """Its id, its tags without cuDNN, its aliases: `pytorch:latest`."""
    full = f"{cell.family}:{cell.id.removeprefix(f'{cell.family}-')}"
    aliases = project.resolution.aliases.get(cell.id, ())
    return (cell.id, full, *(f"{cell.family}:{alias}" for alias in aliases))


def _without_registry(project: Project, text: str) -> str:
    """`pytorch:2.15.0-cuda13.2-py3.13-debian13` of a full name; the lock says which cuDNN."""
    word = text.removeprefix(f"{project.resolution.registry}/").rpartition("/")[2]
    return re.sub(r"-cudnn[0-9.]+(?=-)", "", word)


def _dropped(project: Project, facts: Facts, dropped: Dropped, today: date) -> Answer:
    """Why a corner is no cell: a rule that cannot be helped, or a wish of the matrix."""
    cells = project.resolution.cells
    ranked = sorted(cells, key=lambda cell: -SequenceMatcher(None, cell.id, dropped.id).ratio())
    near = [_offer(project, facts, cell, (f"{dropped.id} -> {cell.id}",)) for cell in ranked[:6]]
    judge = Judge(facts, rules(today))
    near = [each for each in near if not refusals(judge.reasons(each.one))] or near[:1]
    one = near[0].one
    if not dropped.at:
        message = f"the matrix leaves it out: {dropped.reason}"
        reasons = (warning("excluded", message, dropped.source),)
        return Answer(one=one, fails_at=None, reasons=reasons, nearest=tuple(near[:3]))
    reasons = (against(dropped.rule, dropped.at, dropped.reason, dropped.source),)
    return Answer(one=one, fails_at=dropped.at, reasons=reasons, nearest=tuple(near[:3]))


def _near(project: Project, judge: Judge, cell: Cell, one: Combination) -> tuple[Offer, ...]:
    """Other cells of its family that work on the same GPU and driver, the likest first."""
    found = []
    for other in project.resolution.cells:
        if other.family != cell.family or other.id == cell.id or other.flavour != cell.flavour:
            continue
        lock = read_lock(other.id, project.locks)
        there = combination_of(other, judge.facts, lock, gpu=one.gpu, driver=one.driver)
        if one.gpu and not there.cuda:
            continue
        if not refusals(judge.reasons(there)):
            likeness = SequenceMatcher(None, cell.id, other.id).ratio()
            changes = (f"{cell.id} -> {other.id}",)
            found.append(Offer(one=there, changes=changes, cost=round(1 - likeness, 3)))
    return tuple(sorted(found, key=lambda offer: offer.cost)[:5])


def _offer(project: Project, facts: Facts, cell: Cell, changes: tuple[str, ...]) -> Offer:
    one = combination_of(cell, facts, read_lock(cell.id, project.locks))
    return Offer(one=one, changes=changes, cost=0.0)
