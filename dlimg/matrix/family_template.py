"""The parts of a family that are copied into another matrix: packages, env, apt, stack."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from textwrap import dedent
from typing import Final

from dlimg.document.yaml_text import read_nodes
from dlimg.matrix.leaders import accelerator_kind
from dlimg.matrix.model import IgnoredFinding, Matrix, StackChoice
from dlimg.model import Cell, Lock

ANY: Final = "any"
# Keys of an entry that are taken over as they are written. Files are the project's own.
_WRITTEN_KEYS: Final = (
    *("env", "apt", "ports", "build", "override", "check_exceptions", "path_exceptions"),
)
# The rule whose findings need the wheels' libraries, which `dlimg lock` reads.
_OF_LIBRARIES: Final = "system-library"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTemplate:
    """The parts of a family of another matrix besides its axes.

    `additions` are further keys of its entry as text. `stack` is the one of its image, None on a
    CPU, and `leader` that stack's leader with its version.
    """

    name: str
    framework: str
    platform: str
    packages: Mapping[str, tuple[str, ...]]
    paired_packages: Mapping[str, tuple[str, ...]]
    additions: str
    stack: StackChoice | None
    leader: str


def family_template(text: str, matrix: Matrix, cell: Cell) -> FamilyTemplate:
    """Return the template of a cell's family; `text` is that of its matrix."""
    family = matrix.families[cell.family]
    kinds = {ANY, accelerator_kind(matrix, cell.accelerator), cell.flavour.value}
    return FamilyTemplate(
        name=family.name,
        framework=family.framework,
        platform=family.platform,
        packages=packages_of_kinds(family.packages, kinds),
        paired_packages=packages_of_kinds(family.paired_packages, kinds),
        additions=written_additions(text, family.name),
        stack=matrix.stacks[cell.stack.name] if cell.stack else None,
        leader=cell.stack.leader if cell.stack else "",
    )


def packages_of_kinds(
    packages: Mapping[str, tuple[str, ...]], kinds: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    wanted = set(kinds)
    return {kind: names for kind, names in packages.items() if kind in wanted and names}


def written_additions(text: str, family: str) -> str:
    """Return the keys of a family's entry that add to its images, as their lines are written."""
    entry = read_nodes(text).get("families", family)
    parts = []
    for key, item in zip(entry.keys, entry.items, strict=True) if entry else ():
        if key.value in _WRITTEN_KEYS:
            start = text.rindex("\n", 0, key.start) + 1
            end = text.find("\n", item.end)
            parts.append(dedent(text[start : end if end >= 0 else len(text)]).rstrip())
    return "\n".join(parts)


def ignored_for_libraries(
    ignored: Iterable[IgnoredFinding], locks: Iterable[Lock]
) -> tuple[IgnoredFinding, ...]:
    """Return what another matrix ignores about libraries of the wheels in these locks."""
    names = {wheel.name for lock in locks for wheel in lock.wheels}
    return tuple(
        entry
        for entry in ignored
        if entry.id == _OF_LIBRARIES and any(fnmatchcase(name, entry.about) for name in names)
    )
