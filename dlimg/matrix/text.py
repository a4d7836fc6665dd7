"""The text of a matrix while it is edited: axes, stacks, packages, excludes and aliases by name."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from dlimg.document.versions import numbers
from dlimg.document.yaml_text import (
    TextNode,
    insert_block,
    insert_entry,
    insert_item,
    read_nodes,
    remove_entry,
    remove_item,
    replace_node,
)
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.matrix.model import AXES, FAMILY, SELECTABLE
from dlimg.matrix.survey import Survey
from dlimg.model import CPU

# Texts that a reader of YAML would not take for a number, a date or a truth value.
_PLAIN: Final = re.compile(r"(?![0-9]+(?:\.[0-9]*)?\Z)[A-Za-z0-9][A-Za-z0-9._-]*")
_EXCLUDE: Final = "exclude"
_BY_NUMBER: Final = ("version", "python")


def quoted(value: str, like: Sequence[TextNode] = ()) -> str:
    """Return a text as a scalar, in the quotes of its neighbours or in those that it needs."""
    marks = [node.style for node in like if node.style in ("'", '"')]
    if marks:
        return f"{marks[-1]}{value}{marks[-1]}"
    is_plain = _PLAIN.fullmatch(value) or (like and all(node.style == "" for node in like))
    return value if is_plain else f'"{value}"'


def flow_list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, values))}]"


def selector_text(values: Mapping[str, str | Sequence[str]], extra: str = "") -> str:
    """Return `{version: 2.6.0, os: debian12}`, with `extra` entries behind."""
    parts = []
    for axis in (FAMILY, *SELECTABLE):
        if axis in values:
            value = values[axis]
            parts.append(f"{axis}: {quoted(value) if isinstance(value, str) else flow_list(value)}")
    return f"{{{', '.join([*parts, *([extra] if extra else [])])}}}"


class MatrixText:
    """A matrix file's text; each method edits it and leaves the rest as it is."""

    def __init__(self, text: str, source: str, facts: Facts) -> None:
        self.text = text
        self.source = source
        self.facts = facts
        self.last_root = (text, read_nodes(text))
        self.last_survey = (text, Survey(text, source, facts))

    @property
    def root(self) -> TextNode:
        if self.last_root[0] != self.text:
            self.last_root = (self.text, read_nodes(self.text))
        return self.last_root[1]

    def survey(self) -> Survey:
        """Return the combinations of today's text. Raises BadInput."""
        if self.last_survey[0] != self.text:
            self.last_survey = (self.text, Survey(self.text, self.source, self.facts))
        return self.last_survey[1]

    def node(self, *path: str | int) -> TextNode | None:
        """Return the node at a path if it is written there, and not merged or an alias."""
        node = self.root.get(*path)
        return node if node is not None and node.kind != "alias" else None

    def mapping(self, *path: str | int) -> TextNode:
        """Return the mapping at a path. Raises BadInput if it is written elsewhere."""
        node = self.node(*path)
        if node is None or node.kind != "mapping":
            name = ".".join(map(str, path)) or "the matrix"
            message = f"{name} is not written as a mapping of its own, so it cannot be edited"
            raise BadInput(message, where=self.source, hint="write it out where it is an alias")
        return node

    def add_entry(self, path: tuple[str | int, ...], key: str, value: str) -> None:
        self.text = insert_entry(self.text, self.mapping(*path), key, value)

    def add_block(self, path: tuple[str | int, ...], lines: str, after: str = "") -> None:
        """Add an entry of several lines, or in flow style where its mapping has that."""
        mapping = self.mapping(*path)
        if mapping.flow:
            message = f"{'.'.join(map(str, path))} is written in braces"
            hint = "write it with one key a line"
            raise BadInput(message, where=self.source, hint=hint)
        self.text = insert_block(self.text, mapping, lines, after=after)

    def remove(self, path: tuple[str | int, ...]) -> None:
        """Remove an entry or item; a collection that would be empty goes with its last one."""
        parent = self.root.get(*path[:-1])
        last = path[-1]
        if parent is None or self.root.get(*path) is None:
            return
        if len(parent.items) == 1 and len(path) > 1:
            self.remove(path[:-1])
        elif isinstance(last, int):
            self.text = remove_item(self.text, parent, last)
        else:
            self.text = remove_entry(self.text, parent, last)

    def add_axis_value(
        self, family: str, axis: str, value: str, values: Sequence[str] = ()
    ) -> None:
        """Let a family have another value of an axis; axes that it shares become its own.

        An axis that is not written yet has these `values`, or else those of today.
        """
        today = self.survey().matrix.families[family].axes[axis]
        if value in today:
            return
        values = values or today
        if self.node("families", family, "axes") is None:
            self._write_own_axes(family)
        node = self.root.get("families", family, "axes", axis)
        if node is None:
            self.add_entry(("families", family, "axes"), axis, flow_list([*values, value]))
        elif node.kind == "alias":
            self.text = replace_node(self.text, node, flow_list([*values, value]))
        else:
            item = quoted(value, node.items)
            position = _position(axis, node.values, value)
            self.text = insert_item(self.text, node, item, before=position)

    def _write_own_axes(self, family: str) -> None:
        axes = self.survey().written.families[family].axes
        own = ", ".join(f"{axis}: {flow_list(axes[axis])}" for axis in AXES if axes[axis])
        node = self.root.get("families", family, "axes")
        if node is None:
            self.add_entry(("families", family), "axes", f"{{{own}}}")
        else:
            self.text = replace_node(self.text, node, f"{{{own}}}")

    def add_exclude(
        self, family: str, match: Mapping[str, str], stays: Mapping[str, str], why: str
    ) -> None:
        """Add an exclude of a family, or of all for an empty name; what fits `stays` stays."""
        exception = f"except: {selector_text(stays)}, " if stays else ""
        entry = selector_text(match, f'{exception}why: "{why}"')
        owner: tuple[str, ...] = ("families", family) if family else ()
        excludes = self.node(*owner, _EXCLUDE)
        if excludes is not None:
            self.text = insert_item(self.text, excludes, entry)
        elif self.mapping(*owner).flow:
            self.add_entry(owner, _EXCLUDE, f"[{entry}]")
        else:
            before = ("defaults", "packages") if family else ("axes", "stacks", "operating_systems")
            keys = self.mapping(*owner).entries
            after = next((key for key in before if key in keys), "")
            self.add_block(owner, f"{_EXCLUDE}:\n  - {entry}", after)

    def has_own_excludes(self, family: str) -> bool:
        """Return whether excludes of this family alone can be written in its entry."""
        entry = self.node("families", family)
        if entry is None or entry.kind != "mapping":
            return False
        anchors = {node.anchor for node in self.root.walk() if node.kind == "alias"}
        if entry.anchor and entry.anchor in anchors:
            return False  # what is written there holds for the entries that merge it, too
        excludes = entry.get(_EXCLUDE)
        if excludes is None:
            return not self.survey().matrix.families[family].exclude
        return excludes.kind != "alias"

    def add_exception(self, owner: str, index: int, stays: Mapping[str, str]) -> None:
        """Let an exclude, of a family or of all, spare what fits `stays` as well."""
        path: tuple[str | int, ...] = (*(("families", owner) if owner else ()), _EXCLUDE, index)
        exclude = self.mapping(*path)
        exceptions = exclude.get("except")
        entry = selector_text(stays)
        if exceptions is None:
            if exclude.flow:
                self.text = _before_why(self.text, exclude, f"except: {entry}, ")
            else:
                self.add_entry(path, "except", entry)
        elif exceptions.kind == "sequence":
            self.text = insert_item(self.text, exceptions, entry)
        elif exceptions.flow:
            written = self.text[exceptions.start : exceptions.end]
            self.text = replace_node(self.text, exceptions, f"[{written}, {entry}]")
        else:
            message = f"the `except` in {'.'.join(map(str, path))} cannot be extended"
            hint = "write it in braces: except: {os: debian13}"
            raise BadInput(message, where=self.source, hint=hint)

    def remove_exception(self, owner: str, index: int, position: int) -> None:
        """Take one exception of an exclude out; the last of two stands without brackets."""
        path: tuple[str | int, ...] = (*(("families", owner) if owner else ()), _EXCLUDE, index)
        exceptions = self.root.get(*path, "except")
        if exceptions is None or exceptions.kind != "sequence":
            self.remove((*path, "except"))
            return
        if len(exceptions.items) == 2 and exceptions.flow:
            other = exceptions.items[1 - position]
            written = self.text[other.start : other.end]
            self.text = replace_node(self.text, exceptions, written)
            return
        self.remove((*path, "except", position))

    def remove_value(self, path: tuple[str | int, ...], value: str) -> None:
        """Remove a value from the list at a path if it is written there, beside others."""
        node = self.node(*path)
        if node is not None and value in node.values and len(node.items) > 1:
            self.text = remove_item(self.text, node, node.values.index(value))


def _before_why(text: str, exclude: TextNode, new: str) -> str:
    """Return the text with a new entry before an exclude's `why`."""
    keys = {key.value: key for key in exclude.keys}
    at = keys["why"].start
    return text[:at] + new + text[at:]


def _position(axis: str, values: Sequence[str], value: str) -> int | None:
    """Return where a value goes in a sorted axis, newest or oldest first; None is the end."""
    if axis == "accelerator":
        return values.index(CPU) if value != CPU and values[-1] == CPU else None
    if axis not in _BY_NUMBER:
        return None
    ordered = [numbers(each) for each in values]
    newest_first = axis == "version" if len(ordered) == 1 else ordered[0] > ordered[-1]
    if ordered != sorted(ordered, reverse=newest_first):
        return None
    new = numbers(value)
    for position, other in enumerate(ordered):
        if (new > other) if newest_first else (new < other):
            return position
    return None
