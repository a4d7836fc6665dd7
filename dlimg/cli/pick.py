"""`pick`: which of the matrix's tags runs on a GPU and driver, and why the others do not."""

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache, partial

from dlimg.cli.arguments import refuse_empty
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.pipeline.project import Project, read_project
from dlimg.pipeline.facts_files import read_facts
from dlimg.compat.host_gpus import DetectedGpu, LocalMachine
from dlimg.compat.legacy import legacy_answer, legacy_named
from dlimg.compat.parse_names import FRAMEWORKS, driver_named, python_named
from dlimg.compat.pick import Advice, Catalog, PickRequest, PickResult, advice, pick
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.why import WhyAnswer
from dlimg.errors import BadInput, nearest
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact, Origin
from dlimg.host.local_state import state_folder
from dlimg.lock.store import LOCAL, read_lock, read_stack_lock
from dlimg.model import Cell
from dlimg.render.naming import repository, tag
from dlimg.report import pick as report
from dlimg.report.why import answer_json, answer_text


def replaced(
    wish: PickRequest,
    shelf: Catalog,
    judge: RuleEngine,
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


def _best(wish: PickRequest, shelf: Catalog, judge: RuleEngine, found: WhyAnswer) -> Cell | None:
    """The best image of the same framework."""
    same = [
        cell
        for cell in shelf.cells
        if FRAMEWORKS.get(cell.package, cell.package) == found.one.framework
    ]
    fits = pick(replace(shelf, cells=same), replace(wish, family=""), judge).fits
    return fits[0].cell if fits else None


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when something runs there, 1 when nothing does."""
    facts = read_facts()
    today = datetime.now(tz=UTC).date()
    project = read_project(arguments.matrix, facts=facts)
    judge, shelf = RuleEngine(facts, rules(today)), _shelf(project)
    machine = _machine() if arguments.here else None
    wish = _wish(arguments, facts)
    if machine is not None:
        wish = on_machine(wish, machine, facts, today)
    naming = partial(_name, project, shelf), _tested(environment)
    families = tuple(dict.fromkeys(cell.family for cell in shelf.cells))
    if wish.family and wish.family not in families:
        return replaced(wish, shelf, judge, (naming[0], today), arguments.format)
    picked = pick(shelf, wish, judge)
    told = () if picked.fits else advice(shelf, wish, judge)
    if arguments.format == "json":
        seen = {"here": report.machine_json(machine)} if machine else {}
        print_json({**report.picked_json(picked, wish, told, *naming), **seen})
    else:
        _print(picked, wish, told, naming, arguments, environment)
    return 0 if picked.fits else 1


def _wish(arguments: Namespace, facts: Facts) -> PickRequest:
    """What the command line says. Raises BadInput with the nearest spelling."""
    refuse_empty(arguments, ("driver", "python"))
    if arguments.family == "":
        raise BadInput("an empty name of a family", hint="name one, or leave it out for all")
    return PickRequest(
        gpus=tuple({gpu.name: gpu for gpu in map(facts.gpu, arguments.gpu)}.values()),
        driver=driver_named(arguments.driver) if arguments.driver else "",
        python=python_named(facts, arguments.python) if arguments.python else "",
        family=arguments.family or "",
    )


def _machine() -> LocalMachine:
    from dlimg.host.nvml import nvml, this_machine  # noqa: PLC0415 - only --here needs it

    return replace(this_machine(nvml()), machine=os.uname().machine)


def on_machine(wish: PickRequest, machine: LocalMachine, facts: Facts, today: date) -> PickRequest:
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


def _seen(one: DetectedGpu, facts: Facts, today: date) -> GpuFact:
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
    return GpuFact(name=one.name, capability=one.capability, architecture="", origin=origin)


def _shelf(project: Project) -> Catalog:
    """The cells with their locks, each read when it is first asked for."""
    folders = (project.locks, project.locks / LOCAL)
    names = {path.stem for folder in folders for path in folder.glob("*.json")}
    return Catalog(
        cells=project.resolution.cells,
        is_locked=names.__contains__,
        lock_of=cache(partial(read_lock, folder=project.locks)),
        stack_lock_of=cache(partial(read_stack_lock, folder=project.locks)),
        aliases=project.resolution.aliases,
    )


def _name(project: Project, shelf: Catalog, cell: Cell) -> str:
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
        from dlimg.checks.evidence import evidence_folder, last_evidence  # noqa: PLC0415
        from dlimg.checks.verdicts import is_gpu_tested  # noqa: PLC0415
        from dlimg.report.evidence_text import tested_text  # noqa: PLC0415 - only where there is evidence

        found = last_evidence(evidence_folder(environment), cell.id, say=say)
        best = max(found, key=is_gpu_tested, default=None)
        return tested_text(best, is_cuda=cell.is_cuda) if best else ""

    return tested


def _print(
    picked: PickResult,
    wish: PickRequest,
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
