"""YAML text as a tree in which every scalar is text and every value has its line.

PyYAML's C parser does the reading; no tag is ever resolved, so `3.10` stays `3.10`. Merge keys
(`<<: *base`) are applied as readers of YAML 1.1 do.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import yaml

from dlimg.errors import BadInput, Problem

LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
# A matrix needs 6; recursion must end long before the interpreter's own limit.
DEPTH: Final = 50
_TOO_DEEP: Final = f"nested deeper than {DEPTH} levels"
MERGE: Final = "<<"
# libyaml has a limit of its own since 0.2.6 (PyYAML 6.0.4), and may refuse before its first event.
_REFUSED_AS_DEEP: Final = "nesting depth"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlScalar:
    """A scalar, exactly as written; `plain` without quotes."""

    line: int
    value: str
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlSequence:
    """A sequence."""

    line: int
    nodes: tuple["Node", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlMapping:
    """A mapping, with the line of every key, also of merged ones.

    `whole` if no repeated key was left out; `open` if a merge key could not be read, so that keys
    may be missing.
    """

    line: int
    entries: Mapping[str, "Node"]
    lines: Mapping[str, int]
    whole: bool = True
    open: bool = False


Node = YamlScalar | YamlSequence | YamlMapping
_EMPTY: Final = YamlMapping(line=1, entries=MappingProxyType({}), lines=MappingProxyType({}))


def parse_yaml(text: str, source: str) -> tuple[Node, tuple[Problem, ...]]:
    """Return the tree of a one-document YAML text, and the problems of its keys.

    Raises BadInput with the first syntax error, at `source:line`.
    """
    reader = _Reader(text, source)
    try:
        return reader.document(), tuple(reader.problems)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, source) from error
    except yaml.YAMLError as error:
        raise BadInput(f"not valid YAML: {_first_line(error)}", where=source) from error


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 0


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _syntax_error(error: yaml.MarkedYAMLError, text: str, source: str) -> BadInput:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}" if mark else source
    problem = (error.problem or "cannot be read").strip()
    if _REFUSED_AS_DEEP in problem:
        return BadInput(_TOO_DEEP, where=where)
    if mark and _is_indented_with_tabs(text, mark.line):
        return BadInput("a tab is used for indentation", where=where, hint="indent with spaces")
    hint = f"while {error.context.removeprefix('while ')}" if error.context else ""
    return BadInput(f"not valid YAML: {problem}", where=where, hint=hint)


def _merge_hint(key: YamlScalar) -> str:
    return f": `{MERGE}: [*first, *second]` merges both" if key.value == MERGE else ""


def _is_indented_with_tabs(text: str, line: int) -> bool:
    # Only YAML's own line ends: the others that Python knows would shift the count.
    lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)
    written = lines[line] if line < len(lines) else ""
    return "\t" in written[: len(written) - len(written.lstrip(" \t"))]


class _Reader:
    """Builds the tree from the parser's events; an anchor's node is built once."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=LOADER)
        self.anchors: dict[str, Node | None] = {}
        self.depth = 0

    def document(self) -> Node:
        next(self.events)  # the stream begins
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return _EMPTY
        root = self._node(next(self.events))
        next(self.events)  # the document ends
        after = next(self.events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise self._stop(after, "a second document begins", "keep one, without `---` between")
        return root

    def _stop(self, event: yaml.Event, message: str, hint: str = "") -> BadInput:
        where = f"{self.source}:{_line(event)}"
        return BadInput(message, where=where, hint=hint)

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._named(event)
        anchor: str | None = event.anchor  # type: ignore[attr-defined]
        if anchor:
            self.anchors[anchor] = None
        line = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = YamlScalar(line=line, value=event.value, plain=not event.style)
        else:
            self.depth += 1
            if self.depth > DEPTH:
                raise self._stop(event, _TOO_DEEP)
            is_table = isinstance(event, yaml.MappingStartEvent)
            node = self._table(line) if is_table else self._items(line)
            self.depth -= 1
        if anchor:
            self.anchors[anchor] = node
        return node

    def _named(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self.anchors:
            raise self._stop(event, f"no anchor before this is called {event.anchor!r}")
        node = self.anchors[event.anchor]
        if node is None:
            raise self._stop(event, "an anchor contains itself")
        return node

    def _items(self, line: int) -> YamlSequence:
        nodes = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            nodes.append(self._node(event))
        return YamlSequence(line=line, nodes=tuple(nodes))

    def _table(self, line: int) -> YamlMapping:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merges: list[Node] = []
        before = len(self.problems)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event)
            value = self._node(next(self.events))
            at = _line(event)
            if not isinstance(key, YamlScalar):
                self._refuse(at, "a key must be plain text")
            elif key.value in lines:
                hint = f"the first is in line {lines[key.value]}; keep one of the two"
                self._refuse(at, f"the key {key.value!r} is a repeat", hint + _merge_hint(key))
            else:
                lines[key.value] = at
                if key.value == MERGE:
                    merges.append(value if key.plain else key)
                else:
                    entries[key.value] = value
        table = YamlMapping(
            line=line,
            entries=MappingProxyType(entries),
            lines=MappingProxyType(lines),
            whole=len(self.problems) == before,
        )
        return self._merged(table, merges[0]) if merges else table

    def _merged(self, table: YamlMapping, merge: Node) -> YamlMapping:
        """Return the table with the keys that it merges; its own, and earlier ones, come first."""
        at = table.lines[MERGE]
        others = merge.nodes if isinstance(merge, YamlSequence) else (merge,)
        mappings = [other for other in others if isinstance(other, YamlMapping)]
        entries, lines = dict(table.entries), dict(table.lines)
        del lines[MERGE]
        for other in mappings:
            entries = {**other.entries, **entries}
            lines = {**other.lines, **lines}
        is_open = not others or len(mappings) != len(others)
        if isinstance(merge, YamlScalar) and not merge.plain and merge.value == MERGE:
            hint = f"write it without quotes: `{MERGE}: *base`"
            self._refuse(at, f"the merge key {MERGE!r} is quoted, which makes it a text", hint)
        elif is_open:
            hint = f"name an anchor, e.g. `{MERGE}: *base` of `base: &base {{...}}`"
            self._refuse(at, f"the merge key {MERGE!r} takes a mapping, or a list of them", hint)
        return YamlMapping(
            line=table.line,
            entries=MappingProxyType(entries),
            lines=MappingProxyType(lines),
            whole=table.whole and not is_open and all(other.whole for other in mappings),
            open=is_open or any(other.open for other in mappings),
        )

    def _refuse(self, line: int, message: str, hint: str = "") -> None:
        where = f"{self.source}:{line}"
        self.problems.append(Problem(message=message, where=where, hint=hint))
