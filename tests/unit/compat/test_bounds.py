"""Bounds of dependencies that old releases need and do not declare."""

from datetime import date

import pytest

from dlimg.compat.rule_engine import rules
from dlimg.compat.rules_bounds import bound_texts
from dlimg.lock.request import cell_request, stack_request
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.why import WhyQuestion, answer_question
from tests.support import samples

MATRIX = """
registry: team
platform: x86_64-manylinux_2_28
operating_systems: {debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}}
stacks: {cuda12.9: {cuda: "12.9", leader: "jax[cuda12]=={version}", python: "3.11"}}
families:
  jax:
    framework: jax
    axes:
      version: [0.4.23, 0.4.26]
      accelerator: [cuda12.9]
      python: ["3.11"]
      os: [debian12]
      flavour: [runtime]
    packages: {cuda12: ["jax[cuda12]=={version}"]}
    defaults: {python: "3.11", os: debian12}
groups: {default: [{}]}
"""


@pytest.mark.parametrize(
    ("name", "version", "bounds"),
    [
        ("torch", "2.2.2", ("numpy<2",)),
        ("torch", "2.3.0", ()),
        ("tensorflow-cpu", "2.17.1", ("numpy<2",)),
        ("jax", "0.4.23", ("numpy<2", "scipy<1.13", "nvidia-cudnn-cu12<9")),
        ("jax", "0.4.25", ("numpy<2", "nvidia-cudnn-cu12<9")),
        ("jax", "0.4.26", ()),
        ("jax", "", ()),
        ("scikit-learn", "1.7.2", ()),
    ],
)
def test_the_bounds_of_a_release(name: str, version: str, bounds: tuple[str, ...]) -> None:
    assert bound_texts(read_facts(), name, version) == bounds


def test_a_lock_is_asked_for_within_the_bounds() -> None:
    resolution = resolve(parse_matrix(MATRIX, "matrix.yaml"), read_facts())
    old, new = resolution.cells
    assert old.stack
    assert new.stack
    lock = samples.lock(name="stack")
    bounds = {"numpy<2", "scipy<1.13", "nvidia-cudnn-cu12<9"}
    assert bounds <= set(stack_request(old.stack).constraints)
    assert bounds <= set(cell_request(old, lock).constraints)
    assert not bounds & set(stack_request(new.stack).constraints)
    assert not bounds & set(cell_request(new, lock).constraints)


def test_why_names_the_bounds() -> None:
    question = WhyQuestion(text="jax==0.4.23", python="3.11", os="debian12")
    _, answer = answer_question(question, date(2026, 11, 29))
    assert answer.valid
    messages = {reason.rule: reason.message for reason in answer.reasons}
    assert "scipy<1.13 (imports what SciPy 1.13 removed)" in messages["dependency-bound"]
    assert "dependency-bound" in {rule.id for rule in rules(date(2026, 11, 29))}
