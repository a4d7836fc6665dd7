"""Answers to `pick`: the images that run on a machine, with their evidence."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial

from dlimg.checks.evidence import evidence_folder, last_evidence
from dlimg.checks.verdicts import is_gpu_tested
from dlimg.compat.addition import Addition, additions
from dlimg.compat.legacy import find_legacy, legacy_answer
from dlimg.compat.pick import Advice, Catalog, PickRequest, PickResult, advise, pick
from dlimg.compat.query import QueryContext
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.why import WhyAnswer
from dlimg.context import Context, Log
from dlimg.errors import BadInput, nearest
from dlimg.facts.load import Facts
from dlimg.facts.model import GpuFact, Origin
from dlimg.host.nvml import detect_gpus, load_nvml
from dlimg.image_files import shipped_root
from dlimg.lock.store import LOCAL, read_lock, read_stack_lock
from dlimg.model import Cell, DetectedGpu, Evidence, LocalMachine
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.project import Project, read_project
from dlimg.pipeline.user_config import read_user_config
from dlimg.render.naming import repository_name, tag


@dataclass(frozen=True, slots=True, kw_only=True)
class PickContext:
    """All that a pick is made from: the project's images, the rules, today's date.

    `registry` is the user's, which has the images of dlimg's own matrix; empty for none.
    """

    project: Project
    catalog: Catalog
    rule_engine: RuleEngine
    today: date
    registry: str = ""

    @property
    def facts(self) -> Facts:
        return self.rule_engine.facts

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.family for cell in self.catalog.cells))

    def image_name(self, cell: Cell) -> str:
        """Return the image's full name; the cell's id without a lock, which the tag depends on."""
        lock = self.catalog.lock_of(cell.id)
        if lock is None:
            return f"{cell.id} (not locked here)"
        registry = self.registry or self.project.resolution.registry
        return f"{repository_name(registry, cell)}:{tag(cell, lock)}"


def read_pick_context(matrix: str, today: date, log: Log | None = None) -> PickContext:
    """Read the project, all facts and, on demand, locks."""
    facts = read_facts()
    project = read_project(matrix, facts=facts, log=log)
    return PickContext(
        project=project,
        catalog=_catalog(project),
        rule_engine=RuleEngine(facts, rules(today)),
        today=today,
    )


def with_user_registry(pick_context: PickContext, context: Context) -> PickContext:
    """Return the pick context with the user's registry, if the matrix is dlimg's own.

    That is the matrix of the installed package, or of the checkout that dlimg runs from.
    """
    if pick_context.project.root.resolve() != shipped_root().resolve():
        return pick_context
    return replace(pick_context, registry=read_user_config(context).registry)


def _catalog(project: Project) -> Catalog:
    folders = (project.locks, project.locks / LOCAL)
    names = {path.stem for folder in folders for path in folder.glob("*.json")}
    return Catalog(
        cells=project.resolution.cells,
        is_locked=names.__contains__,
        lock_of=cache(partial(read_lock, folder=project.locks)),
        stack_lock_of=cache(partial(read_stack_lock, folder=project.locks)),
        aliases=project.resolution.aliases,
    )


def family_of(name: str, pick_context: PickContext) -> str:
    """Return the family that this name means: `torch` is the family of that framework."""
    framework = pick_context.facts.framework_names.get(name, "")
    if not framework or name in pick_context.families:
        return name
    cells = pick_context.catalog.cells
    own = (cell.family for cell in cells if framework_of(pick_context.facts, cell) == framework)
    return next(own, name)


def pick_images(
    request: PickRequest, pick_context: PickContext
) -> tuple[PickResult, Sequence[Advice]]:
    """Return the images that run on the hardware; if none does, also the least changes for one."""
    picked = pick(pick_context.catalog, request, pick_context.rule_engine)
    if picked.matches:
        return picked, ()
    return picked, advise(pick_context.catalog, request, pick_context.rule_engine)


def additions_to(
    request: PickRequest, pick_context: PickContext, picked: PickResult
) -> tuple[Addition, ...]:
    """Return what `dlimg add` brings for frameworks of which no image runs on the hardware."""
    if not (request.gpus or request.driver):
        return ()
    facts, cells = pick_context.facts, pick_context.catalog.cells
    matched = {framework_of(facts, match.cell) for match in picked.matches}
    wanted = [framework_of(facts, cell) for cell in cells if is_of_family(cell, request)]
    if request.family in facts.framework_names and not wanted:
        wanted = [facts.framework_names[request.family]]
    if not (matched or request.family):
        wanted += facts.frameworks
    missing = [name for name in dict.fromkeys(wanted) if name not in matched]
    context = QueryContext(facts, pick_context.today)
    return tuple(additions(pick_context.rule_engine, context, request, missing))


def is_of_family(cell: Cell, request: PickRequest) -> bool:
    return request.family in ("", cell.family)


def framework_of(facts: Facts, cell: Cell) -> str:
    """Return the framework of a cell's package, or the package without facts."""
    return facts.framework_names.get(cell.package, cell.package)


def replacement(request: PickRequest, pick_context: PickContext) -> tuple[WhyAnswer, Cell | None]:
    """Return the answer about an old environment, and the image that replaces it.

    Raises BadInput for a name that is neither a family nor an old environment.
    """
    legacy = find_legacy(pick_context.facts, request.family)
    if legacy is None:
        message = f"the matrix has no family {request.family!r}"
        raise BadInput(message, hint=nearest(request.family, set(pick_context.families)))
    answer = legacy_answer(pick_context.rule_engine, legacy, pick_context.today)
    return answer, _best_of_framework(request, pick_context, answer.combination.framework)


def _best_of_framework(
    request: PickRequest, pick_context: PickContext, framework: str
) -> Cell | None:
    facts = pick_context.facts
    cells = [cell for cell in pick_context.catalog.cells if framework_of(facts, cell) == framework]
    catalog = replace(pick_context.catalog, cells=cells)
    picked = pick(catalog, replace(request, family=""), pick_context.rule_engine)
    return next((match.cell for match in picked.matches), None)


def detect_machine() -> LocalMachine:
    """Return the GPUs, the driver and the architecture of this machine."""
    return replace(detect_gpus(load_nvml()), arch=platform.machine())


def request_on_machine(
    request: PickRequest, machine: LocalMachine, facts: Facts, today: date, context: Context
) -> PickRequest:
    """Return the request with this machine's GPUs and driver if none are named.

    Logs the findings about the machine.
    """
    for finding in machine.findings:
        context.log(f"here: {finding}")
    gpus = request.gpus or tuple(_gpu_fact(gpu, facts, today) for gpu in machine.kinds)
    if not gpus:
        context.log("here: no GPU to compute on, so these are images for the CPU")
    return replace(
        request,
        arch=machine.arch,
        gpus=gpus,
        driver=(request.driver or machine.driver) if gpus else "",
        without_gpu=not gpus,
    )


def _gpu_fact(detected: DetectedGpu, facts: Facts, today: date) -> GpuFact:
    """Return the facts about a GPU by its name, or else about its architecture."""
    for name in (detected.name, detected.architecture):
        try:
            gpu = facts.gpu(name)
        except BadInput:
            continue
        if gpu.capability == detected.capability:
            return replace(gpu, name=detected.name) if name == detected.architecture else gpu
    origin = Origin(
        source="what NVML says of this machine", checked=today.isoformat(), certain=False
    )
    return GpuFact(
        name=detected.name, capability=detected.capability, architecture="", kind="", origin=origin
    )


def evidence_lookup(context: Context) -> Callable[[Cell], Evidence | None]:
    """Return a function that finds the best last evidence of a cell on this machine."""
    last = context.state / "evidence" / "last"

    def lookup(cell: Cell) -> Evidence | None:
        if not (last / f"{cell.id}.json").exists():
            return None
        folder = evidence_folder(context)
        records = last_evidence(folder, cell.id, log=context.log)
        return max(records, key=is_gpu_tested, default=None)

    return lookup
