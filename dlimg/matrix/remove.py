"""Cells taken out of the text of a matrix, with all that only they need."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from packaging.utils import canonicalize_name

from dlimg.document.versions import numbers
from dlimg.errors import Negative, Problem
from dlimg.facts.load import Facts
from dlimg.facts.model import Distribution
from dlimg.matrix.add import shortest
from dlimg.matrix.cudnn import override_of
from dlimg.matrix.indexes import indexes_for
from dlimg.matrix.leaders import accelerator_kind, package_of
from dlimg.matrix.model import AXES, FAMILY, CellSelector, Exclude, Family, Matrix
from dlimg.matrix.required_checks import ANY, CUDA
from dlimg.matrix.survey import Point, Survey
from dlimg.matrix.text import MatrixText, selector_text
from dlimg.model import CPU

_ROUNDS: Final = 200
_STACK: Final = "accelerator"
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedCells:
    """The cells to remove: those of a family with these values; empty means any."""

    family: str
    version: str = ""
    cuda: str = ""
    python: str = ""
    system: Distribution | None = None
    flavour: str = ""

    def fits(self, matrix: Matrix, point: Point) -> bool:
        """Return whether a combination is among them; `cuda` may be `cpu`."""
        stack = matrix.stacks.get(point.accelerator)
        cuda = stack.cuda if stack else CPU
        system = matrix.operating_systems[point.os].distribution
        wanted = self.system.distribution if self.system else ""
        pairs = (
            (self.family, point.family),
            (self.version, point.version),
            (self.cuda, cuda),
            (self.python, point.python),
            (wanted, system),
            (self.flavour, point.flavour),
        )
        return all(not asked or asked == value for asked, value in pairs)


def remove_cells(text: str, source: str, facts: Facts, removed: RemovedCells) -> str:
    """Return the text of a matrix without these cells; the same text if it has none of them.

    Raises Negative, with the remedy, where an alias or a group would be left without cells.
    """
    edited = MatrixText(text, source, facts)
    before = edited.survey()
    gone = frozenset(point for point in before.points if removed.fits(before.matrix, point))
    if not gone:
        return text
    rest = before.points - gone
    if not rest:
        message = "no cell would be left"
        raise Negative(message, where=source, hint="remove the file, or add another cell first")
    _refuse_broken(before, gone, rest)
    after = _AfterRemoval(edited, before, removed.family, rest)
    if removed.family not in after.axes:
        _refuse_anchored(edited, removed.family)
    _shorten_selectors(edited, after)
    _remove_required_checks(edited, rest)
    _remove_values(edited, before, after)
    _exclude_rest(edited, rest)
    while _remove_unused(edited):
        pass
    _remove_packages(edited, before, removed.family)
    _remove_indexes(edited, before)
    return edited.text


class _AfterRemoval:
    """The rest of a matrix: the values of axes by family, operating systems and stacks."""

    def __init__(
        self, edited: MatrixText, before: Survey, family: str, rest: frozenset[Point]
    ) -> None:
        self.family = family
        matrix = before.matrix
        unused = {
            axis: {getattr(point, axis) for point in before.points}
            - {getattr(point, axis) for point in rest}
            for axis in AXES
        }
        self.systems = [name for name in matrix.operating_systems if name not in unused["os"]]
        self.stacks = [name for name in matrix.stacks if name not in unused[_STACK]]
        sharing = _sharing_axes(edited, before, family)
        gone = _gone_values(edited, before, family, sharing, rest)
        self.axes: dict[str, dict[str, tuple[str, ...]]] = {}
        for name, entry in matrix.families.items():
            if name == family and not any(point.family == name for point in rest):
                continue
            lost = gone if name in sharing else {}
            self.axes[name] = {
                axis: tuple(
                    value
                    for value in entry.axes[axis]
                    if value not in lost.get(axis, ())
                    and (axis != "os" or value in self.systems)
                    and (axis != _STACK or value in (CPU, *self.stacks))
                )
                for axis in AXES
            }
            if not before.written.families[name].axes["python"]:
                systems = self.axes[name]["os"]
                self.axes[name]["python"] = _derived_pythons(edited.facts, matrix, systems)

    def has(self, families: Sequence[str], axis: str, value: str) -> bool:
        """Return whether one of these families still has the value."""
        if axis == FAMILY:
            return value in self.axes
        if axis not in AXES:
            return True
        return any(value in self.axes[name][axis] for name in families if name in self.axes)


def _sharing_axes(edited: MatrixText, before: Survey, family: str) -> set[str]:
    """Return the family and those whose axes are merged from it."""
    axes = before.written.families[family].axes
    others = (name for name in before.matrix.families if not edited.node("families", name, "axes"))
    return {family, *(name for name in others if before.written.families[name].axes == axes)}


def _gone_values(
    edited: MatrixText,
    before: Survey,
    family: str,
    sharing: Collection[str],
    rest: frozenset[Point],
) -> dict[str, set[str]]:
    """Return the values in the family's own lists that no cell has any more."""
    gone: dict[str, set[str]] = {}
    for axis in AXES:
        node = edited.node("families", family, "axes", axis)
        if node is not None and len(node.items) > 1:
            had = {getattr(point, axis) for point in before.points if point.family == family}
            left = {getattr(point, axis) for point in rest if point.family in sharing}
            gone[axis] = (had - left) & set(node.values)
    return gone


def _derived_pythons(facts: Facts, matrix: Matrix, systems: Sequence[str]) -> tuple[str, ...]:
    names = (matrix.operating_systems[name].distribution for name in systems)
    return tuple(sorted({facts.distributions[name].python for name in names}, key=numbers))


def _refuse_broken(before: Survey, gone: frozenset[Point], rest: frozenset[Point]) -> None:
    """Raise Negative for aliases and groups that would lose their last cell."""
    matrix = before.matrix
    problems = []
    for family in matrix.families.values():
        left = [point for point in rest if point.family == family.name]
        for alias, match in family.aliases.items() if left else ():
            if _meant(match, gone) and not _meant(match, left):
                near = selector_text(_coordinates(min(left, key=str)))
                problems.append(
                    Problem(
                        message=f"the alias {family.name}:{alias} means a cell that would go",
                        where=f"{matrix.source}:{match.line}",
                        hint=f"remove it, or let it mean another first, e.g. {alias}: {near}",
                    )
                )
    for name, selectors in matrix.groups.items():
        if any(_meant(s, gone) for s in selectors) and not any(_meant(s, rest) for s in selectors):
            problems.append(
                Problem(
                    message=f"the group {name} would be left without cells",
                    where=f"{matrix.source}:{selectors[0].line}",
                    hint="give it another entry first, or remove the group",
                )
            )
    if problems:
        raise Negative.of(problems)


def _coordinates(point: Point) -> Mapping[str, str]:
    return {axis: getattr(point, axis) for axis in AXES}


def _meant(match: CellSelector, points: Sequence[Point] | frozenset[Point]) -> bool:
    return any(match.fits(point._asdict()) for point in points)


def _refuse_anchored(edited: MatrixText, family: str) -> None:
    """Raise Negative if another entry is made from this family."""
    node = edited.mapping("families").entries[family]
    anchors = {below.anchor for below in node.walk() if below.anchor and below.kind != "alias"}
    for other in edited.root.walk():
        is_inside = node.start <= other.start < node.end
        if other.kind == "alias" and other.anchor in anchors and not is_inside:
            line = edited.text.count("\n", 0, other.start) + 1
            message = f"the family {family} has the anchor &{other.anchor}, which is used here"
            where = f"{edited.source}:{line}"
            raise Negative(message, where=where, hint="write this entry out first")


def _shorten_selectors(edited: MatrixText, after: _AfterRemoval) -> None:
    """Take values that will be gone out of selectors, and selectors that have nothing else."""
    for _ in range(_ROUNDS):
        for path, match in _selectors(edited.survey().matrix):
            owner = (str(path[1]),) if path[0] == "families" else ()
            meant = owner or match.values.get(FAMILY) or tuple(after.axes)
            gone = [
                (axis, value)
                for axis, values in match.values.items()
                for value in values
                if not after.has(meant, axis, value)
            ]
            if not gone or (owner and owner[0] not in after.axes):
                continue
            axis, value = gone[0]
            if len(match.values[axis]) > 1:
                edited.remove_value((*path, axis), value)
            else:
                _remove_selector(edited, path)
            break
        else:
            return


def _remove_selector(edited: MatrixText, path: Path) -> None:
    if "except" in path:
        owner = str(path[1]) if path[0] == "families" else ""
        place = path.index("except")
        position = path[place + 1] if len(path) > place + 1 else 0
        edited.remove_exception(owner, int(path[place - 1]), int(position))
    else:
        edited.remove(path)


def _remove_required_checks(edited: MatrixText, rest: frozenset[Point]) -> None:
    """Remove required checks of families, flavours and accelerators that have no cell any more."""
    used = {ANY, *(point.family for point in rest), *(point.flavour for point in rest)}
    used |= {CPU if point.accelerator == CPU else CUDA for point in rest}
    for key in edited.survey().matrix.required:
        if key not in used:
            edited.remove(("required_checks", key))


def _remove_values(edited: MatrixText, before: Survey, after: _AfterRemoval) -> None:
    """Remove families, operating systems, stacks and values of axes that are gone."""
    matrix = before.matrix
    for name, family in matrix.families.items():
        if name in after.axes:
            _remove_axis_values(edited, family, after)
        else:
            edited.remove(("families", name))
    for system in matrix.operating_systems:
        if system not in after.systems:
            edited.remove_value(("axes", "os"), system)
            edited.remove(("operating_systems", system))
    _remove_stacks(edited, matrix, after)
    if after.family in after.axes:
        _derive_pythons(edited, before, after)


def _remove_stacks(edited: MatrixText, matrix: Matrix, after: _AfterRemoval) -> None:
    for stack in matrix.stacks:
        if stack not in after.stacks:
            for index in matrix.indexes:
                edited.remove(("indexes", index.name, "packages", stack))
            edited.remove(("stacks", stack))


def _remove_axis_values(edited: MatrixText, family: Family, after: _AfterRemoval) -> None:
    path = ("families", family.name)
    for axis in AXES:
        for value in family.axes[axis]:
            if value not in after.axes[family.name][axis]:
                edited.remove_value((*path, "axes", axis), value)
    for stack in family.leaders:
        if stack not in after.stacks:
            edited.remove((*path, "leaders", stack))


def _derive_pythons(edited: MatrixText, before: Survey, after: _AfterRemoval) -> None:
    """Let an axis of Pythons go if it has just those that the family would have without it."""
    axes: Path = ("families", after.family, "axes")
    node, shared = edited.node(*axes, "python"), edited.node("axes", "python")
    had = before.matrix.families[after.family].axes["python"]
    if node is None or shared is not None or node.values == had:
        return
    if _is_before_a_required_axis(edited, axes):
        return
    text = edited.text
    edited.remove((*axes, "python"))
    if edited.survey().matrix.families[after.family].axes["python"] != node.values:
        edited.text = text


def _is_before_a_required_axis(edited: MatrixText, axes: Path) -> bool:
    """Return whether the Pythons were there from the start: `add` writes an axis at the end."""
    names = [key.value for key in edited.mapping(*axes).keys]
    required = {"version", "accelerator"}
    if edited.node("axes", "flavour") is None:
        required.add("flavour")
    return bool(required & set(names[names.index("python") :]))


def _exclude_rest(edited: MatrixText, rest: frozenset[Point]) -> None:
    """Drop what is still there: by removing an exception, or else by another exclude."""
    for _ in range(_ROUNDS):
        survey = edited.survey()
        gone = survey.points - rest
        if not gone:
            return
        if _remove_exception(edited, survey, gone, rest):
            continue
        others = [point._asdict() for point in rest]
        match = shortest(min(gone, key=str)._asdict(), others)
        family = min(gone, key=str).family
        owner = family if len(match) > 1 and edited.has_own_excludes(family) else ""
        if owner:
            match.pop(FAMILY, None)
        elif FAMILY not in match:
            match = {FAMILY: family, **match}
        edited.add_exclude(owner, match, {}, "removed")


def _remove_exception(
    edited: MatrixText, survey: Survey, gone: frozenset[Point], rest: frozenset[Point]
) -> bool:
    """Remove an exception that spares nothing but cells that are to go; return whether one was."""
    for owner, index, exclude in _excludes(survey.matrix):
        for position, exception in enumerate(exclude.exceptions):
            spared = {
                point
                for point in survey.points
                if list(exclude.keeping(survey.values(point))) == [exception]
            }
            if spared & gone and not spared & rest:
                edited.remove_exception(owner, index, position)
                return True
    return False


def _excludes(matrix: Matrix) -> Iterator[tuple[str, int, Exclude]]:
    """Yield all excludes with their family, empty for those of the matrix, and their index."""
    for family in matrix.families.values():
        for index, exclude in enumerate(family.exclude):
            yield family.name, index, exclude
    for index, exclude in enumerate(matrix.exclude):
        yield "", index, exclude


def _remove_unused(edited: MatrixText) -> bool:
    """Remove the first entry without effect; return whether there was one."""
    survey = edited.survey()
    filter_ = survey.excludes
    for owner, index, exclude in _excludes(survey.matrix):
        prefix: Path = ("families", owner) if owner else ()
        if id(exclude) not in filter_.effective:
            edited.remove((*prefix, "exclude", index))
            return True
        for position, exception in enumerate(exclude.exceptions):
            if id(exception) not in filter_.keeping:
                edited.remove_exception(owner, index, position)
                return True
    for path, match in _selectors(survey.matrix):
        if path[0] == "groups" and not _meant(match, survey.points):
            edited.remove(path)
            return True
    return _remove_unused_of_families(edited, survey)


def _remove_unused_of_families(edited: MatrixText, survey: Survey) -> bool:
    for family in survey.matrix.families.values():
        points = [point for point in survey.points if point.family == family.name]
        for stated in family.env:
            if not _meant(stated.match, points):
                edited.remove(("families", family.name, "env", stated.variable.name))
                return True
        forced = [
            override_of(edited.facts, survey.matrix, family, survey.values(point))
            for point in points
        ]
        for index, override in enumerate(family.overrides):
            if not any(override is each for each in forced):
                edited.remove(("families", family.name, "override", index))
                return True
    return False


def _remove_packages(edited: MatrixText, before: Survey, family: str) -> None:
    """Remove packages for a kind of accelerator that the family had and has no more."""
    after = edited.survey()
    if family not in after.matrix.families:
        return
    had, has = (
        {
            accelerator_kind(survey.matrix, point.accelerator)
            for point in survey.points
            if point.family == family
        }
        for survey in (before, after)
    )
    for kind in sorted(had - has):
        for section in ("packages", "paired_packages"):
            if edited.node("families", family, section, kind) is not None:
                edited.remove(("families", family, section, kind))


def _remove_indexes(edited: MatrixText, before: Survey) -> None:
    """Remove indexes that no cell uses any more, or that just the removed cells asked for."""
    survey = edited.survey()
    used = {
        index.name
        for accelerator in {point.accelerator for point in survey.points}
        for index in indexes_for(
            survey.matrix, accelerator, accelerator_kind(survey.matrix, accelerator)
        )
    }
    had, has = _asked_for(before), _asked_for(survey)
    for choice in survey.matrix.indexes:
        routed = frozenset(chain.from_iterable(choice.packages.values()))
        if choice.name not in used or (routed & had and not routed & has):
            edited.remove(("indexes", choice.name))


def _asked_for(survey: Survey) -> set[str]:
    """Return the names of all packages that families with cells ask for."""
    names: set[str] = set()
    for point in survey.points:
        family = survey.matrix.families[point.family]
        kind = accelerator_kind(survey.matrix, point.accelerator)
        for key in (ANY, kind):
            names.update(map(package_of, family.packages.get(key, ())))
            names.update(map(package_of, family.paired_packages.get(key, ())))
    return {canonicalize_name(name) for name in names}


def _selectors(matrix: Matrix) -> Iterator[tuple[Path, CellSelector]]:
    """Yield every selector with its path, the inner ones first."""
    for owner, index, exclude in _excludes(matrix):
        prefix: Path = ("families", owner) if owner else ()
        path = (*prefix, "exclude", index)
        several = len(exclude.exceptions) > 1
        for position, exception in enumerate(exclude.exceptions):
            yield (*path, "except", *((position,) if several else ())), exception
        yield path, exclude.match
    for family in matrix.families.values():
        prefix = ("families", family.name)
        for alias, match in family.aliases.items():
            yield (*prefix, "aliases", alias), match
        for index, override in enumerate(family.overrides):
            yield (*prefix, "override", index), override.match
    for name, selectors in matrix.groups.items():
        for index, selector in enumerate(selectors):
            yield ("groups", name, index), selector
