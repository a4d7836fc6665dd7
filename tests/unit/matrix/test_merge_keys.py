"""Merge keys and anchors of a matrix: read as YAML 1.1 has them, or refused in one line."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dlimg.document.yaml_tree import Node, YamlMapping, YamlScalar, parse_yaml
from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts

FACTS = read_facts()
PAIRS = tuple(pairwise("abcdefghijklmnop"))
TWO_FAMILIES = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
families:
  jax: &jax
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cpu], flavour: [runtime]}
    packages: {cpu: ["jax=={version}"]}
    defaults: {python: "3.13", os: debian13}
  jax-nlp: {<<: *jax, packages: {cpu: ["jax=={version}", transformers]}}
groups: {default: [{}]}
"""


def plain(node: Node) -> object:
    """Return the tree as mappings, lists and texts."""
    match node:
        case YamlScalar():
            return node.value
        case YamlMapping():
            return {key: plain(value) for key, value in node.entries.items()}
        case _:
            return [plain(each) for each in node.nodes]


def problems_of(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        resolve(parse_matrix(text, "matrix.yaml"), FACTS)
    return [str(problem) for problem in caught.value.problems]


def test_a_family_merges_another_and_overrides_a_key() -> None:
    cells = resolve(parse_matrix(TWO_FAMILIES, "matrix.yaml"), FACTS).cells
    assert {cell.id: cell.requirements for cell in cells} == {
        "jax-0.12.0.1-cpu-py3.13-debian13": ("jax==0.12.0.1", "pip"),
        "jax-nlp-0.12.0.1-cpu-py3.13-debian13": ("jax==0.12.0.1", "transformers", "pip"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}",
        "a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}",
        "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, y: {q: w}}",
        "b: {<<: {x: 1}, y: 2}",
    ],
)
def test_merges_are_those_of_another_reader(text: str) -> None:
    tree, problems = parse_yaml(text, "f")
    assert not problems
    assert plain(tree) == _as_text(YAML(typ="safe", pure=True).load(text))


def _as_text(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_text(each) for key, each in value.items()}
    return str(value)


NAMES = st.sampled_from(["k1", "k2", "k3", "k4"])
TABLES = st.dictionaries(NAMES, st.integers(0, 9), max_size=4)


@given(tables=st.lists(TABLES, min_size=1, max_size=4), own=TABLES)
def test_any_list_of_merges_is_that_of_another_reader(
    tables: list[dict[str, int]], own: dict[str, int]
) -> None:
    lines = [f"t{number}: &t{number} {table}" for number, table in enumerate(tables)]
    names = ", ".join(f"*t{number}" for number in range(len(tables)))
    keys = "".join(f", {key}: {value}" for key, value in own.items())
    text = "\n".join([*lines, f"merged: {{<<: [{names}]{keys}}}"])
    tree, problems = parse_yaml(text, "f")
    assert not problems
    assert plain(tree) == _as_text(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize("key", ['"<<"', "'<<'"])
def test_a_quoted_merge_key_is_one_problem(key: str) -> None:
    (result,) = problems_of(TWO_FAMILIES.replace("<<", key))
    assert result.splitlines() == [
        "matrix.yaml:9: the merge key '<<' is quoted, which makes it a text",
        "  hint: write it without quotes: `<<: *base`",
    ]


def test_aliases_of_aliases_are_read_in_an_instant() -> None:
    lists = ["a: &a [x, x]", *(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in PAIRS)]
    assert "matrix.yaml:1: unknown key 'a' in the matrix" in problems_of("\n".join(lists))[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("<<: jax", "matrix.yaml:9: the merge key '<<' takes a mapping, or a list of them"),
        ("<<: [*jax, jax]", "matrix.yaml:9: the merge key '<<' takes a mapping, or a list"),
        ("<<: []", "matrix.yaml:9: the merge key '<<' takes a mapping, or a list of them"),
        ("<<: *jx", "matrix.yaml:9: no anchor before this is called 'jx'"),
        ("<<: *jax, <<: *jax", "matrix.yaml:9: the key '<<' is a repeat"),
    ],
)
def test_a_wrong_merge_is_one_problem(wrong: str, message: str) -> None:
    result = problems_of(TWO_FAMILIES.replace("<<: *jax", wrong))
    assert [text.splitlines()[0][: len(message)] for text in result] == [message]


def test_a_merged_key_keeps_its_line() -> None:
    text = TWO_FAMILIES.replace('jax=={version}"]}\n', 'jax=={release}"]}\n', 1)
    (problem,) = problems_of(text)
    assert problem.splitlines()[0] == (
        "matrix.yaml:7: cpu of the packages of family jax: unknown placeholder '{release}'"
    )
