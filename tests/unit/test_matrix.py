"""The matrix file: what it may say, and what is said about one that is wrong."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from dlimg.choose.facts import parse_facts
from dlimg.choose.read_matrix import parse_matrix
from dlimg.choose.resolve import Resolution, resolve
from dlimg.errors import BadInput

ROOT = Path(__file__).parent.parent.parent
FACTS = parse_facts(
    {path.name: path.read_text() for path in sorted((ROOT / "dlimg/facts").glob("*.yaml"))}
)
SCHEMA = json.loads((ROOT / "dlimg/choose/matrix.schema.json").read_text())

GOOD = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: 13.2, leader: torch==2.15.0, python: 3.13}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu, cuda13.2]
      python: [3.11, 3.12, 3.13]
      os: [debian13]
      flavour: [runtime, compile]
    packages:
      cpu: ["jax=={version}"]
      cuda13: ["jax[cuda13]=={version}"]
    defaults: {python: 3.13, os: debian13}
    exclude:
      - {python: 3.12, why: the distribution has its own}
    aliases:
      latest: {accelerator: cuda13.2, flavour: runtime}
groups:
  default:
    - {family: jax, accelerator: cpu, flavour: runtime}
"""


def tree_of(text: str) -> object:
    """The tree as dlimg reads it: all text."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes nothing but text


def cells_of(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        cells_of(text)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_good_matrix() -> None:
    found = cells_of(GOOD)
    assert [cell.id for cell in found.cells] == [
        "jax-0.12.0.1-cpu-py3.13-debian13",
        "jax-0.12.0.1-cpu-py3.13-debian13-compile",
        "jax-0.12.0.1-cuda13.2-py3.13-debian13",
        "jax-0.12.0.1-cuda13.2-py3.13-debian13-compile",
    ]
    assert found.cells[2].requirements == ("jax[cuda13]==0.12.0.1", "pip")
    assert found.aliases["jax-0.12.0.1-cuda13.2-py3.13-debian13"] == ("latest", "0.12.0.1-cuda13.2")
    assert found.groups["default"] == ("jax-0.12.0.1-cpu-py3.13-debian13",)


def test_what_drops_says_why_and_who_says_so() -> None:
    dropped = {one.id: one for one in cells_of(GOOD).dropped}
    fact = dropped["jax-0.12.0.1-cpu-py3.11-debian13"]
    assert fact.reason.startswith("jax 0.12.0.1 has no wheel for Python 3.11")
    assert fact.source == "PyPI metadata of jax 0.12.0.1"
    wish = dropped["jax-0.12.0.1-cpu-py3.12-debian13"]
    assert (wish.reason, wish.source) == ("the distribution has its own", "matrix.yaml:19")


@pytest.mark.parametrize("written", ["3.10", "'3.10'", '"3.10"'])
def test_versions_are_text(written: str) -> None:
    text = GOOD.replace("python: [3.11, 3.12, 3.13]", f"python: [{written}, 3.12, 3.13]")
    assert "jax-0.12.0.1-cpu-py3.10-debian13" in {one.id for one in cells_of(text).dropped}


# What is written instead of what, and what must be said about it: message, place, hint.
BAD = [
    ("version: [0.12.0.1]", "version: []", ["version of family jax is an empty list", ":9"]),
    ("version: [0.12.0.1]", "version: 0.12.0.1", ["must be a list", ":9"]),
    ("version: [0.12.0.1]", "version: [0.12.0.1, 0.12.0.1]", ["stands twice", ":9"]),
    ("version: [0.12.0.1]", "version: [newest]", ["'newest' is not a version", ":9"]),
    ("      os: [debian13]", "      os: [debian31]", ["unknown os", "mean 'debian13'", ":12"]),
    ("python: [3.11, 3.12", "python: [3.11.2, 3.12", ["is not a minor", ":11", "3.13"]),
    ("runtime, compile]", "runtime, compiler]", ["unknown flavour", "'compile'", ":13"]),
    ("    framework: jax\n", "", ["needs the key 'framework'"]),
    ("    packages:", "    package:", ["unknown key 'package'", "mean 'packages'", ":14"]),
    ("groups:", "group:", ["unknown key 'group'", "mean 'groups'", ":22"]),
    (
        "why: the distribution has its own",
        "os: debian13",
        ["does not say why", ":19", "add `why:`"],
    ),
    ("python: 3.12, why", "why", ["names no axis"]),
    ("{python: 3.12, why", "{python: 3.14, why", ["no python is '3.14'", ":19"]),
    ("{python: 3.12, why", "{python: 3.11, why", ["exclude matches nothing", ":19", "facts rule"]),
    ("{accelerator: cuda13.2, f", "{accelerator: cuda13.3, f", ["no accelerator is", ":21"]),
    ("cuda13.2, flavour: runtime}\n", "cuda13.2}\n", ["'latest' matches 2 cells", ":21"]),
    ("latest: {acc", "latest: {python: 3.12, acc", ["'latest' matches no cell", ":21"]),
    ("latest: {", "la test: {", ["'la test' is not a tag", ":21"]),
    ("family: jax, accelerator: cpu", "family: jaxx", ["no family is 'jaxx'", "'jax'", ":24"]),
    ("family: jax, accelerator: cpu", "python: 3.12", ["group default: this matches no cell"]),
    ("leader: torch==2.15.0, ", "", ["needs the key 'leader'", ":4"]),
    ("cuda: 13.2", "cuda: 13", ["'13' is not a minor version", ":4"]),
    ("accelerator: [cpu, cuda13.2]", "accelerator: [cpu]", ["no accelerator is 'cuda13.2'"]),
    ("      cuda13: [", "      cuda12: [", ["no packages for cuda13", ":7"]),
    ("      cuda13: [", "      gpu: [", ["unknown kind of accelerator 'gpu'", ":16"]),
    ("  jax:\n", "  Jax!:\n", ["'Jax!' is not fit to be part of a tag", ":6"]),
    ("Debian 13", "Debian 31", ["no facts about the distribution", "'Debian 13'", ":2"]),
    ("    axes:", "\taxes:", ["a tab is used", ":8"]),
    ("families:", "families: [", ["not valid YAML"]),
    ("    framework: jax\n", "    framework: jax\n    framework: jax\n", ["again", ":8", "line 7"]),
    ("    framework: jax", "    framework:", ["framework is empty", ":7"]),
    ("    framework: jax", "    framework: [jax]", ["must be one text", ":7"]),
    ("      - {python: 3.12", "      - [python", ["not valid YAML"]),
    ("operating_systems:", "operating_systems: &a\n  x: *a", ["contains itself"]),
]


@pytest.mark.parametrize(("right", "wrong", "said"), BAD)
def test_bad_matrix(right: str, wrong: str, said: list[str]) -> None:
    assert right in GOOD
    message = refusal(GOOD.replace(right, wrong, 1))
    for part in said:
        assert part in message
    assert "matrix.yaml:" in message


def test_everything_wrong_is_said_at_once() -> None:
    text = GOOD.replace("groups:", "group:").replace("[0.12.0.1]", "[]").replace("why:", "wy:")
    lines = refusal(text)
    for part in ("unknown key 'group'", "is an empty list", "does not say why", "unknown key 'wy'"):
        assert part in lines


def test_a_stack_nobody_uses() -> None:
    text = GOOD.replace("stacks:", "stacks:\n  cuda12.9: {cuda: 12.9, leader: x==1, python: 3.13}")
    assert "no cell uses the stack cuda12.9" in refusal(text)


def test_the_empty_file() -> None:
    assert "needs the key 'families'" in refusal("")


def test_the_schema_knows_the_committed_matrix() -> None:
    tree = tree_of((ROOT / "matrix.yaml").read_text())
    jsonschema.validate(tree, SCHEMA)


SHAPES = [
    row
    for row in BAD
    if any(
        word in " ".join(row[2])
        for word in (
            "empty list",
            "must be",
            "unknown key",
            "needs the key",
            "say why",
            "is not a minor",
        )
    )
]


@pytest.mark.parametrize(("right", "wrong", "said"), SHAPES)
def test_the_schema_refuses_the_shapes_that_dlimg_refuses(
    right: str, wrong: str, said: list[str]
) -> None:
    assert said
    tree = tree_of(GOOD.replace(right, wrong, 1))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tree, SCHEMA)


def test_the_schema_takes_what_dlimg_takes() -> None:
    jsonschema.validate(tree_of(GOOD), SCHEMA)
