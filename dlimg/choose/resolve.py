"""Matrix + facts -> cells, and every dropped corner with its reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from dlimg.choose.cells import Maker
from dlimg.choose.facts import Facts
from dlimg.choose.form import nearest
from dlimg.choose.matrix import AXES, Family, Match, Matrix
from dlimg.choose.rules import Judge
from dlimg.errors import BadInput, Problem
from dlimg.model import NOTHING, Cell, Dropped, Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a matrix comes to: cells in its order; `aliases` and `groups` speak of cell ids."""

    registry: str
    cells: tuple[Cell, ...]
    dropped: tuple[Dropped, ...]
    stacks: tuple[Stack, ...]
    aliases: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]


def resolve(matrix: Matrix, facts: Facts, digests: Mapping[str, str] = NOTHING) -> Resolution:
    """The cells of a matrix under the facts; `digests` pin the registry's images by system.

    Raises BadInput with every dead exclude, alias, group, stack or operating system.
    """
    problems = list(_unknown_distributions(matrix, facts))
    if problems:
        raise BadInput.of(problems)
    maker = Maker(matrix, facts, digests)
    corners: dict[str, list[tuple[dict[str, str], Cell]]] = {}
    dropped: list[Dropped] = []
    for family in matrix.families.values():
        corners[family.name] = _family_cells(matrix, facts, family, maker, dropped, problems)
    aliases = _aliases(matrix, corners, problems)
    groups = {
        name: _group(matrix, name, matches, corners, problems)
        for name, matches in matrix.groups.items()
    }
    cells = tuple(cell for found in corners.values() for _, cell in found)
    problems += _unused(matrix, cells)
    if problems:
        raise BadInput.of(problems)
    return Resolution(
        registry=matrix.registry,
        cells=cells,
        dropped=tuple(dropped),
        stacks=tuple(maker.stacks.values()),
        aliases=aliases,
        groups=groups,
    )


def _unknown_distributions(matrix: Matrix, facts: Facts) -> Iterator[Problem]:
    for choice in matrix.operating_systems.values():
        if choice.distribution not in facts.distributions:
            yield Problem(
                message=f"no facts about the distribution {choice.distribution!r}",
                where=f"{matrix.source}:{choice.line}",
                hint=nearest(choice.distribution, facts.distributions),
            )


def _family_cells(
    matrix: Matrix,
    facts: Facts,
    family: Family,
    maker: Maker,
    dropped: list[Dropped],
    problems: list[Problem],
) -> list[tuple[dict[str, str], Cell]]:
    judge = Judge(matrix, facts, family)
    excludes = tuple(enumerate(family.exclude))
    alive = [False] * len(excludes)
    found = []
    for values in product(*(family.axes[axis] for axis in AXES)):
        corner = dict(zip(AXES, values, strict=True))
        reason = judge.verdict(corner)
        if reason is not None:
            name = maker.name(family, corner)
            dropped.append(Dropped(id=name, reason=reason.message, source=reason.source))
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
    return found


def _aliases(
    matrix: Matrix,
    corners: Mapping[str, Sequence[tuple[dict[str, str], Cell]]],
    problems: list[Problem],
) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    for family in matrix.families.values():
        taken: dict[str, str] = {}
        for alias, match in family.aliases.items():
            fitting = [cell.id for corner, cell in corners[family.name] if match.fits(corner)]
            if len(fitting) != 1:
                count = "no cell" if not fitting else f"{len(fitting)} cells"
                problems.append(
                    Problem(
                        message=f"family {family.name}: the alias {alias!r} matches {count}",
                        where=f"{matrix.source}:{match.line}",
                        hint=_alias_hint(fitting),
                    )
                )
                continue
            taken[alias] = fitting[0]
            names.setdefault(fitting[0], []).append(alias)
        for corner, cell in corners[family.name]:
            short = _short_tag(family, corner)
            if short and short not in taken:
                names.setdefault(cell.id, []).append(short)
    return {name: tuple(found) for name, found in names.items()}


def _alias_hint(fitting: Sequence[str]) -> str:
    if not fitting:
        return "name values of a cell that `dlimg list` shows"
    return f"add axes until one is left of: {', '.join(fitting[:4])}"


def _short_tag(family: Family, corner: Mapping[str, str]) -> str:
    """The tag without the axes that stand at the family's defaults, or nothing."""
    if not family.defaults or any(corner[axis] != value for axis, value in family.defaults.items()):
        return ""
    parts = [corner["version"], corner["accelerator"]]
    if "python" not in family.defaults:
        parts.append(f"py{corner['python']}")
    if "os" not in family.defaults:
        parts.append(corner["os"])
    if corner["flavour"] != "runtime":
        parts.append(corner["flavour"])
    return "-".join(parts)


def _group(
    matrix: Matrix,
    name: str,
    matches: Sequence[Match],
    corners: Mapping[str, Sequence[tuple[dict[str, str], Cell]]],
    problems: list[Problem],
) -> tuple[str, ...]:
    chosen = dict.fromkeys(
        cell.id
        for match in matches
        for family, found in corners.items()
        for corner, cell in found
        if match.fits({"family": family, **corner})
    )
    for match in matches:
        if not any(
            match.fits({"family": family, **corner})
            for family, found in corners.items()
            for corner, _ in found
        ):
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
