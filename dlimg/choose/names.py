"""The names of cells beside their full tags: aliases that a family gives, and short tags."""

from collections.abc import Iterator, Mapping, Sequence

from dlimg.choose.matrix import Family, Match, Matrix
from dlimg.errors import Problem
from dlimg.model import Cell

Corners = Sequence[tuple[dict[str, str], Cell]]


def cell_names(
    matrix: Matrix, corners: Mapping[str, Corners], problems: list[Problem]
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
    matrix: Matrix, family: Family, corners: Corners, problems: list[Problem]
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
        problems.append(_problem(matrix, family, match, message, _fitting_hint(fitting)))
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
            yield _problem(matrix, family, family.aliases[alias], message, "choose another name")


def _problem(matrix: Matrix, family: Family, match: Match, message: str, hint: str) -> Problem:
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
