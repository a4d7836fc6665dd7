"""Matrix + facts -> cells, and every dropped corner with its reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from dlimg.compat.rule_result import RuleResult
from dlimg.errors import BadInput, Problem, nearest
from dlimg.facts.load import Facts
from dlimg.matrix.cells import CellFactory
from dlimg.matrix.feasibility import Feasibility
from dlimg.matrix.model import AXES, NO_FACTS, CellSelector, Family, Matrix
from dlimg.matrix.required_checks import dead, places
from dlimg.model import GZIP, NOTHING, Cell, Dropped, Stack


def known_to(facts: Facts, matrix: Matrix, problems: list[Problem]) -> Matrix:
    """The matrix without what stands on a name that the facts do not have; each is a problem."""
    systems = {}
    for system in matrix.operating_systems.values():
        if system.distribution in facts.distributions:
            systems[system.name] = system
        else:
            what = f"no facts about the distribution {system.distribution!r}"
            known = facts.distributions
            problems.append(
                _problem(matrix, system.line, what, nearest(system.distribution, known))
            )
    families = {}
    for family in matrix.families.values():
        if family.framework != NO_FACTS and family.framework not in facts.releases:
            what = f"family {family.name}: no facts about the framework {family.framework!r}"
            hint = _framework_hint(family.framework, facts.releases)
            problems.append(_problem(matrix, family.lines["framework"], what, hint))
        elif systems.keys() >= set(family.axes["os"]):
            families[family.name] = family
    problems += _unknown_pythons(facts, matrix)
    if len(families) == len(matrix.families) and len(systems) == len(matrix.operating_systems):
        return matrix
    unsound = matrix.unsound | (matrix.families.keys() - families.keys())
    return replace(matrix, operating_systems=systems, families=families, unsound=unsound)


def _framework_hint(framework: str, known: Iterable[str]) -> str:
    hint = nearest(framework, known)
    return f"{hint}; `framework: {NO_FACTS}` if nothing is to be checked"


def _unknown_pythons(facts: Facts, matrix: Matrix) -> Iterable[Problem]:
    """Stacks whose Python neither a distribution nor uv has."""
    known = {one.python for one in facts.distributions.values()} | facts.managed.keys()
    for stack in matrix.stacks.values():
        if stack.python not in known:
            what = f"stack {stack.name}: nobody has Python {stack.python}"
            yield _problem(matrix, stack.python_line, what, nearest(stack.python, known))


def _problem(matrix: Matrix, line: int, message: str, hint: str) -> Problem:
    return Problem(message=message, where=f"{matrix.source}:{line}", hint=hint)


ResolvedCorners = Sequence[tuple[dict[str, str], Cell]]


def cell_names(
    matrix: Matrix, corners: Mapping[str, ResolvedCorners], problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Cell id -> its aliases, then its short tag; no name leads to two cells of a family."""
    names: dict[str, list[str]] = {}
    ids: set[str] = set()
    for family in matrix.families.values():
        shorts: dict[str, str] = {}
        for corner, cell in corners[family.name]:
            name = cell.id
            if name in ids:
                problems.append(_twice(matrix, family, f"two cells are called {name}"))
            ids.add(name)
            short = _short_tag(family, corner) if family.defaults else ""
            if short and short in shorts:
                problems.append(_twice(matrix, family, f"two cells have the short tag {short}"))
            elif short:
                shorts[short] = name
        aliases = _aliases(matrix, family, corners[family.name], problems)
        problems += _taken(matrix, family, aliases, shorts)
        for alias, name in (aliases | shorts).items():
            names.setdefault(name, []).append(alias)
    return {name: tuple(found) for name, found in names.items()}


def _twice(matrix: Matrix, family: Family, message: str) -> Problem:
    hint = "rename a stack, an operating system or a family"
    where = f"{matrix.source}:{family.line}"
    return Problem(message=f"family {family.name}: {message}", where=where, hint=hint)


def _aliases(
    matrix: Matrix, family: Family, corners: ResolvedCorners, problems: list[Problem]
) -> dict[str, str]:
    """Alias -> the id of the one cell that it fits."""
    aliases = {}
    for alias, match in family.aliases.items():
        fitting = [cell.id for corner, cell in corners if match.fits(corner)]
        if len(fitting) == 1:
            aliases[alias] = fitting[0]
            continue
        count = "no cell" if not fitting else f"{len(fitting)} cells"
        message = f"the alias {alias!r} matches {count}"
        problems.append(_problem_names(matrix, family, match, message, _fitting_hint(fitting)))
    return aliases


def _fitting_hint(fitting: Sequence[str]) -> str:
    if not fitting:
        return "name values of a cell that `dlimg list` shows"
    return f"add axes until one is left of: {', '.join(fitting[:4])}"


def _taken(
    matrix: Matrix, family: Family, aliases: Mapping[str, str], shorts: Mapping[str, str]
) -> Iterator[Problem]:
    """Aliases that are the short tag of another cell."""
    for alias, name in aliases.items():
        if shorts.get(alias, name) != name:
            message = f"the alias {alias!r} is the short tag of {shorts[alias]}"
            yield _problem_names(
                matrix, family, family.aliases[alias], message, "choose another name"
            )


def _problem_names(
    matrix: Matrix, family: Family, match: CellSelector, message: str, hint: str
) -> Problem:
    where = f"{matrix.source}:{match.line}"
    return Problem(message=f"family {family.name}: {message}", where=where, hint=hint)


def _short_tag(family: Family, corner: Mapping[str, str]) -> str:
    """The tag without the axes that stand at the family's defaults; nothing where one does not."""
    if any(corner[axis] != value for axis, value in family.defaults.items()):
        return ""
    parts = [corner["version"], corner["accelerator"]]
    if "python" not in family.defaults:
        parts.append(f"py{corner['python']}")
    if "os" not in family.defaults:
        parts.append(corner["os"])
    if corner["flavour"] != "runtime":
        parts.append(corner["flavour"])
    return "-".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a matrix comes to: cells in its order; `aliases` and `groups` speak of cell ids.

    `required_places` says where a required check's name or pattern stands.
    """

    registry: str
    cells: tuple[Cell, ...]
    dropped: tuple[Dropped, ...]
    stacks: tuple[Stack, ...]
    aliases: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    required_places: Mapping[str, str]
    compression: str = GZIP


def resolve(matrix: Matrix, facts: Facts, digests: Mapping[str, str] = NOTHING) -> Resolution:
    """The cells of a matrix under the facts; `digests` pin the registry's images by system.

    Raises BadInput with what is wrong with the matrix itself, with every name that the facts do
    not know, and, of sound families, every dead exclude, alias, group, stack or operating system.
    """
    problems = list(matrix.problems)
    matrix = known_to(facts, matrix, problems)
    maker = CellFactory(matrix, facts, digests)
    corners: dict[str, list[tuple[dict[str, str], Cell]]] = {}
    dropped: list[Dropped] = []
    for family in matrix.families.values():
        corners[family.name] = _family_cells(matrix, facts, family, maker, dropped, problems)
    aliases = cell_names(matrix, corners, problems)
    groups = {
        name: _group(matrix, name, matches, corners, problems)
        for name, matches in matrix.groups.items()
    }
    cells = tuple(cell for found in corners.values() for _, cell in found)
    if not matrix.unsound:
        problems += _unused(matrix, cells)
        problems += dead(matrix, cells)
    if problems:
        raise BadInput.of(dict.fromkeys(problems))
    return Resolution(
        registry=matrix.registry,
        cells=cells,
        dropped=tuple(dropped),
        stacks=tuple(maker.stacks.values()),
        aliases=aliases,
        groups=groups,
        required_places=places(matrix),
        compression=matrix.compression,
    )


def _family_cells(
    matrix: Matrix,
    facts: Facts,
    family: Family,
    maker: CellFactory,
    dropped: list[Dropped],
    problems: list[Problem],
) -> list[tuple[dict[str, str], Cell]]:
    verdict = Feasibility(matrix, facts, family).verdict
    excludes = tuple(enumerate(family.exclude))
    alive = [False] * len(excludes)
    found = []
    for values in product(*(family.axes[axis] for axis in AXES)):
        corner = dict(zip(AXES, values, strict=True))
        reason = verdict(corner)
        if reason is not None:
            name = maker.name(family, corner)
            dropped.append(_impossible(name, reason))
            continue
        hits = [number for number, one in excludes if one.match.fits(corner)]
        if hits:
            for number in hits:
                alive[number] = True
            exclude = family.exclude[hits[0]]
            where = f"{matrix.source}:{exclude.match.line}"
            name = maker.name(family, corner)
            dropped.append(Dropped(id=name, reason=exclude.why, source=where))
            continue
        found.append((corner, maker.cell(family, corner)))
    problems += maker.problems(family)
    for exclude, used in zip(family.exclude, alive, strict=True):
        if not used:
            message = f"family {family.name}: this exclude matches nothing"
            hint = "remove it: nothing is there to exclude, or the facts rule it out already"
            where = f"{matrix.source}:{exclude.match.line}"
            problems.append(Problem(message=message, where=where, hint=hint))
    problems += _dead_variables(matrix, family, [corner for corner, _ in found])
    return found


def _dead_variables(
    matrix: Matrix, family: Family, corners: Sequence[Mapping[str, str]]
) -> Iterator[Problem]:
    for stated in family.env:
        if not any(stated.match.fits(corner) for corner in corners):
            yield Problem(
                message=f"family {family.name}: no cell gets {stated.variable.name} of env",
                where=f"{matrix.source}:{stated.match.line}",
                hint="remove it, or let it fit a cell that there is",
            )


def _impossible(name: str, reason: RuleResult) -> Dropped:
    return Dropped(
        id=name, reason=reason.message, source=reason.source, rule=reason.rule, at=reason.at
    )


def _group(
    matrix: Matrix,
    name: str,
    matches: Sequence[CellSelector],
    corners: Mapping[str, Sequence[tuple[dict[str, str], Cell]]],
    problems: list[Problem],
) -> tuple[str, ...]:
    chosen: dict[str, None] = {}
    for match in matches:
        hits = [
            cell.id
            for family, found in corners.items()
            for corner, cell in found
            if match.fits({"family": family, **corner})
        ]
        chosen.update(dict.fromkeys(hits))
        # A family that could not be resolved may be the one that is meant.
        if not hits and matrix.unsound.isdisjoint(match.values.get("family", matrix.unsound)):
            where = f"{matrix.source}:{match.line}"
            problems.append(Problem(message=f"group {name}: this matches no cell", where=where))
    return tuple(chosen)


def _unused(matrix: Matrix, cells: Sequence[Cell]) -> Iterator[Problem]:
    stacks = {cell.stack.name for cell in cells if cell.stack}
    systems = {cell.os.name for cell in cells}
    for stack in matrix.stacks.values():
        if stack.name not in stacks:
            message = f"no cell uses the stack {stack.name}"
            where = f"{matrix.source}:{stack.line}"
            yield Problem(message=message, where=where, hint="remove it, or put a family on it")
    for system in matrix.operating_systems.values():
        if system.name not in systems:
            message = f"no cell uses the operating system {system.name}"
            where = f"{matrix.source}:{system.line}"
            yield Problem(message=message, where=where, hint="remove it, or put a family on it")
