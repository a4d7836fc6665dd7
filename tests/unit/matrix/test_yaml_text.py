"""Edits of YAML text: each leaves every other byte, and removal undoes insertion."""

from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

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

FLOW = "a: [x, y]  # two\nb: {k: v, l: w}\nc: 中\n"
BLOCK = "a:\n  - x  # first\n  - y\n\n# about b\nb:\n  k: v\n  l: w   # last\nc: 1\n"
COMPACT = "a:\n- x\n- y\nb:\n  k:\n  - 1\n  l: |\n    text\n    more\n\nc: 1\n"
ANCHORS = "n: &n 中文\na: &a [x, *n]\nd: &d {l: v}\nb: &b\n  k: *a\n  <<: *d\nc: *b\n"


def at(text: str, *path: str | int) -> TextNode:
    node = read_nodes(text).get(*path)
    assert node is not None
    return node


def plain(text: str) -> object:
    return yaml.load(text.lstrip("\ufeff"), Loader=yaml.BaseLoader)  # noqa: S506 - all text


@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n")])
@pytest.mark.parametrize("text", [FLOW, BLOCK, COMPACT])
@pytest.mark.parametrize("end", ["", "\n", "# the end"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# 开始\n"])
def test_an_edit_and_its_inverse(
    text: str, end: str, start: str, change: Callable[[str], str]
) -> None:
    text = change(
        start + text.rstrip("\n") + end if not end.startswith("#") else start + text + end
    )
    longer = insert_item(text, at(text, "a"), "z")
    assert plain(longer)["a"] == ["x", "y", "z"]  # type: ignore[index]
    assert remove_item(longer, at(longer, "a"), 2) == text
    first = insert_item(text, at(text, "a"), "z", before=0)
    assert plain(first)["a"] == ["z", "x", "y"]  # type: ignore[index]
    assert remove_item(first, at(first, "a"), 0) == text
    more = insert_entry(text, at(text, "b"), "m", "[1]")
    assert plain(more)["b"]["m"] == ["1"]  # type: ignore[index]
    assert remove_entry(more, at(more, "b"), "m") == text
    top = insert_block(text, at(text), "new:\n  - {q: w}", after="a")
    assert list(plain(top)) == ["a", "new", "b", "c"]  # type: ignore[call-overload]
    assert remove_entry(top, at(top), "new") == text
    last = insert_block(text, at(text), "new: 1")
    assert list(plain(last)) == ["a", "b", "c", "new"]  # type: ignore[call-overload]
    assert remove_entry(last, at(last), "new") == text
    ends = {"\r\n"} if "\r\n" in text else {"\n"}
    assert {line[len(line.rstrip()) :] for line in top.splitlines(keepends=True)} <= {*ends, ""}


def test_spans_of_anchors_and_aliases() -> None:
    root = read_nodes(ANCHORS)
    assert root.entries["a"].anchor == "a"
    assert [node.kind for node in root.entries["a"].items] == ["scalar", "alias"]
    alias = at(ANCHORS, "b", "k")
    assert ANCHORS[alias.start : alias.end] == "*a"
    replaced = replace_node(ANCHORS, at(ANCHORS, "c"), "[1]")
    assert replaced == ANCHORS.replace("c: *b", "c: [1]")
    merged = at(ANCHORS, "b", "<<")
    assert (merged.kind, merged.anchor) == ("alias", "d")


def test_a_long_line_is_broken_and_mended() -> None:
    items = ", ".join(f"item-{number:03}" for number in range(9))
    text = f"top:\n  a: [{items}]\n"
    longer = insert_item(text, at(text, "top", "a"), "another-item")
    assert longer == f"top:\n  a: [{items},\n      another-item]\n"
    assert remove_item(longer, at(longer, "top", "a"), 9) == text


WORDS = st.text("abc中é ", min_size=1, max_size=4).map(lambda text: f'"{text}"')


@given(
    values=st.lists(WORDS, min_size=1, max_size=5),
    new=WORDS,
    flow=st.booleans(),
    position=st.integers(0, 5),
    indent=st.integers(0, 3),
    comment=st.sampled_from(["", "  # 注", " # b"]),
)
def test_any_item_can_be_inserted_and_removed(
    values: list[str], new: str, position: int, indent: int, comment: str, *, flow: bool
) -> None:
    lines = "".join(f"\n{' ' * indent}- {value}{comment}" for value in values)
    text = f"x: 1\na: [{', '.join(values)}]{comment}\nb: 2\n" if flow else f"a:{lines}\nb: 2\n"
    position = min(position, len(values))
    before = position if position < len(values) else None
    longer = insert_item(text, at(text, "a"), new, before=before)
    expected = [value.strip('"') for value in [*values[:position], new, *values[position:]]]
    assert plain(longer)["a"] == expected  # type: ignore[index]
    assert remove_item(longer, at(longer, "a"), position) == text
