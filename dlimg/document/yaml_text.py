"""YAML text by position, and edits of it that leave every other byte as it is.

Each edit takes the text and a node of it, and returns the new text; its nodes are read again. An
entry is inserted in the style of its collection, and removed together with what inserted it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from dlimg.document.yaml_tree import LOADER

Kind = Literal["scalar", "sequence", "mapping", "alias"]
_LINE_END: Final = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
# A line may become this long, or as long as the longest that the text has.
_WIDTH: Final = 100
_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextNode:
    """A node with the span of its text; `flow` if it is written with brackets or braces.

    A mapping has `keys`, one for each of its items. The span of a block collection ends with its
    last item. `anchor` is the name after `&`, or after `*` of an alias.
    """

    kind: Kind
    start: int
    end: int
    value: str = ""
    style: str = ""
    flow: bool = False
    anchor: str = ""
    keys: tuple["TextNode", ...] = ()
    items: tuple["TextNode", ...] = ()

    def get(self, *path: str | int) -> "TextNode | None":
        """Return the node under these keys and positions; None without it, or behind an alias."""
        node: TextNode | None = self
        for step in path:
            if node is None:
                return None
            if isinstance(step, int):
                node = node.items[step] if step < len(node.items) else None
            else:
                node = node.entries.get(step)
        return node

    @property
    def entries(self) -> Mapping[str, "TextNode"]:
        """The values of a mapping by key."""
        return {key.value: item for key, item in zip(self.keys, self.items, strict=False)}

    @property
    def values(self) -> tuple[str, ...]:
        """The texts of a sequence's items."""
        return tuple(item.value for item in self.items)

    def walk(self) -> Iterator["TextNode"]:
        """Yield this node and all below it."""
        yield self
        for node in (*self.keys, *self.items):
            yield from node.walk()


def read_nodes(text: str) -> TextNode:
    """Return the root of a one-document text, which `parse_yaml` has accepted."""
    return _NodeReader(text).root()


class _NodeReader:
    def __init__(self, text: str) -> None:
        self.offset = len(_BOM) if text.startswith(_BOM) else 0
        body = text[self.offset :]
        self.starts = [0, *(match.end() for match in _LINE_END.finditer(body))]
        self.events: Iterator[yaml.Event] = yaml.parse(body, Loader=LOADER)
        self.body = body

    def root(self) -> TextNode:
        next(self.events)
        next(self.events)
        return self._node(next(self.events))

    def _position(self, mark: Any) -> int:  # noqa: ANN401 - two classes, by the loader
        position: int = self.starts[mark.line] + mark.column + self.offset
        return position

    def _node(self, event: yaml.Event) -> TextNode:
        start, end = self._position(event.start_mark), self._position(event.end_mark)
        anchor: str = getattr(event, "anchor", None) or ""
        match event:
            case yaml.AliasEvent():
                return TextNode(kind="alias", start=start, end=end, anchor=anchor)
            case yaml.ScalarEvent():
                if event.style in ("|", ">"):  # ends where the next line begins
                    end = len(self.body[: end - self.offset].rstrip()) + self.offset
                return TextNode(
                    kind="scalar",
                    start=start,
                    end=end,
                    value=event.value,
                    style=event.style or "",
                    anchor=anchor,
                )
            case _:
                return self._collection(event, start, anchor)

    def _collection(self, event: yaml.Event, start: int, anchor: str) -> TextNode:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        nodes = []
        while not isinstance(
            below := next(self.events), (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        ):
            nodes.append(self._node(below))
        flow = bool(event.flow_style)  # type: ignore[attr-defined]
        return TextNode(
            kind="mapping" if is_mapping else "sequence",
            start=start,
            end=self._position(below.end_mark) if flow else nodes[-1].end,
            flow=flow,
            anchor=anchor,
            keys=tuple(nodes[::2]) if is_mapping else (),
            items=tuple(nodes[1::2]) if is_mapping else tuple(nodes),
        )


def replace_node(text: str, node: TextNode, new: str) -> str:
    return text[: node.start] + new + text[node.end :]


def insert_item(text: str, sequence: TextNode, item: str, *, before: int | None = None) -> str:
    """Return the text with another item of a sequence, at its end or before another."""
    items = sequence.items
    if sequence.flow:
        if before == 0 and items:
            return _splice(text, items[0].start, f"{item}, ")
        return _insert_in_flow(text, sequence, items[:before], item)
    indent = " " * (_dash(text, items[0]))
    line = f"{indent}- {item}"
    if before is not None and before < len(items):
        return _splice(text, _line_start(text, items[before].start), line + _line_end(text))
    return _insert_lines(text, sequence.end, line)


def insert_entry(text: str, mapping: TextNode, key: str, value: str) -> str:
    """Return the text with another entry at the end of a mapping; the value is in flow style."""
    if mapping.flow:
        return _insert_in_flow(text, mapping, mapping.items, f"{key}: {value}")
    indent = " " * _column(text, mapping.keys[0].start)
    return _insert_lines(text, mapping.end, f"{indent}{key}: {value}")


def insert_block(text: str, mapping: TextNode, lines: str, *, after: str = "") -> str:
    """Return the text with lines at the end of a block mapping, or after the entry of a key.

    The lines are indented as a whole to where the mapping's keys begin.
    """
    indent = " " * _column(text, mapping.keys[0].start)
    new = _line_end(text).join(f"{indent}{line}" for line in lines.splitlines())
    end = mapping.entries[after].end if after in mapping.entries else mapping.end
    return _insert_lines(text, end, new)


def remove_item(text: str, sequence: TextNode, index: int) -> str:
    """Return the text without one item of a sequence that has others."""
    spans = [(item.start, item.end) for item in sequence.items]
    return _remove(text, sequence, spans, index)


def remove_entry(text: str, mapping: TextNode, key: str) -> str:
    """Return the text without an entry of a mapping that has others."""
    names = [node.value for node in mapping.keys]
    spans = [
        (name.start, max(name.end, item.end))
        for name, item in zip(mapping.keys, mapping.items, strict=True)
    ]
    return _remove(text, mapping, spans, names.index(key))


def _remove(text: str, collection: TextNode, spans: list[tuple[int, int]], index: int) -> str:
    start, end = spans[index]
    if not collection.flow:
        return _remove_lines(text, start, end)
    if index:
        return text[: spans[index - 1][1]] + text[end:]
    after = spans[1][0] if len(spans) > 1 else end
    return text[:start] + text[after:]


def _remove_lines(text: str, start: int, end: int) -> str:
    first, last = _line_start(text, start), _next_line(text, end)
    if not _LINE_END.search(text, end):  # the last line of a file that ends without a line end
        first = max((match.start() for match in _LINE_END.finditer(text, 0, first)), default=0)
    return text[:first] + text[last:]


def _insert_in_flow(text: str, collection: TextNode, before: tuple[TextNode, ...], new: str) -> str:
    if not before:
        return _splice(text, collection.end - 1, new)
    at = before[-1].end
    line = text[_line_start(text, at) : _next_line(text, at)].rstrip()
    if len(line) + len(new) + 2 <= max(_WIDTH, _longest_line(text)):
        return _splice(text, at, f", {new}")
    opening = text[_line_start(text, collection.start) :]
    indent = len(opening) - len(opening.lstrip(" ")) + 4
    return _splice(text, at, f",{_line_end(text)}{' ' * indent}{new}")


def _longest_line(text: str) -> int:
    return max(map(len, _LINE_END.split(text)))


def _insert_lines(text: str, end: int, lines: str) -> str:
    """Return the text with lines after the one that has the character before `end`."""
    at = _next_line(text, end)
    if at == len(text) and not _LINE_END.search(text, end):
        return f"{text}{_line_end(text)}{lines}"
    return _splice(text, at, lines + _line_end(text))


def _splice(text: str, at: int, new: str) -> str:
    return text[:at] + new + text[at:]


def _line_start(text: str, position: int) -> int:
    starts = (match.end() for match in _LINE_END.finditer(text, 0, position))
    first = len(_BOM) if text.startswith(_BOM) else 0
    return max(starts, default=first)


def _next_line(text: str, position: int) -> int:
    match = _LINE_END.search(text, position)
    return match.end() if match else len(text)


def _line_end(text: str) -> str:
    match = _LINE_END.search(text)
    return match[0] if match else "\n"


def _column(text: str, position: int) -> int:
    return position - _line_start(text, position)


def _dash(text: str, item: TextNode) -> int:
    """Return the column of the dash before an item of a block sequence."""
    start = _line_start(text, item.start)
    return text.index("-", start) - start
