"""Required checks: the names that the matrix lists by accelerator, flavour and family."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from dlimg.document import patterns
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlSequence
from dlimg.errors import Problem
from dlimg.matrix.model import Matrix, RequiredCheck
from dlimg.model import CPU, Cell, Flavour

ANY: Final = "any"
CUDA: Final = "cuda"
KEYS: Final = (ANY, CPU, CUDA, *(flavour.value for flavour in Flavour))


def read_required_checks(
    form: Validator, node: Node | None, families: Collection[str]
) -> dict[str, tuple[RequiredCheck, ...]]:
    """Return names and patterns of checks by key: `any`, `cpu`, `cuda`, a flavour or a family."""
    required = {}
    table = form.table(node, "required_checks", known=(*KEYS, *families))
    for key, entry in table.items():
        names = form.texts(entry, f"{key} of required_checks")
        lines = [item.line for item in entry.nodes] if isinstance(entry, YamlSequence) else []
        required[key] = tuple(
            RequiredCheck(line=line, name=name) for name, line in zip(names, lines, strict=False)
        )
        for check in required[key]:
            form.fits(check.line, f"{key} of required_checks:", check.name, patterns.CHECK)
    return required


def required_checks_of(
    matrix: Matrix, family: str, accelerator: str, flavour: str
) -> tuple[str, ...]:
    """Return the names and patterns that cells with these values require."""
    kind = CPU if accelerator == CPU else CUDA
    lists = (matrix.required.get(key, ()) for key in (ANY, kind, flavour, family))
    return tuple(dict.fromkeys(check.name for check in chain.from_iterable(lists)))


def required_check_lines(matrix: Matrix) -> Mapping[str, str]:
    """Return the first place of each name or pattern, as `source:line`."""
    lines: dict[str, str] = {}
    for check in chain.from_iterable(matrix.required.values()):
        lines.setdefault(check.name, f"{matrix.source}:{check.line}")
    return lines


def unused_required_checks(matrix: Matrix, cells: Sequence[Cell]) -> Iterator[Problem]:
    """Yield keys to which no cell belongs."""
    if not matrix.required:
        return
    used = {ANY, *(cell.family for cell in cells), *(cell.flavour.value for cell in cells)}
    used |= {CUDA if cell.is_cuda else CPU for cell in cells}
    for key, entries in matrix.required.items():
        if key not in used and entries:
            yield Problem(
                message=f"required_checks: no cell is {key}",
                where=f"{matrix.source}:{entries[0].line}",
                hint="remove it, or add such a cell",
            )
