"""Parsing of selectors: excludes, aliases and groups choose cells by the values of axes."""

from collections.abc import Mapping
from typing import Final

from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlSequence
from dlimg.errors import nearest
from dlimg.matrix.model import (
    CUDNN,
    FAMILY,
    PYTHON_SOURCE,
    PYTHON_SOURCES,
    SELECTABLE,
    CellSelector,
    CudnnOverride,
    Exclude,
    Family,
)

_EXCEPTION: Final = "except"
_WHY: Final = "why"
_EXCLUDE_AXES: Final = (*SELECTABLE, PYTHON_SOURCE)


def read_selector(
    form: Validator,
    node: Node,
    axes: Mapping[str, tuple[str, ...]],
    subject: str,
    known: tuple[str, ...],
) -> CellSelector:
    """Return the values of some axes; a value that its axis does not have is an error.

    `known` are the keys that the mapping may have; those that are no axis are skipped.
    """
    values = {}
    for axis, value in form.table(node, subject, known=known).items():
        if axis not in axes and axis not in SELECTABLE:
            continue  # such as the `why` of an exclude
        chosen = form.one_or_more(value, f"{axis} of {subject}")
        for name in chosen:
            # An axis that is empty or wrong has been reported already.
            if axes.get(axis) and name not in axes[axis]:
                hint = nearest(name, axes[axis])
                form.refuse(value.line, f"{subject}: no {axis} is {name!r}", hint)
        values[axis] = chosen
    return CellSelector(line=node.line, values=values)


def read_excludes(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], owner: str
) -> tuple[Exclude, ...]:
    """Return the excludes of this list. `axes` has the values that they may name."""
    axes = {**axes, PYTHON_SOURCE: PYTHON_SOURCES}
    known = (*((FAMILY,) if FAMILY in axes else ()), *_EXCLUDE_AXES)
    items = form.items(node, f"the exclude list of {owner}")
    return tuple(_read_exclude(form, item, axes, f"an exclude of {owner}", known) for item in items)


def _read_exclude(
    form: Validator,
    node: Node,
    axes: Mapping[str, tuple[str, ...]],
    subject: str,
    known: tuple[str, ...],
) -> Exclude:
    table = form.table(node, subject)
    if isinstance(node, YamlMapping) and _WHY not in table:
        hint = "add `why:` with the reason, for those who come after"
        form.refuse(node.line, f"{subject} does not say why", hint)
    why = form.prose(table.get(_WHY), _WHY)
    match = read_selector(form, node, axes, subject, (*known, _EXCEPTION, _WHY))
    if isinstance(node, YamlMapping) and not match.values:
        form.refuse(node.line, f"{subject} names no axis, so it would drop everything")
    name = f"the `{_EXCEPTION}` of {subject}"
    exceptions = []
    for item in _one_or_more(form, table.get(_EXCEPTION), name):
        exception = read_selector(form, item, axes, name, known)
        if isinstance(item, YamlMapping) and not exception.values:
            form.refuse(exception.line, f"{name} names no axis, so the exclude would drop nothing")
        exceptions.append(exception)
    return Exclude(match=match, why=why, exceptions=tuple(exceptions))


def _one_or_more(form: Validator, node: Node | None, subject: str) -> tuple[Node, ...]:
    """Return the entries of a list that is not empty, or the only one in its place."""
    if isinstance(node, YamlSequence):
        if not node.nodes:
            form.refuse(node.line, f"{subject} is an empty list", "remove it")
        return node.nodes
    return (node,) if node is not None else ()


def read_overrides(
    form: Validator, node: Node | None, axes: Mapping[str, tuple[str, ...]], owner: str
) -> tuple[CudnnOverride, ...]:
    """Return the overrides of this list: each names a cuDNN and the reason for it."""
    overrides = []
    subject = f"an override of {owner}"
    for item in form.items(node, f"the override list of {owner}"):
        table = form.table(item, subject, needed=(CUDNN, _WHY))
        match = read_selector(form, item, axes, subject, (*SELECTABLE, _WHY))
        overrides.append(CudnnOverride(match=match, why=form.prose(table.get(_WHY), _WHY)))
    return tuple(overrides)


def values_by_axis(families: Mapping[str, Family]) -> dict[str, tuple[str, ...]]:
    """Return all values of each axis over these families, and the families themselves.

    An axis without values in one of them has none here: its values are not known yet.
    """
    values: dict[str, tuple[str, ...]] = {FAMILY: tuple(families)}
    for axis in SELECTABLE:
        each = [family.axes[axis] for family in families.values()]
        values[axis] = tuple(dict.fromkeys(name for axis_values in each for name in axis_values))
        if not all(each):
            values[axis] = ()
    return values


def read_groups(
    form: Validator, node: Node | None, families: Mapping[str, Family]
) -> dict[str, tuple[CellSelector, ...]]:
    """Return the groups: each a list of selectors over `family` and the axes, without bad ones."""
    groups = {}
    for name, entry in form.table(node, "groups").items():
        if isinstance(entry, YamlSequence) and not entry.nodes:
            hint = "name at least one match, or remove it; `{}` matches all cells"
            form.refuse(entry.line, f"group {name} is an empty list", hint)
        selectors = []
        for item in form.items(entry, f"group {name}"):
            before = len(form.problems)
            selector = _group_selector(form, item, families, f"group {name}")
            if len(form.problems) == before:
                selectors.append(selector)
        groups[name] = tuple(selectors)
    return groups


def _group_selector(
    form: Validator, node: Node, families: Mapping[str, Family], subject: str
) -> CellSelector:
    names = {FAMILY: tuple(families)}
    selector = read_selector(form, node, names, subject, (FAMILY, *SELECTABLE))
    chosen = selector.values.get(FAMILY, tuple(families))
    allowed = values_by_axis({name: families[name] for name in chosen if name in families})
    for axis, values in selector.values.items():
        # An axis that is empty or wrong has been reported already.
        if axis in SELECTABLE and allowed[axis]:
            for value in values:
                if value not in allowed[axis]:
                    hint = nearest(value, allowed[axis])
                    form.refuse(selector.line, f"{subject}: no {axis} is {value!r}", hint)
    return selector
