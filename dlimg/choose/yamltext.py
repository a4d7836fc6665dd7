"""YAML text -> a tree in which every scalar is text and every value knows its line.

PyYAML's C parser does the reading; no tag is ever resolved, so `3.10` stays `3.10`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import yaml

from dlimg.errors import BadInput, Problem

LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A scalar, exactly as written; `plain` when it stands without quotes."""

    line: int
    value: str
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A sequence."""

    line: int
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapping, with the line of every key."""

    line: int
    entries: Mapping[str, "Node"]
    lines: Mapping[str, int]


Node = Text | Items | Table


def parse_yaml(text: str, source: str) -> Node:
    """The tree of a one-document YAML text.

    Raises BadInput with every duplicate key, or with the first syntax error, at `source:line`.
    """
    try:
        root = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, source) from error
    except yaml.YAMLError as error:
        raise BadInput(f"not valid YAML: {_first_line(error)}", where=source) from error
    problems: list[Problem] = []
    tree = _Converter(source, problems).node(root) if root else None
    if problems:
        raise BadInput.of(problems)
    return tree or Table(line=1, entries=MappingProxyType({}), lines=MappingProxyType({}))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _syntax_error(error: yaml.MarkedYAMLError, source: str) -> BadInput:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}" if mark else source
    problem = (error.problem or "cannot be read").strip()
    if "'\\t'" in problem or "tab character" in problem:
        return BadInput("a tab is used for indentation", where=where, hint="indent with spaces")
    hint = f"while {error.context.removeprefix('while ')}" if error.context else ""
    return BadInput(f"not valid YAML: {problem}", where=where, hint=hint)


class _Converter:
    """Turns PyYAML's nodes into ours once each, so that anchors cost nothing."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.done: dict[int, Node] = {}
        self.open: set[int] = set()

    def node(self, raw: yaml.Node) -> Node:
        known = self.done.get(id(raw))
        if known is not None:
            return known
        line = raw.start_mark.line + 1
        if id(raw) in self.open:
            raise BadInput("an anchor contains itself", where=f"{self.source}:{line}")
        self.open.add(id(raw))
        node = self._convert(raw, line)
        self.open.discard(id(raw))
        self.done[id(raw)] = node
        return node

    def _convert(self, raw: yaml.Node, line: int) -> Node:
        if isinstance(raw, yaml.MappingNode):
            return self._table(raw, line)
        if isinstance(raw, yaml.SequenceNode):
            return Items(line=line, nodes=tuple(self.node(item) for item in raw.value))
        plain = isinstance(raw, yaml.ScalarNode) and raw.style is None
        return Text(line=line, value=str(raw.value), plain=plain)

    def _table(self, raw: yaml.MappingNode, line: int) -> Table:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in raw.value:
            key_line = key_node.start_mark.line + 1
            where = f"{self.source}:{key_line}"
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self.problems.append(Problem(message="a key must be plain text", where=where))
            elif key in entries:
                message = f"the key {key!r} stands here again"
                hint = f"it stands first in line {lines[key]}; keep one of the two"
                self.problems.append(Problem(message=message, where=where, hint=hint))
            else:
                entries[key] = self.node(value_node)
                lines[key] = key_line
        return Table(line=line, entries=MappingProxyType(entries), lines=MappingProxyType(lines))
