"""Resolution of a matrix with the facts: cells, and dropped combinations with their reasons."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from dlimg.compat.rule_result import RuleResult
from dlimg.document.versions import numbers
from dlimg.errors import BadInput, Problem, nearest
from dlimg.facts.load import Facts
from dlimg.matrix.cells import NO_FRAMEWORKS, CellFactory
from dlimg.matrix.cudnn import alias_fits, cudnn_choices, override_of
from dlimg.matrix.feasibility import Feasibility
from dlimg.matrix.leaders import StackResolver
from dlimg.matrix.model import (
    AXES,
    CUDNN,
    FAMILY,
    NO_FACTS,
    PYTHON_SOURCE,
    AxisValues,
    CellSelector,
    Exclude,
    Family,
    Matrix,
)
from dlimg.matrix.required_checks import required_check_lines, unused_required_checks
from dlimg.model import EMPTY_MAPPING, GZIP, OLD_FLAVOURS, Cell, DroppedCell, Framework, Stack


def without_unknown_names(facts: Facts, matrix: Matrix, problems: list[Problem]) -> Matrix:
    """Return the matrix without entries whose names the facts lack; each adds a problem.

    Families that leave the Python axis open get the Pythons of their distributions.
    """
    systems = {}
    for system in matrix.operating_systems.values():
        if system.distribution in facts.distributions:
            systems[system.name] = system
        else:
            message = f"no facts about the distribution {system.distribution!r}"
            hint = nearest(system.distribution, facts.distributions)
            problems.append(_problem(matrix, system.line, message, hint))
    families = {}
    for family in matrix.families.values():
        if family.framework != NO_FACTS and family.framework not in facts.releases:
            message = f"family {family.name}: no facts about the framework {family.framework!r}"
            hint = _framework_hint(family.framework, facts.releases)
            problems.append(_problem(matrix, family.lines["framework"], message, hint))
        elif systems.keys() >= set(family.axes["os"]):
            pythons = {
                facts.distributions[systems[name].distribution].python for name in family.axes["os"]
            }
            families[family.name] = _with_pythons(matrix, family, pythons, problems)
    problems += _unknown_pythons(facts, matrix)
    unsound = matrix.unsound | (matrix.families.keys() - families.keys())
    return replace(matrix, operating_systems=systems, families=families, unsound=unsound)


def _with_pythons(
    matrix: Matrix, family: Family, pythons: Iterable[str], problems: list[Problem]
) -> Family:
    """Return the family with these Pythons if its `python` axis has no values."""
    if family.axes["python"]:
        return family
    values = tuple(sorted(pythons, key=numbers))
    default = family.defaults.get("python", values[0])
    if default not in values:
        message = f"family {family.name}: no distribution has the default Python {default}"
        problems.append(
            _problem(matrix, family.lines["defaults"], message, nearest(default, values))
        )
    return replace(family, axes={**family.axes, "python": values})


def _framework_hint(framework: str, known: Iterable[str]) -> str:
    hint = nearest(framework, known)
    return f"{hint}; `framework: {NO_FACTS}` if nothing is to be checked"


def _unknown_pythons(facts: Facts, matrix: Matrix) -> Iterable[Problem]:
    """Yield stacks whose Python neither a distribution nor uv has."""
    known = {row.python for row in facts.distributions.values()} | facts.managed.keys()
    for stack in matrix.stacks.values():
        if stack.python not in known:
            message = f"stack {stack.name}: neither a distribution nor uv has Python {stack.python}"
            yield _problem(matrix, stack.python_line, message, nearest(stack.python, known))


def _problem(matrix: Matrix, line: int, message: str, hint: str) -> Problem:
    return Problem(message=message, where=f"{matrix.source}:{line}", hint=hint)


ResolvedCells = Sequence[tuple[AxisValues, Cell]]


def cell_names(
    matrix: Matrix, resolved: Mapping[str, ResolvedCells], problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """Return aliases and the short tag by cell id; a name for two cells of a family is a problem.

    A tag with today's flavour has an alias with the flavour's old name, for one release.
    """
    names: dict[str, list[str]] = {}
    ids: set[str] = set()
    for family in matrix.families.values():
        shorts: dict[str, str] = {}
        for axis_values, cell in resolved[family.name]:
            name = cell.id
            if name in ids:
                problems.append(_duplicate(matrix, family, f"two cells are called {name}"))
            ids.add(name)
            short = _short_tag(family, axis_values, cell) if family.defaults else ""
            if short and short in shorts:
                problems.append(_duplicate(matrix, family, f"two cells have the short tag {short}"))
            elif short:
                shorts[short] = name
        aliases = _aliases(matrix, family, resolved[family.name], problems)
        problems += _conflicting_aliases(matrix, family, aliases, shorts)
        old = {_old_name(tag): name for tag, name in shorts.items()}
        for alias, name in (aliases | shorts | old).items():
            names.setdefault(name, []).append(alias)
    return {name: tuple(dict.fromkeys(aliases)) for name, aliases in names.items()}


def _old_name(tag: str) -> str:
    for old, new in OLD_FLAVOURS.items():
        if tag.endswith(f"-{new}"):
            return f"{tag.removesuffix(new)}{old}"
    return tag


def _duplicate(matrix: Matrix, family: Family, message: str) -> Problem:
    hint = "rename a stack, an operating system or a family"
    where = f"{matrix.source}:{family.line}"
    return Problem(message=f"family {family.name}: {message}", where=where, hint=hint)


def _aliases(
    matrix: Matrix, family: Family, resolved: ResolvedCells, problems: list[Problem]
) -> dict[str, str]:
    """Return the id of the only cell that each alias fits; other aliases are problems."""
    aliases = {}
    for alias, match in family.aliases.items():
        fitting = [
            cell.id for axis_values, cell in resolved if alias_fits(match, axis_values, cell.stack)
        ]
        if len(fitting) == 1:
            aliases[alias] = fitting[0]
            continue
        count = "no cell" if not fitting else f"{len(fitting)} cells"
        message = f"the alias {alias!r} matches {count}"
        problems.append(_alias_problem(matrix, family, match, message, _fitting_hint(fitting)))
    return aliases


def _fitting_hint(fitting: Sequence[str]) -> str:
    if not fitting:
        return "name values of a cell that `dlimg list` shows"
    return f"add axes until one is left of: {', '.join(fitting[:4])}"


def _conflicting_aliases(
    matrix: Matrix, family: Family, aliases: Mapping[str, str], shorts: Mapping[str, str]
) -> Iterator[Problem]:
    """Yield aliases that are the short tag of another cell."""
    for alias, name in aliases.items():
        if shorts.get(alias, name) != name:
            message = f"the alias {alias!r} is the short tag of {shorts[alias]}"
            yield _alias_problem(
                matrix, family, family.aliases[alias], message, "choose another name"
            )


def _alias_problem(
    matrix: Matrix, family: Family, match: CellSelector, message: str, hint: str
) -> Problem:
    where = f"{matrix.source}:{match.line}"
    return Problem(message=f"family {family.name}: {message}", where=where, hint=hint)


def _short_tag(family: Family, axis_values: Mapping[str, str], cell: Cell) -> str:
    """Return the tag without the family's default axes; empty if an axis has another value."""
    if any(axis_values[axis] != value for axis, value in family.defaults.items()):
        return ""
    cudnn = cell.stack.cudnn_part if cell.stack else ""
    parts = [axis_values["version"], f"{axis_values['accelerator']}{cudnn}"]
    if "python" not in family.defaults:
        parts.append(f"py{axis_values['python']}")
    if "os" not in family.defaults:
        parts.append(axis_values["os"])
    if axis_values["flavour"] != "runtime":
        parts.append(axis_values["flavour"])
    return "-".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The cells of a matrix in its order. `aliases` are by cell id, `groups` hold cell ids.

    `required_places` has the line of each required check's name or pattern. `notices` are old
    keys that the matrix still uses.
    """

    registry: str
    cells: tuple[Cell, ...]
    dropped: tuple[DroppedCell, ...]
    stacks: tuple[Stack, ...]
    aliases: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    required_places: Mapping[str, str]
    compression: str = GZIP
    notices: tuple[Problem, ...] = ()


def resolve(
    matrix: Matrix,
    facts: Facts,
    digests: Mapping[str, str] = EMPTY_MAPPING,
    frameworks: Mapping[str, Framework] = NO_FRAMEWORKS,
) -> Resolution:
    """Return the cells of a matrix; `digests` pin the registry's images by operating system.

    `frameworks` are those of the project, by their folder under `images`.

    Raises BadInput with the problems of the file, every name that the facts lack, and, of sound
    families, every exclude, alias, group, stack or operating system without effect.
    """
    problems = list(matrix.problems)
    matrix = without_unknown_names(facts, matrix, problems)
    factory = CellFactory(matrix, facts, digests, frameworks)
    excludes = ExcludeFilter(matrix, factory)
    dropped: list[_Dropped] = []
    wanted = {
        family.name: tuple(_wanted_cells(matrix, facts, family, excludes, dropped))
        for family in matrix.families.values()
    }
    resolver = StackResolver(matrix, facts, wanted)
    resolved = {
        family.name: list(_cells(family, wanted[family.name], factory, resolver))
        for family in matrix.families.values()
    }
    for family in matrix.families.values():
        problems += factory.problems(family)
        problems += excludes.unused(family.exclude, f"family {family.name}: ")
        problems += _unused_variables(matrix, family, wanted[family.name])
        problems += _unused_overrides(matrix, facts, family, wanted[family.name])
    aliases = cell_names(matrix, resolved, problems)
    groups = {
        name: _group(matrix, name, selectors, resolved, problems)
        for name, selectors in matrix.groups.items()
    }
    cells = tuple(cell for pairs in resolved.values() for _, cell in pairs)
    if not matrix.unsound:
        problems += excludes.unused(matrix.exclude)
        problems += resolver.problems()
        problems += _unused(matrix, cells)
        problems += unused_required_checks(matrix, cells)
    if problems:
        raise BadInput.of(dict.fromkeys(problems))
    return Resolution(
        registry=matrix.registry,
        cells=cells,
        dropped=_dropped_cells(matrix, facts, wanted, factory, dropped),
        stacks=tuple(resolver.stacks.values()),
        aliases=aliases,
        groups=groups,
        required_places=required_check_lines(matrix),
        compression=matrix.compression,
        notices=matrix.notices,
    )


class ExcludeFilter:
    """The excludes of a matrix and its families; remembers which of them had an effect."""

    def __init__(self, matrix: Matrix, factory: CellFactory) -> None:
        self.matrix = matrix
        self.factory = factory
        self.effective: set[int] = set()
        self.keeping: set[int] = set()

    def first(self, family: Family, axis_values: AxisValues) -> Exclude | None:
        """Return the first exclude that drops this combination, or None."""
        source = self.factory.python_source(axis_values)
        values = {**axis_values, FAMILY: family.name, PYTHON_SOURCE: source}
        dropping = None
        for exclude in (*family.exclude, *self.matrix.exclude):
            if exclude.keeps(values):
                self.keeping.add(id(exclude))
            elif exclude.fits(values):
                self.effective.add(id(exclude))
                dropping = dropping or exclude
        return dropping

    def unused(self, excludes: Sequence[Exclude], owner: str = "") -> Iterator[Problem]:
        """Yield the excludes that drop nothing, and the exceptions that keep nothing."""
        for exclude in excludes:
            if id(exclude) not in self.effective:
                hint = "remove it: nothing is there to exclude, or the facts rule it out already"
                message = f"{owner}this exclude matches nothing"
                yield _problem(self.matrix, exclude.match.line, message, hint)
            elif exclude.exception and id(exclude) not in self.keeping:
                hint = "remove it, or let it fit a cell that the exclude would drop"
                message = f"{owner}the `except` of this exclude keeps nothing"
                yield _problem(self.matrix, exclude.exception.line, message, hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dropped:
    """A combination that cannot exist or is excluded, before it has an id."""

    family: Family
    axis_values: AxisValues
    cause: RuleResult | Exclude


def _cells(
    family: Family, wanted: Sequence[AxisValues], factory: CellFactory, resolver: StackResolver
) -> Iterator[tuple[AxisValues, Cell]]:
    for axis_values in wanted:
        stack = resolver.stack(family, axis_values)
        if not resolver.repeats_leaders(axis_values, stack):
            yield axis_values, factory.cell(family, axis_values, stack)


def _dropped_cells(
    matrix: Matrix,
    facts: Facts,
    wanted: Mapping[str, Sequence[AxisValues]],
    factory: CellFactory,
    dropped: Sequence[_Dropped],
) -> tuple[DroppedCell, ...]:
    """Return the dropped cells with the ids that they would have."""
    resolver = StackResolver(matrix, facts, wanted)  # another: their stacks are nobody's
    cells = []
    for entry in dropped:
        stack = resolver.stack(entry.family, entry.axis_values)
        name = factory.id_of(entry.family, entry.axis_values, stack)
        match entry.cause:
            case Exclude(match=match, why=why):
                where = f"{matrix.source}:{match.line}"
                cells.append(DroppedCell(id=name, reason=why, source=where))
            case RuleResult() as refusal:
                cells.append(_impossible(name, refusal))
    return tuple(cells)


def _combinations(matrix: Matrix, family: Family) -> Iterator[AxisValues]:
    """Yield all combinations of a family's axes, with each cuDNN of their stack."""
    for values in product(*(family.axes[axis] for axis in AXES)):
        axis_values = dict(zip(AXES, values, strict=True))
        for cudnn in cudnn_choices(matrix, axis_values["accelerator"]):
            yield {**axis_values, CUDNN: cudnn}


def _wanted_cells(
    matrix: Matrix,
    facts: Facts,
    family: Family,
    excludes: ExcludeFilter,
    dropped: list[_Dropped],
) -> Iterator[AxisValues]:
    """Yield the combinations that can exist and are not excluded; others are added to `dropped`."""
    verdict = Feasibility(matrix, facts, family).verdict
    for axis_values in _combinations(matrix, family):
        cause = verdict(axis_values) or excludes.first(family, axis_values)
        if cause is None:
            yield axis_values
        else:
            dropped.append(_Dropped(family=family, axis_values=axis_values, cause=cause))


def _unused_overrides(
    matrix: Matrix, facts: Facts, family: Family, wanted: Sequence[AxisValues]
) -> Iterator[Problem]:
    """Yield overrides without which every cell would be the same."""
    used = {
        id(override)
        for axis_values in wanted
        if (override := override_of(facts, matrix, family, axis_values))
    }
    for override in family.overrides:
        if id(override) not in used:
            message = f"family {family.name}: this override forces nothing"
            hint = "remove it: no cell is there, or the framework takes that cuDNN by itself"
            yield _problem(matrix, override.match.line, message, hint)


def _unused_variables(
    matrix: Matrix, family: Family, resolved: Sequence[AxisValues]
) -> Iterator[Problem]:
    for stated in family.env:
        if not any(stated.match.fits(axis_values) for axis_values in resolved):
            message = f"family {family.name}: no cell gets {stated.variable.name} of env"
            hint = "remove it, or let it fit a cell that there is"
            yield _problem(matrix, stated.match.line, message, hint)


def _impossible(name: str, reason: RuleResult) -> DroppedCell:
    return DroppedCell(
        id=name, reason=reason.message, source=reason.source, rule=reason.rule, at=reason.at
    )


def _group(
    matrix: Matrix,
    name: str,
    selectors: Sequence[CellSelector],
    resolved: Mapping[str, ResolvedCells],
    problems: list[Problem],
) -> tuple[str, ...]:
    chosen: dict[str, None] = {}
    for selector in selectors:
        ids = [
            cell.id
            for family, pairs in resolved.items()
            for axis_values, cell in pairs
            if selector.fits({FAMILY: family, **axis_values})
        ]
        chosen.update(dict.fromkeys(ids))
        # A family that could not be resolved may be the one that is meant.
        if not ids and matrix.unsound.isdisjoint(selector.values.get(FAMILY, matrix.unsound)):
            where = f"{matrix.source}:{selector.line}"
            problems.append(Problem(message=f"group {name}: this matches no cell", where=where))
    return tuple(chosen)


def _unused(matrix: Matrix, cells: Sequence[Cell]) -> Iterator[Problem]:
    """Yield the stacks and operating systems without cells."""
    stacks = {cell.stack.name for cell in cells if cell.stack}
    systems = {cell.os.name for cell in cells}
    hint = "remove it, or put a family on it"
    for stack in matrix.stacks.values():
        if stack.name not in stacks:
            yield _problem(matrix, stack.line, f"no cell uses the stack {stack.name}", hint)
    for system in matrix.operating_systems.values():
        if system.name not in systems:
            message = f"no cell uses the operating system {system.name}"
            yield _problem(matrix, system.line, message, hint)
