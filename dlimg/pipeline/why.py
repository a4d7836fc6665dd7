"""Answers to `why`: about a combination, a cell of the matrix, or an old environment."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Final

from dlimg.compat import parse_names
from dlimg.compat.addition import Addition, addition_of, additions
from dlimg.compat.combination import Combination, combination_of
from dlimg.compat.legacy import find_legacy, legacy_answer, legacy_of_release
from dlimg.compat.pick import PickRequest
from dlimg.compat.query import Query, QueryContext
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.rule_result import refusals, refuse, warn
from dlimg.compat.suggest import Suggestion, suggest
from dlimg.compat.why import WhyAnswer, answer, judge
from dlimg.context import Log
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.lock.store import read_lock
from dlimg.matrix.select import select
from dlimg.model import Cell, DroppedCell
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.project import Project, read_project

OPTIONS: Final = ("cuda", "cudnn", "python", "os", "gpu", "driver", "arch")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyQuestion:
    """A question as the command line asks it; an option that is not given is empty."""

    text: str
    matrix: str = "matrix.yaml"
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    os: str = ""
    gpu: str = ""
    driver: str = ""
    arch: str = ""

    def refuse(self, options: tuple[str, ...], reason: str) -> None:
        """Raise BadInput for each of these options that has a value."""
        refused = [f"--{name}" for name in options if getattr(self, name)]
        if refused:
            raise BadInput(f"{', '.join(refused)}: {reason}", hint="leave them out")


def answer_question(
    question: WhyQuestion, today: date, log: Log | None = None
) -> tuple[str, WhyAnswer]:
    """Return the name of the subject, empty for a combination, and the answer."""
    engine = RuleEngine(read_facts(), rules(today))
    if _is_requirement(engine.facts, question.text):
        return _requirement(engine, question, today)
    legacy = find_legacy(engine.facts, question.text)
    if legacy is not None:
        question.refuse(OPTIONS, "an old environment says all of it by itself")
        return question.text, legacy_answer(engine, legacy, today)
    if Path(question.matrix).exists():
        return cell_answer(engine, question, today, log)
    parse_names.parse_requirement(engine.facts, question.text)
    hint = "run in the project's folder, or write e.g. torch==2.6.0"
    raise BadInput(f"{question.text!r} is no cell that is known here", hint=hint)


def addition_for(question: WhyQuestion, answer: WhyAnswer, today: date) -> Addition | None:
    """Return what `dlimg add` brings into the matrix: what was asked, or the nearest that works.

    None if a cell has it already, or if the matrix cannot be read.
    """
    facts = read_facts()
    context = QueryContext(facts, today)
    offers = chain(
        (addition_of(works, context.systems[0]) for works in _that_work(answer)),
        _newest_that_runs(context, answer.combination),
    )
    offer = next(filter(None, offers), None)
    if offer is None:
        return None
    try:
        cells = read_project(question.matrix, facts=facts).resolution.cells
    except BadInput:
        return None
    has = {
        (facts.framework_names.get(cell.package, cell.package), cell.version, cuda)
        for cell in cells
        for cuda in [cell.stack.cuda if cell.stack else ""]
    }
    combination = offer.combination
    key = (combination.framework, combination.version, combination.cuda)
    return None if key in has else offer


def _that_work(answer: WhyAnswer) -> Iterator[Combination]:
    """Yield what was asked if it works, else what works on the same hardware."""
    asked = answer.combination
    if answer.valid:
        yield asked
    for suggestion in answer.nearest:
        works = suggestion.combination
        if (works.gpu, works.driver, works.arch) == (asked.gpu, asked.driver, asked.arch):
            yield works


def _newest_that_runs(context: QueryContext, asked: Combination) -> Iterator[Addition]:
    """Yield the newest release that runs on the GPU and driver of a question."""
    if not (asked.gpu or asked.driver):
        return
    request = PickRequest(
        gpus=(asked.gpu,) if asked.gpu else (), driver=asked.driver, arch=asked.arch
    )
    engine = RuleEngine(context.facts, rules(context.today))
    yield from additions(engine, context, request, [asked.framework])


def _is_requirement(facts: Facts, text: str) -> bool:
    """Return whether it is written as `torch==2.6.0` or `torch 2.6`; not `tensorflow-1.0`."""
    if re.search(r"[=<>~!]=", text):
        return True
    name = re.match(r"[a-z]+(?:-(?:gpu|cpu))?", text.lower())
    if not name or name[0] not in facts.framework_names:
        return False
    rest = text[name.end() :]
    return bool(re.fullmatch(r"(?:\[[^\]]*\])?\s*(?:[=<>~!@,]+.*|v?[0-9][^-:/ ]*)?", rest))


def _requirement(engine: RuleEngine, question: WhyQuestion, today: date) -> tuple[str, WhyAnswer]:
    facts = engine.facts
    named = parse_names.parse_requirement(facts, question.text)
    try:
        query = query_of(facts, question)
    except BadInput as error:
        legacy = legacy_of_release(facts, named.framework, named.version)
        if legacy is None or named.version in facts.releases[named.framework]:
            raise error from None
        why = f"of {named.framework} {named.version} only the environment {legacy.name} is known"
        question.refuse(OPTIONS, why)
        return legacy.name, legacy_answer(engine, legacy, today)
    return "", answer(engine, query, today)


def query_of(facts: Facts, question: WhyQuestion) -> Query:
    """Return the query of a requirement and options. Raises BadInput with the nearest spelling."""
    named = parse_names.parse_requirement(facts, question.text)
    query = Query(
        framework=named.framework,
        package=named.package,
        wants_cuda=named.wants_cuda,
        version=parse_names.parse_version(facts, named.framework, named.version),
        cuda=_cuda(facts, named.cuda, question.cuda),
    )
    return _with_options(facts, query, question)


def surroundings(facts: Facts, question: WhyQuestion) -> Query:
    """Return a query without a framework: CUDA, Python, system, GPU and driver."""
    query = Query(framework="", version="", cuda=_cuda(facts, "", question.cuda))
    return _with_options(facts, query, question)


def _cuda(facts: Facts, required: str, option: str) -> str:
    """Return the CUDA of the option or of the requirement. Raises BadInput if they differ."""
    versions = [parse_names.parse_cuda(facts, text) for text in (option, required) if text]
    if len(versions) == 2 and not versions[0].startswith(versions[1]):
        message = f"the requirement says CUDA {versions[1]}, --cuda says {versions[0]}"
        raise BadInput(message, hint="leave one of them out")
    return versions[0] if versions else ""


def _with_options(facts: Facts, query: Query, question: WhyQuestion) -> Query:
    """Return the query with the options. Raises BadInput if they contradict each other."""
    complete = replace(
        query,
        cudnn=parse_names.parse_cudnn(question.cudnn) if question.cudnn else "",
        python=parse_names.parse_python(facts, question.python) if question.python else "",
        system=parse_names.parse_system(facts, question.os) if question.os else None,
        gpu=facts.gpu(question.gpu) if question.gpu else None,
        driver=parse_names.parse_driver(question.driver) if question.driver else "",
        arch=parse_names.parse_arch(question.arch) if question.arch else "",
    )
    if complete.cuda == parse_names.CPU and complete.cudnn:
        message = "a build without CUDA loads no cuDNN"
        raise BadInput(message, hint="leave out `--cuda cpu`, or `--cudnn`")
    return complete


# The options that a cell itself determines.
_OF_THE_CELL: Final = ("cuda", "cudnn", "python", "os", "arch")


def cell_answer(
    engine: RuleEngine, question: WhyQuestion, today: date, log: Log | None = None
) -> tuple[str, WhyAnswer]:
    """Return the answer about a cell, by id, pattern, alias or tag; or about a dropped combination.

    Raises BadInput, with the nearest names, for a name that fits none or several.
    """
    text, facts = question.text, engine.facts
    project = read_project(question.matrix, cells="any", facts=facts, log=log)
    question.refuse(_OF_THE_CELL, "the cell says that by itself")
    dropped = next(
        (dropped_cell for dropped_cell in project.resolution.dropped if dropped_cell.id == text),
        None,
    )
    if dropped is not None:
        return text, _dropped(project, engine, dropped, today)
    cell = _named(project, text)
    lock = read_lock(cell.id, project.locks)
    gpu = facts.gpu(question.gpu) if question.gpu else None
    driver = parse_names.parse_driver(question.driver) if question.driver else ""
    combination = combination_of(cell, facts, lock, gpu=gpu, driver=driver)
    judged = judge(engine, combination)
    if judged.valid:
        return cell.id, judged
    nearest = _other_cells(project, engine, cell, combination) or suggest(
        engine, QueryContext(facts, today), _query(combination), 5
    )
    return cell.id, replace(judged, nearest=nearest)


def _query(combination: Combination) -> Query:
    return Query(
        framework=combination.framework,
        version=combination.version,
        cuda=combination.cuda or parse_names.CPU,
        python=combination.python,
        system=combination.distribution,
        gpu=combination.gpu,
        driver=combination.driver,
        arch=combination.arch,
    )


def _named(project: Project, text: str) -> Cell:
    cells = project.resolution.cells
    names = {name for cell in cells for name in names_of(project, cell)}
    name = _without_registry(project, text)
    if name in names:
        return next(cell for cell in cells if name in names_of(project, cell))
    matches = select(cells, [text]) if re.search(r"[*?\[]", text) else _alike(project, text)
    if len(matches) > 1:
        hint = f"e.g. {matches[0].id}"
        raise BadInput(f"{text!r} fits {len(matches)} cells, `why` takes one", hint=hint)
    return matches[0]


def _alike(project: Project, text: str) -> tuple[Cell, ...]:
    cells = project.resolution.cells
    dropped = [cell.id for cell in project.resolution.dropped if fnmatchcase(cell.id, text)]
    try:
        return select(cells, dropped or [text])
    except BadInput as error:
        message, hint = error.problems[0].message, error.problems[0].hint
        raise BadInput(message, hint=f"{hint}; or ask e.g. torch==2.6.0 --cuda 12.4") from error


def names_of(project: Project, cell: Cell) -> tuple[str, ...]:
    """Return a cell's id, its tags without cuDNN, and its aliases: `pytorch:latest`."""
    full = f"{cell.family}:{cell.id.removeprefix(f'{cell.family}-')}"
    aliases = project.resolution.aliases.get(cell.id, ())
    return (cell.id, full, *(f"{cell.family}:{alias}" for alias in aliases))


def _without_registry(project: Project, text: str) -> str:
    """Return `pytorch:2.15.0-cuda13.2-py3.13-debian13` of a full name, without cuDNN."""
    name = text.removeprefix(f"{project.resolution.registry}/").rpartition("/")[2]
    return re.sub(r"-cudnn[0-9.]+(?=-)", "", name)


def _dropped(project: Project, engine: RuleEngine, dropped: DroppedCell, today: date) -> WhyAnswer:
    """Return why a combination is not a cell: by a rule, or because the matrix excludes it."""
    cells = project.resolution.cells
    ranked = sorted(cells, key=lambda cell: -SequenceMatcher(None, cell.id, dropped.id).ratio())
    near = [
        _suggestion(project, engine.facts, cell, f"{dropped.id} -> {cell.id}")
        for cell in ranked[:6]
    ]
    near = [each for each in near if not refusals(engine.reasons(each.combination))] or near[:1]
    if near:
        combination, nearest = near[0].combination, tuple(near[:3])
    else:
        combination = _combination_of_dropped(engine.facts, dropped)
        nearest = _nearest(engine, combination, today)
    if not dropped.at:
        message = f"the matrix leaves it out: {dropped.reason}"
        reasons = (warn("excluded", message, dropped.source),)
        return WhyAnswer(combination=combination, fails_at=None, reasons=reasons, nearest=nearest)
    reasons = (refuse(dropped.rule, dropped.at, dropped.reason, dropped.source),)
    return WhyAnswer(combination=combination, fails_at=dropped.at, reasons=reasons, nearest=nearest)


def _combination_of_dropped(facts: Facts, dropped: DroppedCell) -> Combination:
    return Combination(
        framework=dropped.framework,
        version=dropped.version,
        release=facts.releases.get(dropped.framework, {}).get(dropped.version),
        cuda=dropped.cuda,
        python=dropped.python,
        distribution=facts.distributions.get(dropped.distribution),
    )


def _nearest(engine: RuleEngine, combination: Combination, today: date) -> tuple[Suggestion, ...]:
    """Return what works near a combination; nothing if the facts do not have its release."""
    if combination.release is None:
        return ()
    return suggest(engine, QueryContext(engine.facts, today), _query(combination), 3)


def _other_cells(
    project: Project, engine: RuleEngine, cell: Cell, combination: Combination
) -> tuple[Suggestion, ...]:
    """Return other cells of its family that work on the same GPU and driver, the nearest first."""
    suggestions = []
    for other in project.resolution.cells:
        if other.family != cell.family or other.id == cell.id or other.flavour != cell.flavour:
            continue
        lock = read_lock(other.id, project.locks)
        gpu, driver = combination.gpu, combination.driver
        candidate = combination_of(other, engine.facts, lock, gpu=gpu, driver=driver)
        if gpu and not candidate.cuda:
            continue
        if not refusals(engine.reasons(candidate)):
            likeness = SequenceMatcher(None, cell.id, other.id).ratio()
            changes = (f"{cell.id} -> {other.id}",)
            cost = round(1 - likeness, 3)
            suggestions.append(Suggestion(combination=candidate, changes=changes, cost=cost))
    return tuple(sorted(suggestions, key=lambda suggestion: suggestion.cost)[:5])


def _suggestion(project: Project, facts: Facts, cell: Cell, change: str) -> Suggestion:
    combination = combination_of(cell, facts, read_lock(cell.id, project.locks))
    return Suggestion(combination=combination, changes=(change,), cost=0.0)
