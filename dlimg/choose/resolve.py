"""Matrix + facts -> cells, and every dropped corner with its reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from dlimg.choose.cells import Maker
from dlimg.choose.corners import Corners
from dlimg.choose.facts import Facts
from dlimg.choose.known import known_to
from dlimg.choose.matrix import AXES, Family, Match, Matrix
from dlimg.choose.names import cell_names
from dlimg.choose.reason import Reason
from dlimg.choose.required import dead, places
from dlimg.errors import BadInput, Problem
from dlimg.model import GZIP, NOTHING, Cell, Dropped, Stack


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
    maker = Maker(matrix, facts, digests)
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
    maker: Maker,
    dropped: list[Dropped],
    problems: list[Problem],
) -> list[tuple[dict[str, str], Cell]]:
    verdict = Corners(matrix, facts, family).verdict
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


def _impossible(name: str, reason: Reason) -> Dropped:
    return Dropped(
        id=name, reason=reason.message, source=reason.source, rule=reason.rule, at=reason.at
    )


def _group(
    matrix: Matrix,
    name: str,
    matches: Sequence[Match],
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
