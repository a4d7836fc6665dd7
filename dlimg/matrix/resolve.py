"""Resolution of a matrix with the facts: cells, and dropped combinations with their reasons."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from packaging.version import InvalidVersion, Version

from dlimg.document.versions import numbers
from dlimg.errors import BadInput, Problem, nearest
from dlimg.facts.load import Facts
from dlimg.matrix.additions import FLAVOURS, unused_additions
from dlimg.matrix.cells import NO_FRAMEWORKS, CellFactory
from dlimg.matrix.cudnn import alias_fits, override_of
from dlimg.matrix.dropped import (
    DroppedCombination,
    ExcludeFilter,
    dropped_cells,
    join_reasons,
    wanted_cells,
)
from dlimg.matrix.indexes import unused_indexes
from dlimg.matrix.leaders import StackResolver
from dlimg.matrix.model import (
    FAMILY,
    NO_FACTS,
    AxisValues,
    CellSelector,
    Family,
    Matrix,
)
from dlimg.matrix.required_checks import required_check_lines, unused_required_checks
from dlimg.model import EMPTY_MAPPING, OLD_FLAVOURS, Cell, DroppedCell, Framework, Stack


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
            problems += _respelled_releases(facts, matrix, family)
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


def _framework_hint(framework: str, names: Iterable[str]) -> str:
    hint = nearest(framework, names)
    return f"{hint}; `framework: {NO_FACTS}` if nothing is to be checked"


def _respelled_releases(facts: Facts, matrix: Matrix, family: Family) -> Iterator[Problem]:
    """Yield versions that spell a release otherwise than the facts: 2.6 is release 2.6.0.

    Nothing would be checked of such a cell, and its tag would not have the release's name.
    """
    releases = facts.releases.get(family.framework, {})
    for version in family.axes["version"]:
        release = "" if version in releases else _same_release(version, releases)
        if release:
            message = f"{family.name}: version {version} is the release {release}"
            hint = f"write {release}, as the package index does"
            yield _problem(matrix, family.lines["version"], message, hint)


def _same_release(version: str, releases: Iterable[str]) -> str:
    """Return the release of the same version, or an empty text."""
    try:
        wanted = Version(version)
    except InvalidVersion:
        return ""
    return next((release for release in releases if Version(release) == wanted), "")


def _unknown_pythons(facts: Facts, matrix: Matrix) -> Iterable[Problem]:
    """Yield stacks whose Python neither a distribution nor uv has."""
    pythons = {row.python for row in facts.distributions.values()} | facts.managed.keys()
    for stack in matrix.stacks.values():
        if stack.python not in pythons:
            message = f"stack {stack.name}: neither a distribution nor uv has Python {stack.python}"
            yield _problem(matrix, stack.python_line, message, nearest(stack.python, pythons))


def _problem(matrix: Matrix, line: int, message: str, hint: str) -> Problem:
    return Problem(message=message, where=f"{matrix.source}:{line}", hint=hint)


ResolvedCells = Sequence[tuple[AxisValues, Cell]]


def cell_names(
    matrix: Matrix,
    resolved: Mapping[str, ResolvedCells],
    dropped: Sequence[DroppedCombination],
    problems: list[Problem],
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
        of_family = [entry for entry in dropped if entry.family is family]
        aliases = _aliases(matrix, family, resolved[family.name], of_family, problems)
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
    matrix: Matrix,
    family: Family,
    resolved: ResolvedCells,
    dropped: Sequence[DroppedCombination],
    problems: list[Problem],
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
        hint = f"add axes until one is left of: {', '.join(fitting[:4])}"
        if not fitting:
            hint = _drop_hint(dropped, match) or "name values of a cell that `dlimg list` shows"
        problems.append(_alias_problem(matrix, family, match, message, hint))
    return aliases


def _drop_hint(dropped: Iterable[DroppedCombination], match: CellSelector) -> str:
    """Return why the combinations that a selector would choose drop; empty if there are none."""
    reasons = [entry.reason for entry in dropped if entry.fits(match)]
    return f"all its combinations drop: {join_reasons(reasons)}" if reasons else ""


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
    keys that the matrix still uses, `indexes` are the addresses of its package indexes.
    """

    registry: str
    cells: tuple[Cell, ...]
    find_dropped: Callable[[], tuple[DroppedCell, ...]] = field(repr=False, compare=False)
    stacks: tuple[Stack, ...]
    aliases: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]
    required_places: Mapping[str, str]
    compression: str = ""
    notices: tuple[Problem, ...] = ()
    indexes: Mapping[str, str] = field(default_factory=dict)

    @property
    def dropped(self) -> tuple[DroppedCell, ...]:
        """The dropped cells, with their ids: a third of the time of all else, so on demand."""
        return self.find_dropped()


def resolve(
    matrix: Matrix,
    facts: Facts,
    digests: Mapping[str, str] = EMPTY_MAPPING,
    frameworks: Mapping[str, Framework] = NO_FRAMEWORKS,
) -> Resolution:
    """Return the cells of a matrix; `digests` pin the registry's images by operating system.

    `frameworks` are those of the project, by their folder under `images`.

    Raises BadInput with the problems of the file, every name that the facts lack, and, of sound
    families, every exclude, alias, group, stack or operating system without effect. Where every
    combination drops, nothing has an effect, and nothing is said about that.
    """
    problems = list(matrix.problems)
    matrix = without_unknown_names(facts, matrix, problems)
    factory = CellFactory(matrix, facts, digests, frameworks)
    excludes = ExcludeFilter(matrix, factory)
    dropped: list[DroppedCombination] = []
    wanted = {
        family.name: tuple(wanted_cells(matrix, facts, family, excludes, dropped))
        for family in matrix.families.values()
    }
    resolver = StackResolver(matrix, facts, wanted)
    resolved = {
        family.name: list(_cells(family, wanted[family.name], factory, resolver))
        for family in matrix.families.values()
    }
    for family in matrix.families.values():
        problems += _family_problems(matrix, facts, family, wanted[family.name], factory, excludes)
    follow: list[Problem] = []
    aliases = cell_names(matrix, resolved, dropped, follow)
    groups = {
        name: _group(matrix, name, selectors, resolved, dropped, follow)
        for name, selectors in matrix.groups.items()
    }
    cells = tuple(cell for pairs in resolved.values() for _, cell in pairs)
    if not matrix.unsound:
        follow += excludes.unused(matrix.exclude)
        follow += resolver.problems()
        follow += _unused(matrix, cells, dropped)
        follow += unused_required_checks(matrix, cells)
        # One that could not be read as a whole may be used.
        follow += [] if matrix.problems else unused_indexes(matrix, factory.kinds_of(cells))
    is_empty = bool(dropped) and not any(wanted.values())
    problems += [] if is_empty else follow
    if problems:
        raise BadInput.of(dict.fromkeys(problems))
    return Resolution(
        registry=matrix.registry,
        cells=cells,
        find_dropped=cache(partial(dropped_cells, matrix, facts, wanted, factory, dropped)),
        stacks=tuple(resolver.stacks.values()),
        aliases=aliases,
        groups=groups,
        required_places=required_check_lines(matrix),
        compression=matrix.compression,
        notices=matrix.notices,
        indexes={index.name: index.url for index in matrix.indexes},
    )


def _cells(
    family: Family, wanted: Sequence[AxisValues], factory: CellFactory, resolver: StackResolver
) -> Iterator[tuple[AxisValues, Cell]]:
    for axis_values in wanted:
        stack = resolver.stack(family, axis_values)
        if not resolver.repeats_leaders(axis_values, stack):
            yield axis_values, factory.cell(family, axis_values, stack)


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


def _family_problems(
    matrix: Matrix,
    facts: Facts,
    family: Family,
    wanted: Sequence[AxisValues],
    factory: CellFactory,
    excludes: ExcludeFilter,
) -> Iterator[Problem]:
    """Yield the problems of a family; one of which every combination drops has no unused entry."""
    yield from factory.problems(family)
    if wanted:
        yield from excludes.unused(family.exclude, f"family {family.name}: ")
        yield from _unused_variables(matrix, family, wanted)
        yield from _unused_additions(matrix, family, wanted, factory)
        yield from _unused_overrides(matrix, facts, family, wanted)


def _unused_variables(
    matrix: Matrix, family: Family, resolved: Sequence[AxisValues]
) -> Iterator[Problem]:
    for stated in family.env:
        if not any(stated.match.fits(axis_values) for axis_values in resolved):
            message = f"family {family.name}: no cell gets {stated.variable.name} of env"
            hint = "remove it, or let it fit a cell that there is"
            yield _problem(matrix, stated.match.line, message, hint)


def _unused_additions(
    matrix: Matrix, family: Family, resolved: Sequence[AxisValues], factory: CellFactory
) -> Iterator[Problem]:
    """Yield additions and packages of a flavour that no cell gets."""
    cells = [(values, factory.kinds[values["accelerator"]]) for values in resolved]
    yield from unused_additions(family.additions, cells, family.name, matrix.source)
    flavours = {axis_values["flavour"] for axis_values in resolved}
    for flavour in FLAVOURS:
        if flavour in family.packages and flavour not in flavours:
            message = f"family {family.name}: no cell gets the packages of {flavour}"
            hint = f"remove them, or put {flavour} into the axis `flavour`"
            yield _problem(matrix, family.lines["packages"], message, hint)


def _group(
    matrix: Matrix,
    name: str,
    selectors: Sequence[CellSelector],
    resolved: Mapping[str, ResolvedCells],
    dropped: Sequence[DroppedCombination],
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
            message, hint = f"group {name}: this matches no cell", _drop_hint(dropped, selector)
            problems.append(_problem(matrix, selector.line, message, hint))
    return tuple(chosen)


def _unused(
    matrix: Matrix, cells: Sequence[Cell], dropped: Sequence[DroppedCombination]
) -> Iterator[Problem]:
    """Yield the stacks and operating systems without cells."""
    stacks = {cell.stack.name for cell in cells if cell.stack}
    systems = {cell.os.name for cell in cells}
    for stack in matrix.stacks.values():
        if stack.name not in stacks:
            hint = _unused_hint(dropped, "accelerator", stack.name)
            yield _problem(matrix, stack.line, f"no cell uses the stack {stack.name}", hint)
    for system in matrix.operating_systems.values():
        if system.name not in systems:
            message = f"no cell uses the operating system {system.name}"
            hint = _unused_hint(dropped, "os", system.name)
            yield _problem(matrix, system.line, message, hint)


def _unused_hint(dropped: Sequence[DroppedCombination], axis: str, name: str) -> str:
    reasons = _drop_hint(dropped, CellSelector(line=0, values={axis: (name,)}))
    hint = "remove it, or put a family on it"
    return f"{hint}; {reasons}" if reasons else hint
