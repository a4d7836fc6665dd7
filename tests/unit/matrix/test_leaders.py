"""Leaders of stacks that follow the version of their family."""

from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.0: {cuda: "13.0", leader: "torch=={version}", python: "3.13"}
axes:
  flavour: [runtime]
families:
  pytorch:
    framework: torch
    axes: {version: [2.13.0, 2.14.1, 2.14.0], accelerator: [cuda13.0]}
    packages: {cuda13: ["torch=={version}"]}
  jax:
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cuda13.0]}
    packages: {cuda13: ["jax[cuda13]=={version}"]}
"""
JAX = "  jax:\n"


def leaders(text: str) -> dict[str, str]:
    """The leader's requirement and the name of the stack's lock, by family and version."""
    cells = resolve(parse_matrix(text, "matrix.yaml"), FACTS).cells
    return {
        f"{cell.family} {cell.version}": f"{cell.stack.leader} {cell.stack.lock_name}"
        for cell in cells
        if cell.stack
    }


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as raised:
        leaders(text)
    return [problem.message for problem in raised.value.problems]


def test_the_leading_family_follows_its_version_and_others_the_newest() -> None:
    assert leaders(MATRIX) == {
        "pytorch 2.13.0": "torch==2.13.0 cuda13.0-torch2.13.0",
        "pytorch 2.14.1": "torch==2.14.1 cuda13.0-torch2.14.1",
        "pytorch 2.14.0": "torch==2.14.0 cuda13.0-torch2.14.0",
        "jax 0.12.0.1": "torch==2.14.1 cuda13.0-torch2.14.1",
    }


def test_a_family_may_name_the_leader_that_it_follows() -> None:
    text = MATRIX.replace(JAX, f"{JAX}    leaders: {{cuda13.0: 2.13.0}}\n")
    assert leaders(text)["jax 0.12.0.1"] == "torch==2.13.0 cuda13.0-torch2.13.0"


def test_excluded_versions_lead_nobody() -> None:
    text = MATRIX.replace(
        "families:", "exclude: [{family: pytorch, version: 2.14.1, why: broken}]\nfamilies:"
    )
    assert leaders(text)["jax 0.12.0.1"].startswith("torch==2.14.0 ")


@pytest.mark.parametrize(
    ("leader", "lock_name"),
    [
        ("torch==2.14.0", "cuda13.0-torch2.14.0"),
        ("torch>=2.14", "cuda13.0-torch"),
        ("jax[cuda13] == 0.12.0.1", "cuda13.0-jax0.12.0.1"),
    ],
)
def test_a_leader_with_a_version_of_its_own_leads_all(leader: str, lock_name: str) -> None:
    text = MATRIX.replace("torch=={version}", leader, 1)
    assert set(leaders(text).values()) == {f"{leader} {lock_name}"}


def test_a_cell_id_does_not_carry_the_leader() -> None:
    cells = resolve(parse_matrix(MATRIX, "matrix.yaml"), FACTS).cells
    assert cells[-1].id == "jax-0.12.0.1-cuda13.0-py3.13-debian13"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MATRIX.replace("torch=={version}", "tensorflow=={version}", 1),
            "stack cuda13.0: no cell gives its leader tensorflow=={version} a version",
        ),
        (
            MATRIX.replace(JAX, f"{JAX}    leaders: {{cuda13.0: 2.15.0}}\n"),
            "the leaders of family jax: no cell on cuda13.0 has the leader's version 2.15.0",
        ),
        (
            MATRIX.replace(JAX, f"{JAX}    leaders: {{cuda13.1: 2.14.0}}\n"),
            "the leaders of family jax: no stack cuda13.1 has a leader with {version}",
        ),
        (
            MATRIX.replace("  pytorch:\n", "  pytorch:\n    leaders: {cuda13.0: 2.14.0}\n"),
            "the leaders of family pytorch: it leads the stack cuda13.0 itself",
        ),
        (MATRIX.replace("torch=={version}", "torch=={cuda}", 1), "leader 'torch=={cuda}' is not"),
    ],
)
def test_leaders_that_cannot_be(text: str, message: str) -> None:
    assert any(problem.startswith(message) for problem in problems(text))
