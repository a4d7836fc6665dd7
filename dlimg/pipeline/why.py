"""Answers to `why`: about a combination, a cell of the matrix, or an old environment."""

import re
from dataclasses import dataclass, replace
from datetime import date
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from dlimg.compat import parse_names
from dlimg.compat.combination import Combination, combination_of
from dlimg.compat.legacy import legacy_answer, legacy_named, legacy_of
from dlimg.compat.query import Query, QueryContext
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.rule_result import against, refusals, warning
from dlimg.compat.suggest import Suggestion, offers
from dlimg.compat.why import WhyAnswer, answer, answered
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.lock.store import read_lock
from dlimg.matrix.select import select
from dlimg.model import Cell, Dropped
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.project import Project, read_project

# Subjects of every question; a framework's own facts are read once it is known.
_SUBJECTS: Final = ("cuda", "cudnn", "distributions", "drivers", "gpus", "pythons")
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
        """Raise BadInput for each of these options that is given."""
        given = [f"--{name}" for name in options if getattr(self, name)]
        if given:
            raise BadInput(f"{', '.join(given)}: {reason}", hint="leave them out")


def answer_question(question: WhyQuestion, today: date) -> tuple[str, WhyAnswer]:
    """Return the name of what was asked about, empty for a combination, and the answer."""
    if _is_requirement(question.text):
        return _requirement(question, today)
    legacy = _legacy(question, today)
    if legacy is not None:
        return question.text, legacy
    if Path(question.matrix).exists():
        return cell_answer(question, today)
    parse_names.requirement_named(question.text)
    hint = "run in the project's folder, or write e.g. torch==2.6.0"
    raise BadInput(f"{question.text!r} is no cell that is known here", hint=hint)


def _is_requirement(text: str) -> bool:
    """Whether it is written as one: `torch==2.6.0`, `torch 2.6`; not `tensorflow-1.0`."""
    if re.search(r"[=<>~!]=", text):
        return True
    name = re.match(r"[a-z]+(?:-(?:gpu|cpu))?", text.lower())
    if not name or name[0] not in parse_names.FRAMEWORKS:
        return False
    rest = text[name.end() :]
    return bool(re.fullmatch(r"(?:\[[^\]]*\])?\s*(?:[=<>~!@,]+.*|v?[0-9][^-:/ ]*)?", rest))


def _facts_for(framework: str) -> Facts:
    return read_facts(*_SUBJECTS, framework)


def _requirement(question: WhyQuestion, today: date) -> tuple[str, WhyAnswer]:
    named = parse_names.requirement_named(question.text)
    facts = _facts_for(named.framework)
    judge = RuleEngine(facts, rules(today))
    try:
        query = query_of(facts, question)
    except BadInput as error:
        legacy = legacy_of(read_facts("legacy"), named.framework, named.version)
        if legacy is None or named.version in facts.releases[named.framework]:
            raise error from None
        why = f"of {named.framework} {named.version} only the environment {legacy.name} is known"
        question.refuse(OPTIONS, why)
        return legacy.name, legacy_answer(judge, legacy, today)
    return "", answer(judge, query, today)


def query_of(facts: Facts, question: WhyQuestion) -> Query:
    """The question in a requirement and the options. Raises BadInput with the nearest spelling."""
    named = parse_names.requirement_named(question.text)
    query = Query(
        framework=named.framework,
        package=named.package,
        version=parse_names.version_named(facts, named.framework, named.version),
        cuda=_cuda(facts, named.cuda, question.cuda),
    )
    return _with_options(facts, query, question)


def _cuda(facts: Facts, required: str, option: str) -> str:
    """The CUDA of the option or of the requirement itself; both must be the same."""
    found = [parse_names.cuda_named(facts, text) for text in (option, required) if text]
    if len(found) == 2 and not found[0].startswith(found[1]):
        message = f"the requirement says CUDA {found[1]}, --cuda says {found[0]}"
        raise BadInput(message, hint="leave one of them out")
    return found[0] if found else ""


def _with_options(facts: Facts, query: Query, question: WhyQuestion) -> Query:
    """The question with what the options say. Raises BadInput where they contradict each other."""
    given = replace(
        query,
        cudnn=parse_names.cudnn_named(question.cudnn) if question.cudnn else "",
        python=parse_names.python_named(facts, question.python) if question.python else "",
        system=parse_names.system_named(facts, question.os) if question.os else None,
        gpu=facts.gpu(question.gpu) if question.gpu else None,
        driver=parse_names.driver_named(question.driver) if question.driver else "",
        machine=parse_names.machine_named(question.arch) if question.arch else "",
    )
    if given.cuda == parse_names.CPU and given.on_gpu:
        message = "a build without CUDA has no use for a GPU, a driver or cuDNN"
        raise BadInput(message, hint="leave out `--cuda cpu`, or the others")
    return given


def _legacy(question: WhyQuestion, today: date) -> WhyAnswer | None:
    old = read_facts("legacy")
    legacy = legacy_named(old, question.text)
    if legacy is None:
        return None
    question.refuse(OPTIONS, "an old environment says all of it by itself")
    found = read_facts()
    return legacy_answer(RuleEngine(found, rules(today)), legacy, today)


# What a cell says by itself.
_OF_THE_CELL: Final = ("cuda", "cudnn", "python", "os", "arch")


def cell_answer(question: WhyQuestion, today: date) -> tuple[str, WhyAnswer]:
    """The answer about a cell, by its id, a pattern, an alias or a tag; or about a dropped corner.

    Raises BadInput for a name that fits none or several, with the nearest.
    """
    text = question.text
    project = read_project(question.matrix)
    question.refuse(_OF_THE_CELL, "the cell says that by itself")
    dropped = next((one for one in project.resolution.dropped if one.id == text), None)
    if dropped is not None:
        return text, _dropped(project, read_facts(), dropped, today)
    cell = _named(project, text)
    framework = parse_names.FRAMEWORKS.get(cell.package, "")
    facts = _facts_for(framework) if framework else read_facts()
    judge = RuleEngine(facts, rules(today))
    lock = read_lock(cell.id, project.locks)
    gpu = facts.gpu(question.gpu) if question.gpu else None
    driver = parse_names.driver_named(question.driver) if question.driver else ""
    one = combination_of(cell, facts, lock, gpu=gpu, driver=driver)
    found = answered(judge, one)
    if found.valid:
        return cell.id, found
    near = _near(project, judge, cell, one) or offers(
        judge, QueryContext(facts, today), _asked(one), 5
    )
    return cell.id, WhyAnswer(one=one, fails_at=found.fails_at, reasons=found.reasons, nearest=near)


def _asked(one: Combination) -> Query:
    return Query(
        framework=one.framework,
        version=one.version,
        cuda=one.cuda or parse_names.CPU,
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


def _dropped(project: Project, facts: Facts, dropped: Dropped, today: date) -> WhyAnswer:
    """Why a corner is no cell: a rule that cannot be helped, or a wish of the matrix."""
    cells = project.resolution.cells
    ranked = sorted(cells, key=lambda cell: -SequenceMatcher(None, cell.id, dropped.id).ratio())
    near = [_offer(project, facts, cell, (f"{dropped.id} -> {cell.id}",)) for cell in ranked[:6]]
    judge = RuleEngine(facts, rules(today))
    near = [each for each in near if not refusals(judge.reasons(each.one))] or near[:1]
    one = near[0].one
    if not dropped.at:
        message = f"the matrix leaves it out: {dropped.reason}"
        reasons = (warning("excluded", message, dropped.source),)
        return WhyAnswer(one=one, fails_at=None, reasons=reasons, nearest=tuple(near[:3]))
    reasons = (against(dropped.rule, dropped.at, dropped.reason, dropped.source),)
    return WhyAnswer(one=one, fails_at=dropped.at, reasons=reasons, nearest=tuple(near[:3]))


def _near(
    project: Project, judge: RuleEngine, cell: Cell, one: Combination
) -> tuple[Suggestion, ...]:
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
            found.append(Suggestion(one=there, changes=changes, cost=round(1 - likeness, 3)))
    return tuple(sorted(found, key=lambda offer: offer.cost)[:5])


def _offer(project: Project, facts: Facts, cell: Cell, changes: tuple[str, ...]) -> Suggestion:
    one = combination_of(cell, facts, read_lock(cell.id, project.locks))
    return Suggestion(one=one, changes=changes, cost=0.0)
