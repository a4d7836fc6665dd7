"""`pick`: which of the matrix's tags runs on a GPU and driver, and why the others do not."""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache, partial

from dlimg.choose.advice import Advice, advice
from dlimg.choose.asked import driver_named, python_named
from dlimg.choose.facts import Facts
from dlimg.choose.facts_nouns import Gpu, Origin
from dlimg.choose.judge import Judge
from dlimg.choose.machine import Machine, SeenGpu
from dlimg.choose.pick import Picked, Shelf, Wish, pick
from dlimg.choose.rules import rules
from dlimg.commands.given import refuse_empty
from dlimg.commands.printing import out, print_json, print_table, say
from dlimg.commands.project import Project, read_project
from dlimg.commands.reading import read_facts
from dlimg.draw.tags import repository, tag
from dlimg.engine.folders import state_folder
from dlimg.errors import BadInput
from dlimg.lock.store import LOCAL, read_lock, read_stack_lock
from dlimg.model import Cell
from dlimg.report import picked as report


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when something runs there, 1 when nothing does."""
    facts = read_facts()
    today = datetime.now(tz=UTC).date()
    project = read_project(arguments.matrix, facts=facts)
    judge, shelf = Judge(facts, rules(today)), _shelf(project)
    machine = _machine() if arguments.here else None
    wish = _wish(arguments, facts)
    if machine is not None:
        wish = on_machine(wish, machine, facts, today)
    naming = partial(_name, project, shelf), _tested(environment)
    families = tuple(dict.fromkeys(cell.family for cell in shelf.cells))
    if wish.family and wish.family not in families:
        from dlimg.commands.picking_old import replaced  # noqa: PLC0415 - few ask for old names

        return replaced(wish, shelf, judge, (naming[0], today), arguments.format)
    picked = pick(shelf, wish, judge)
    told = () if picked.fits else advice(shelf, wish, judge)
    if arguments.format == "json":
        seen = {"here": report.machine_json(machine)} if machine else {}
        print_json({**report.picked_json(picked, wish, told, *naming), **seen})
    else:
        _print(picked, wish, told, naming, arguments, environment)
    return 0 if picked.fits else 1


def _wish(arguments: Namespace, facts: Facts) -> Wish:
    """What the command line says. Raises BadInput with the nearest spelling."""
    refuse_empty(arguments, ("driver", "python"))
    if arguments.family == "":
        raise BadInput("an empty name of a family", hint="name one, or leave it out for all")
    return Wish(
        gpus=tuple({gpu.name: gpu for gpu in map(facts.gpu, arguments.gpu)}.values()),
        driver=driver_named(arguments.driver) if arguments.driver else "",
        python=python_named(facts, arguments.python) if arguments.python else "",
        family=arguments.family or "",
    )


def _machine() -> Machine:
    from dlimg.engine.nvml import nvml, this_machine  # noqa: PLC0415 - only --here needs it

    return replace(this_machine(nvml()), machine=os.uname().machine)


def on_machine(wish: Wish, machine: Machine, facts: Facts, today: date) -> Wish:
    """The wish on this machine, with its GPUs and driver where none were named.

    Findings are told.
    """
    for finding in machine.findings:
        say(f"here: {finding}")
    wish = replace(wish, machine=machine.machine)
    gpus = wish.gpus or tuple(_seen(one, facts, today) for one in machine.kinds)
    driver = wish.driver or machine.driver
    is_without = not gpus
    if is_without:
        say("here: no GPU to compute on, so these are images for the CPU")
    return replace(wish, gpus=gpus, driver="" if is_without else driver, without_gpu=is_without)


def _seen(one: SeenGpu, facts: Facts, today: date) -> Gpu:
    """The facts' GPU of this name and capability; or what they know of its architecture."""
    for name in (one.name, one.architecture):
        try:
            found = facts.gpu(name)
        except BadInput:
            continue
        if found.capability == one.capability:
            return found._replace(name=one.name) if name == one.architecture else found
    origin = Origin(
        source="what NVML says of this machine", checked=today.isoformat(), certain=False
    )
    return Gpu(name=one.name, capability=one.capability, architecture="", origin=origin)


def _shelf(project: Project) -> Shelf:
    """The cells with their locks, each read when it is first asked for."""
    folders = (project.locks, project.locks / LOCAL)
    names = {path.stem for folder in folders for path in folder.glob("*.json")}
    return Shelf(
        cells=project.resolution.cells,
        is_locked=names.__contains__,
        lock_of=cache(partial(read_lock, folder=project.locks)),
        stack_lock_of=cache(partial(read_stack_lock, folder=project.locks)),
        aliases=project.resolution.aliases,
    )


def _name(project: Project, shelf: Shelf, cell: Cell) -> str:
    """The image's full name; without a lock the cell's id, for a tag says what a lock holds."""
    lock = shelf.lock_of(cell.id)
    if lock is None:
        return f"{cell.id} (not locked here)"
    return f"{repository(project.resolution.registry, cell)}:{tag(cell, lock)}"


def _tested(environment: Mapping[str, str]) -> Callable[[Cell], str]:
    """What is known here of a cell's last checks, in words; an empty text where nothing is."""
    noted = state_folder(environment) / "evidence" / "last"

    def tested(cell: Cell) -> str:
        if not (noted / f"{cell.id}.json").exists():
            return ""
        from dlimg.report.words import tested_text  # noqa: PLC0415 - only where there is evidence
        from dlimg.smoke.evidence import evidence_folder, last_evidence  # noqa: PLC0415
        from dlimg.smoke.verdicts import is_gpu_tested  # noqa: PLC0415

        found = last_evidence(evidence_folder(environment), cell.id, say=say)
        best = max(found, key=is_gpu_tested, default=None)
        return tested_text(best, is_cuda=cell.is_cuda) if best else ""

    return tested


def _print(
    picked: Picked,
    wish: Wish,
    told: Sequence[Advice],
    naming: tuple[Callable[[Cell], str], Callable[[Cell], str]],
    arguments: Namespace,
    environment: Mapping[str, str],
) -> None:
    name, tested = naming
    asked = report.wish_text(wish)
    if asked:
        say(f"asked for: {asked}")
    rows = list(report.fit_rows(picked, wish, name, tested, every=arguments.all))
    if rows:
        print_table(*report.without_empty(report.FITS, rows), environment)
    more = report.more(picked)
    if more and not arguments.all:
        say(f"{more} more images run there: other Pythons, systems and flavours (--all)")
    fallen = list(report.fallen_rows(picked))
    if fallen:
        out("\n" if rows else "")
        say("these do not run there:")
        print_table(report.FALLEN, fallen, environment)
    if not rows:
        say(report.nothing_text(picked, wish))
        for one in told:
            say(f"  {report.advice_text(one, name)}")
