"""Which checks an image must pass: names by what a cell is, as the matrix lists them."""

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
    """Names and patterns of checks by key: `any`, `cpu`, `cuda`, a flavour or a family."""
    found = {}
    table = form.table(node, "required_checks", known=(*KEYS, *families))
    for key, entry in table.items():
        names = form.texts(entry, f"{key} of required_checks")
        lines = [item.line for item in entry.nodes] if isinstance(entry, YamlSequence) else []
        found[key] = tuple(
            RequiredCheck(line=line, name=name) for name, line in zip(names, lines, strict=False)
        )
        for one in found[key]:
            form.fits(one.line, f"{key} of required_checks:", one.name, patterns.CHECK)
    return found


def required_checks_of(
    matrix: Matrix, family: str, accelerator: str, flavour: str
) -> tuple[str, ...]:
    """What is required of the cells with these values; nothing where nothing is listed."""
    kind = CPU if accelerator == CPU else CUDA
    found = (matrix.required.get(key, ()) for key in (ANY, kind, flavour, family))
    return tuple(dict.fromkeys(one.name for one in chain.from_iterable(found)))


def required_check_lines(matrix: Matrix) -> Mapping[str, str]:
    """Where each name or pattern stands first."""
    found: dict[str, str] = {}
    for one in chain.from_iterable(matrix.required.values()):
        found.setdefault(one.name, f"{matrix.source}:{one.line}")
    return found


def unused_required_checks(matrix: Matrix, cells: Sequence[Cell]) -> Iterator[Problem]:
    """Keys that no cell has anything to do with."""
    if not matrix.required:
        return
    alive = {ANY, *(cell.family for cell in cells), *(cell.flavour.value for cell in cells)}
    alive |= {CUDA if cell.is_cuda else CPU for cell in cells}
    for key, entries in matrix.required.items():
        if key not in alive and entries:
            yield Problem(
                message=f"required_checks: no cell is {key}",
                where=f"{matrix.source}:{entries[0].line}",
                hint="remove it, or add such a cell",
            )
