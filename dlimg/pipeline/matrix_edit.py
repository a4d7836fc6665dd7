"""Cells added to the matrix file or removed from it, checked with the facts and by resolution."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.compat import parse_names
from dlimg.compat.addition import FOLDERS, addition_of
from dlimg.compat.combination import Combination
from dlimg.compat.query import Query, QueryContext
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.compat.why import WhyAnswer, answer
from dlimg.document.versions import begins_with, numbers
from dlimg.errors import BadInput, DlimgError, Negative, nearest
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, Distribution
from dlimg.matrix.add import NewCell, add_cell
from dlimg.matrix.model import NO_FACTS, Family, Matrix
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.remove import RemovedCells, remove_cells
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.matrix.survey import Survey
from dlimg.model import CPU, Cell
from dlimg.pipeline.facts_files import read_facts, read_text
from dlimg.pipeline.matrix_ignored import with_shipped_ignored, without_unused_ignored
from dlimg.pipeline.shipped_families import (
    ShippedMatrix,
    families_without_facts,
    read_shipped,
)

# The version of a cell that stands for the newest one that fits.
LATEST: Final = "latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """Cells named on the command line; an option without a value is empty."""

    family: str
    version: str = ""
    matrix: str = "matrix.yaml"
    cuda: str = ""
    python: str = ""
    os: str = ""
    flavour: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixEdit:
    """The texts of a matrix before and after an edit, and what it changes.

    `dropped` has the number of combinations that are new and drop, by reason. `moved` are cells
    that stay and follow another leader, `groups` those that new cells join, and `warnings` what the
    facts say of a new cell.
    """

    path: Path
    before: str
    after: str
    new: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    dropped: Mapping[str, int]
    moved: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_addition(request: EditRequest, today: date) -> MatrixEdit | WhyAnswer:
    """Return the edit that adds a cell; its texts are equal if the matrix has it.

    For a cell that the facts rule out it is the answer of `why`, with what works instead. Raises
    BadInput for what is not understood, and Negative for a cell that the matrix cannot have.
    """
    facts, text = read_facts(), _read(request.matrix)
    survey = Survey(text, request.matrix, facts)
    family, framework = _family_of(facts, survey.matrix, request.family)
    entry = survey.matrix.families.get(family)
    warnings: tuple[str, ...] = ()
    shipped = read_shipped(facts) if framework == NO_FACTS and entry is None else None
    if shipped:
        cell, warnings = _from_shipped(facts, shipped, family, request)
    elif framework == NO_FACTS:
        cell = _without_facts(facts, survey.matrix, entry, request)
    else:
        judge = partial(_judged, facts, survey.matrix, entry, framework, today)
        judged = (
            judge(request)
            if request.version != LATEST
            else _newest(judge, request, facts.releases[framework])
        )
        if not judged.valid or judged.combination.distribution is None:
            return judged
        warnings = tuple(each.message for each in judged.reasons if each.level == "warning")
        cell = _judged_cell(judged.combination, judged.combination.distribution, family, request)
    return _edit_with(request, survey, cell, shipped, warnings, today)


def _judged_cell(
    works: Combination, system: Distribution, family: str, request: EditRequest
) -> NewCell:
    """Return the cell of a combination that the facts allow."""
    return NewCell(
        family=family,
        framework=works.framework,
        version=works.version,
        cuda=works.cuda,
        python=works.python,
        system=system,
        flavour=request.flavour or "runtime",
    )


def _edit_with(
    request: EditRequest,
    survey: Survey,
    cell: NewCell,
    shipped: ShippedMatrix | None,
    warnings: tuple[str, ...],
    today: date,
) -> MatrixEdit:
    """Return the edit that adds this cell."""
    text, facts = survey.text, survey.facts
    try:
        after, point = add_cell(text, request.matrix, facts, cell)
        if shipped:
            after = with_shipped_ignored(facts, shipped, request.matrix, text, after, today)
    except BadInput as error:
        raise _with_the_edit(error) from error
    edit = _edit(facts, request.matrix, text, after)
    if after == text:
        names = resolution_of(text, request.matrix, facts).cells
        present = next(cell.id for cell in names if _is_at(cell, point._asdict()))
        return replace(edit, new=(present,))
    if len(edit.new) != 1 or edit.removed:
        raise _unexpected(edit)
    return replace(edit, warnings=warnings)


def _from_shipped(
    facts: Facts, shipped: ShippedMatrix, family: str, request: EditRequest
) -> tuple[NewCell, tuple[str, ...]]:
    """Return a cell of a family of dlimg's own matrix, and a warning if it is another version.

    Raises BadInput for another CUDA than it has there, and without a lock of it.
    """
    newest = shipped.newest(family)
    if newest is None:
        raise BadInput(f"dlimg's own {family} has no lock", hint="write the family by hand")
    template = shipped.template(newest)
    cuda = template.stack.cuda if template.stack else ""
    asked = parse_names.parse_cuda(facts, request.cuda) if request.cuda else cuda
    if asked != cuda and not begins_with(cuda, asked):
        message = f"dlimg's own {family} is for {f'CUDA {cuda}' if cuda else 'CPUs'}"
        raise BadInput(message, hint="add that one, and edit its stack and packages by hand")
    version = newest.version if request.version in {"", LATEST} else request.version
    other = f"{family} {version} is not what dlimg's own matrix has, which is {newest.version}: "
    other += "`dlimg lock` says whether its packages fit the stack"
    system = parse_names.parse_system(facts, request.os) if request.os else None
    cell = NewCell(
        family=family,
        framework=NO_FACTS,
        version=version,
        cuda=cuda,
        python=parse_names.parse_python(facts, request.python) if request.python else newest.python,
        system=system or facts.distributions[newest.os.distribution],
        flavour=request.flavour or newest.flavour.value,
        template=template,
    )
    return cell, (other,) if version != newest.version else ()


def addition_commands(answer: WhyAnswer, today: date) -> tuple[str, ...]:
    """Return the commands that add cells that work, instead of one that does not."""
    default = QueryContext(read_facts(), today).systems[0]
    offers = (addition_of(near.combination, default) for near in answer.nearest)
    return tuple(dict.fromkeys(offer.command for offer in offers if offer))


def plan_removal(request: EditRequest, today: date) -> MatrixEdit:
    """Return the edit that removes cells; its texts are equal if the matrix has none of them.

    The request may name one cell by its id, as `dlimg list` shows it.
    """
    facts, text = read_facts(), _read(request.matrix)
    survey = Survey(text, request.matrix, facts)
    cells = resolution_of(text, request.matrix, facts).cells
    cell = next((cell for cell in cells if cell.id == request.family), None)
    request = _of_cell(request, cell) if cell else request
    family, _ = _family_of(facts, survey.matrix, request.family)
    if family not in survey.matrix.families:
        return _edit(facts, request.matrix, text, text)
    python = request.python
    removed = RemovedCells(
        family=family,
        version=_version_of(survey.matrix.families[family], request.version),
        cuda=parse_names.parse_cuda(facts, request.cuda) if request.cuda else "",
        python=parse_names.parse_python(facts, python) if python else "",
        system=parse_names.parse_system(facts, request.os) if request.os else None,
        flavour=request.flavour,
    )
    after = remove_cells(text, request.matrix, facts, removed)
    after = without_unused_ignored(facts, request.matrix, text, after, today)
    edit = _edit(facts, request.matrix, text, after)
    if edit.new or (cell and edit.removed != (cell.id,)):
        raise _unexpected(edit)
    return edit


def _of_cell(request: EditRequest, cell: Cell) -> EditRequest:
    """Return the request for this cell alone."""
    return replace(
        request,
        family=cell.family,
        version=cell.version,
        cuda=cell.stack.cuda if cell.stack else CPU,
        python=cell.python,
        os=cell.os.distribution,
        flavour=cell.flavour.value,
    )


def write_edit(edit: MatrixEdit) -> None:
    """Replace the matrix file, unless somebody else has changed it since it was read."""
    if _read(str(edit.path)) != edit.before:
        message = "the file was changed while this command ran"
        raise BadInput(message, where=str(edit.path), hint="run it again")
    path = edit.path.resolve()
    atomic_write(path, edit.after, mode=path.stat().st_mode & 0o777)


def resolution_of(text: str, source: str, facts: Facts) -> Resolution:
    return resolve(parse_matrix(text, source), facts)


def _read(matrix: str) -> str:
    """Return the text of the matrix with its line ends. Raises BadInput."""
    read_text(Path(matrix))
    return Path(matrix).read_bytes().decode("utf-8")


def _edit(facts: Facts, source: str, before: str, after: str) -> MatrixEdit:
    old = resolution_of(before, source, facts)
    try:
        new = resolution_of(after, source, facts)
    except BadInput as error:
        raise _with_the_edit(error) from error
    stacks = {cell.id: cell.stack for cell in old.cells}
    names = {cell.id for cell in new.cells}
    earlier = {cell.id for cell in old.dropped} | stacks.keys()
    reasons = [cell.reason for cell in new.dropped if cell.id not in earlier]
    added = tuple(cell.id for cell in new.cells if cell.id not in stacks)
    return MatrixEdit(
        path=Path(source),
        before=before,
        after=after,
        new=added,
        removed=tuple(name for name in stacks if name not in names),
        dropped={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        moved=tuple(c.id for c in new.cells if c.id in stacks and c.stack != stacks[c.id]),
        groups=tuple(name for name, ids in new.groups.items() if set(added) & set(ids)),
    )


def _with_the_edit(error: BadInput) -> DlimgError:
    """Return the problems that the matrix would have; the lines are those of the new text."""
    return Negative.of(
        replace(problem, message=f"the matrix would have an error: {problem.message}", where="")
        for problem in error.problems
    )


def _unexpected(edit: MatrixEdit) -> Negative:
    changes = [f"adds {name}" for name in edit.new] + [f"removes {name}" for name in edit.removed]
    message = f"more would change than was asked for: {', '.join(changes[:6])}"
    return Negative(message, where=str(edit.path), hint="edit the file by hand")


def _is_at(cell: Cell, values: Mapping[str, str]) -> bool:
    other = cell.stack is not None and cell.stack.other_cudnn
    actual = (cell.family, cell.version, cell.accelerator, cell.python, cell.os.name, cell.flavour)
    names = ("family", "version", "accelerator", "python", "os", "flavour")
    return not other and actual == tuple(values[name] for name in names)


def _family_of(facts: Facts, matrix: Matrix, name: str) -> tuple[str, str]:
    """Return the family of a name, and its framework; a framework stands for its only family.

    A family without facts of dlimg's own matrix may be a new one here.
    """
    if name in matrix.families:
        return name, matrix.families[name].framework
    framework = facts.framework_names.get(name.lower(), "")
    families = [entry.name for entry in matrix.families.values() if entry.framework == framework]
    if len(families) > 1:
        message = f"several families are of {framework}: {', '.join(families)}"
        raise BadInput(message, hint="name the family")
    if families:
        return families[0], framework
    if not framework or name in facts.packages:
        others = families_without_facts()
        if name in others:
            return name, NO_FACTS
        names = {*matrix.families, *others, *facts.framework_names} - facts.packages.keys()
        raise BadInput(f"no family or framework is called {name!r}", hint=nearest(name, names))
    return FOLDERS.get(framework, framework), framework


def _version_of(family: Family, text: str) -> str:
    """Return the version of a family that a text means: `2.6` is 2.6.0 if that is the only one."""
    versions = family.axes["version"]
    if not text or text in versions:
        return text
    fitting = [version for version in versions if begins_with(version, text)]
    return fitting[0] if len(fitting) == 1 else text


def _newest(
    judge: Callable[[EditRequest], WhyAnswer], request: EditRequest, releases: Iterable[str]
) -> WhyAnswer:
    """Return the answer about the newest release that fits, or else about the newest of all."""
    final = [text for text in releases if re.fullmatch(r"[0-9.]+", text)]
    answers: list[WhyAnswer] = []
    for version in sorted(final, key=numbers, reverse=True):
        answers.append(judge(replace(request, version=version)))
        if answers[-1].valid and answers[-1].combination.distribution:
            return answers[-1]
    return answers[0]


def _judged(
    facts: Facts,
    matrix: Matrix,
    family: Family | None,
    framework: str,
    today: date,
    request: EditRequest,
) -> WhyAnswer:
    """Return the answer about the combination of a request.

    What it leaves open is as in the matrix where that works.
    """
    engine, context = RuleEngine(facts, rules(today)), QueryContext(facts, today)
    query = Query(
        framework=framework,
        version=parse_names.parse_version(facts, framework, request.version),
        cuda=parse_names.parse_cuda(facts, request.cuda) if request.cuda else "",
        python=parse_names.parse_python(facts, request.python) if request.python else "",
        system=parse_names.parse_system(facts, request.os) if request.os else None,
    )
    if query.version not in facts.releases[framework]:
        raise BadInput(f"no facts about {framework} {query.version}", hint="name a release")
    works: list[WhyAnswer] = []
    for cuda in dict.fromkeys(_cudas(matrix, family, query.cuda)):
        for system in _systems(facts, context, matrix, family, query.system):
            asked = replace(query, cuda=cuda, system=system)
            judged = answer(engine, asked, today, count=0)
            combination = judged.combination
            if judged.valid and _is_on_the_index(combination):
                works.append(judged)
                if query.python or combination.python == system.python:
                    return judged
        if works:
            return works[0]
    return answer(engine, query, today)


def _is_on_the_index(combination: Combination) -> bool:
    build = combination.build
    return not combination.cuda or (build is not None and build.index == PYPI)


def _cudas(matrix: Matrix, family: Family | None, asked: str) -> Iterator[str]:
    """Yield the CUDAs to try: those of the family's stacks first, then any."""
    if asked == CPU:
        yield CPU
        return
    names = family.axes["accelerator"] if family else ()
    for name in (*names, *matrix.stacks):
        stack = matrix.stacks.get(name)
        if stack and (not asked or begins_with(stack.cuda, asked)):
            yield stack.cuda
    yield asked
    if not asked:
        yield CPU


def _systems(
    facts: Facts,
    context: QueryContext,
    matrix: Matrix,
    family: Family | None,
    asked: Distribution | None,
) -> list[Distribution]:
    """Return the systems to try: those of the matrix, the family's default first, then others."""
    if asked is not None:
        return [asked]
    default = family.defaults.get("os", "") if family else ""
    names = sorted(matrix.operating_systems, key=lambda name: name != default)
    own = [facts.distributions[matrix.operating_systems[name].distribution] for name in names]
    return list(dict.fromkeys([*own, *context.systems]))


def _without_facts(
    facts: Facts, matrix: Matrix, family: Family | None, request: EditRequest
) -> NewCell:
    """Return the cell of a family without facts: what is not named is the family's default."""
    if family is None or request.version in {"", LATEST}:
        hint = "its releases are not among the facts: e.g. dlimg add FAMILY 1.2.3"
        raise BadInput("name a version", hint=hint)
    system = parse_names.parse_system(facts, request.os) if request.os else None
    if system is None:
        name = family.defaults.get("os", family.axes["os"][0])
        system = facts.distributions[matrix.operating_systems[name].distribution]
    python = request.python or family.defaults.get("python", "") or system.python
    stack = matrix.stacks.get(family.axes["accelerator"][0])
    cuda = stack.cuda if stack else CPU
    if request.cuda:
        asked = parse_names.parse_cuda(facts, request.cuda)
        stacks = (matrix.stacks.get(name) for name in family.axes["accelerator"])
        own = (each.cuda for each in stacks if each and begins_with(each.cuda, asked))
        cuda = next(own, asked)
    return NewCell(
        family=family.name,
        framework=family.framework,
        version=request.version,
        cuda="" if cuda == CPU else cuda,
        python=python,
        system=system,
        flavour=request.flavour or "runtime",
    )
