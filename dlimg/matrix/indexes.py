"""Named package indexes of a matrix, and the packages that are routed to them.

They are explicit, as uv calls it: a routed package comes from its index alone, and nothing else
comes from there.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from packaging.utils import canonicalize_name

from dlimg.document import patterns
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, YamlSequence
from dlimg.errors import Problem
from dlimg.lock.routes import variable_part
from dlimg.matrix.model import IndexChoice, Matrix
from dlimg.model import NamedIndex

_KEYS: Final = ("url", "packages")
ANY: Final = "any"
CUDA: Final = "cuda"


def read_indexes(
    form: Validator, node: Node | None, stacks: Collection[str]
) -> tuple[IndexChoice, ...]:
    """Return the entries under `indexes`; `stacks` are the names that may stand for a kind."""
    indexes: list[IndexChoice] = []
    for name, entry in form.table(node, "indexes").items():
        line = node.lines[name] if isinstance(node, YamlMapping) else entry.line
        form.fits(line, "the name in indexes", name, patterns.NAME)
        subject = f"index {name}"
        table = form.table(entry, subject, known=_KEYS, needed=_KEYS)
        index = IndexChoice(
            name=name,
            line=line,
            url=form.matching(table.get("url"), f"url of {subject}", patterns.URL).rstrip("/"),
            packages=_read_packages(form, table.get("packages"), subject, stacks),
        )
        _check_overlap(form, index, indexes)
        indexes.append(index)
    return tuple(indexes)


def _read_packages(
    form: Validator, node: Node | None, subject: str, stacks: Collection[str]
) -> Mapping[str, frozenset[str]]:
    """Return normalized package names by kind of accelerator; a plain list is for `any`."""
    if node is None:
        return {}
    if not isinstance(node, YamlMapping):
        return {ANY: _read_names(form, node, f"packages of {subject}")}
    packages = {}
    for kind, entry in node.entries.items():
        if kind != CUDA and kind not in stacks and not re.fullmatch(patterns.KIND.pattern, kind):
            message = f"unknown kind of accelerator {kind!r} in packages of {subject}"
            hint = "use any, cpu, cuda, cuda with its major, or the name of a stack"
            form.refuse(node.lines[kind], message, hint)
        packages[kind] = _read_names(form, entry, f"{kind} in packages of {subject}")
    return packages


def _read_names(form: Validator, node: Node, subject: str) -> frozenset[str]:
    names = form.texts(node, subject)
    for item in node.nodes if isinstance(node, YamlSequence) else ():
        if isinstance(item, YamlScalar) and item.value in names:
            form.fits(item.line, f"an entry of {subject}", item.value, patterns.PACKAGE)
    return frozenset(canonicalize_name(name) for name in names)


def _check_overlap(form: Validator, index: IndexChoice, others: list[IndexChoice]) -> None:
    """Refuse a package that two indexes have for one kind, and names that uv takes for one."""
    for other in others:
        if variable_part(index.name) == variable_part(other.name):
            message = f"indexes {other.name} and {index.name} have the same variables"
            form.refuse(index.line, message, "give one of them another name")
        for kind in sorted(index.packages.keys() & other.packages.keys()):
            for package in sorted(index.packages[kind] & other.packages[kind]):
                message = f"{package} is routed to {other.name} and {index.name}, for {kind}"
                hint = "keep it in one of the two, or tell them apart by stacks"
                form.refuse(index.line, message, hint)


def indexes_for(matrix: Matrix, accelerator: str, kind: str) -> tuple[NamedIndex, ...]:
    """Return the indexes of an accelerator such as `cuda13.2`, of the kind `cuda13`.

    The most specific entry decides: the stack's, then the kind's, then `cuda`, then `any`.
    """
    routes: dict[str, str] = {}
    general = (CUDA,) if kind.startswith(CUDA) else ()
    for level in (ANY, *general, kind, accelerator):
        for index in matrix.indexes:
            routes |= dict.fromkeys(index.packages.get(level, ()), index.name)
    return tuple(
        NamedIndex(name=index.name, url=index.url, packages=packages)
        for index in matrix.indexes
        if (packages := frozenset(name for name in routes if routes[name] == index.name))
    )


def unused_indexes(matrix: Matrix, kinds: Mapping[str, str]) -> Iterator[Problem]:
    """Yield indexes that no accelerator uses; `kinds` are those of the accelerators in use."""
    used = {
        index.name
        for accelerator, kind in kinds.items()
        for index in indexes_for(matrix, accelerator, kind)
    }
    for choice in matrix.indexes:
        if choice.name not in used:
            yield Problem(
                message=f"no cell uses the index {choice.name}",
                where=f"{matrix.source}:{choice.line}",
                hint="remove it, or route packages of an accelerator that there is to it",
            )
