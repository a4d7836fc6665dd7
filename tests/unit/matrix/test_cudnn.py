"""cuDNN as an axis: a stack's list, exact pins of frameworks, overrides, names, selectors."""

from datetime import date
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.lint.aliases import BEHIND
from dlimg.lint.model import LintContext
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
TORCH = "pytorch-2.13.0-cuda13.0"
JAX = "jax-0.12.0.1-cuda13.0"
END = "py3.13-debian13"
OVERRIDE = '    override: [{cudnn: "9.24", why: "the fix of a convolution"}]\n'
MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.0: {cuda: "13.0", cudnn: CUDNN, leader: "torch=={version}", python: "3.13"}
axes:
  flavour: [runtime]
families:
  pytorch:
    framework: torch
    axes: {version: [2.13.0], accelerator: [cuda13.0]}
    packages: {cuda13: ["torch=={version}"]}
    defaults: {python: "3.13", os: debian13}
  jax:
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cuda13.0, cpu]}
    packages: {cpu: ["jax=={version}"], cuda13: ["jax[cuda13]=={version}"]}
    defaults: {python: "3.13", os: debian13}
    aliases: {latest: {accelerator: cuda13.0}}
groups: {default: [{}]}
"""


def matrix(cudnn: str, *, override: str = "") -> str:
    text = MATRIX.replace("CUDNN", cudnn)
    return text.replace("  jax:\n", f"{override}  jax:\n")


def resolved(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def ids(text: str) -> list[str]:
    return [cell.id for cell in resolved(text).cells if cell.is_cuda]


def dropped(text: str) -> dict[str, str]:
    return {cell.id: cell.reason for cell in resolved(text).dropped}


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as raised:
        resolved(text)
    return [problem.message for problem in raised.value.problems]


def test_the_version_that_the_leader_pins_is_not_part_of_the_id() -> None:
    text = matrix('["9.24", "9.20"]')  # torch 2.13.0 pins 9.20.0.48
    assert ids(text) == [f"{TORCH}-{END}", f"{JAX}-cudnn9.24-{END}", f"{JAX}-{END}"]
    locks = {cell.id: cell.stack.lock_name for cell in resolved(text).cells if cell.stack}
    assert locks == {
        f"{TORCH}-{END}": "cuda13.0-torch2.13.0",
        f"{JAX}-{END}": "cuda13.0-torch2.13.0",
        f"{JAX}-cudnn9.24-{END}": "cuda13.0-torch2.13.0-cudnn9.24",
    }


def test_a_framework_that_pins_another_cudnn_drops_with_that_reason() -> None:
    (reason,) = dropped(matrix('["9.24", "9.20"]')).values()
    assert "torch 2.13.0 pins cuDNN 9.20.0.48 in its wheel's metadata" in reason
    assert "`override`" in reason
    assert list(dropped(matrix('["9.24", "9.20"]'))) == [f"{TORCH}-cudnn9.24-{END}"]


def test_an_older_cudnn_than_the_framework_was_built_for_drops_whatever_is_forced() -> None:
    override = OVERRIDE.replace('"9.24"', '["9.24", "9.12"]')
    text = matrix('["9.20", "9.24", "9.12"]', override=override)
    assert dropped(text) == {
        f"{TORCH}-cudnn9.12-{END}": (
            "torch 2.13.0 is built for cuDNN 9.20.0.48 and refuses the older 9.12"
        )
    }


def test_a_range_that_excludes_the_cudnn_drops_the_cell() -> None:
    reasons = dropped(matrix('["9.20", "9.8"]'))
    assert reasons[f"{JAX}-cudnn9.8-{END}"] == (
        "jax 0.12.0.1 takes cuDNN <10.0,>=9.12.0.46, not 9.8"
    )


def test_an_override_forces_a_cudnn_and_its_reason_is_told() -> None:
    text = matrix('["9.20", "9.24"]', override=OVERRIDE)
    cells = {cell.id: cell for cell in resolved(text).cells}
    forced = cells[f"{TORCH}-cudnn9.24-{END}"]
    assert forced.cudnn_override == "the fix of a convolution"
    assert forced.notes == ("cuDNN 9.24 is forced: the fix of a convolution",)
    others = [cell for cell in cells.values() if cell is not forced]
    assert len(others) == 4
    assert not any(cell.cudnn_override or cell.notes for cell in others)


def test_an_override_that_forces_nothing_is_an_error() -> None:
    text = matrix('["9.20", "9.24"]', override=OVERRIDE.replace("9.24", "9.20"))
    assert problems(text) == ["family pytorch: this override forces nothing"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('[{cudnn: "9.24"}]', "an override of family pytorch needs the key 'why'"),
        ("[{why: x}]", "an override of family pytorch needs the key 'cudnn'"),
        ('[{cudnn: "9.3", why: x}]', "an override of family pytorch: no cudnn is '9.3'"),
    ],
)
def test_an_override_names_a_cudnn_of_the_stack_and_a_reason(override: str, message: str) -> None:
    assert message in problems(matrix('["9.20", "9.24"]', override=f"    override: {override}\n"))


def test_an_override_of_a_release_without_facts_holds() -> None:
    text = matrix('["9.20", "9.24"]', override=OVERRIDE).replace("torch\n", "none\n")
    assert resolved(text).dropped == ()
    cells = {cell.id: cell.cudnn_override for cell in resolved(text).cells}
    assert cells[f"{TORCH}-cudnn9.24-{END}"] == "the fix of a convolution"
    assert cells[f"{TORCH}-{END}"] == ""


def test_one_version_is_a_list_of_one() -> None:
    for text in ('"9.20"', '["9.20"]'):
        assert ids(matrix(text)) == [f"{TORCH}-{END}", f"{JAX}-{END}"]


def test_of_a_leader_with_a_range_the_first_version_stands_for_it() -> None:
    text = matrix('["9.20", "9.24"]').replace("torch=={version}", "jax[cuda13]=={version}")
    assert f"{JAX}-{END}" in ids(text)
    assert f"{JAX}-cudnn9.24-{END}" in ids(text)


def test_the_word_leader_is_whatever_the_leader_takes() -> None:
    text = matrix('[leader, "9.24", "9.20"]')
    assert ids(text) == [f"{TORCH}-{END}", f"{JAX}-{END}", f"{JAX}-cudnn9.24-{END}"]
    (plain,) = {cell.stack for cell in resolved(text).cells if cell.id == f"{JAX}-{END}"}
    assert plain is not None
    assert (plain.cudnn, plain.other_cudnn) == ("", False)


def test_selectors_choose_by_cudnn() -> None:
    text = matrix('["9.20", "9.24"]')
    group = text.replace("[{}]", '[{family: jax, cudnn: "9.24"}, {cudnn: none}]')
    assert resolved(group).groups["default"] == (
        f"{JAX}-cudnn9.24-{END}",
        f"jax-0.12.0.1-cpu-{END}",
    )
    exclude = text.replace("families:", 'exclude: [{cudnn: "9.24", why: unwanted}]\nfamilies:')
    assert ids(exclude) == [f"{TORCH}-{END}", f"{JAX}-{END}"]
    assert dropped(exclude)[f"{JAX}-cudnn9.24-{END}"] == "unwanted"
    unknown = text.replace("[{}]", '[{cudnn: "9.3"}]')
    assert problems(unknown) == ["group default: no cudnn is '9.3'"]


def test_an_alias_without_a_cudnn_means_the_leaders() -> None:
    text = matrix('["9.24", "9.20"]')
    assert "latest" in resolved(text).aliases[f"{JAX}-{END}"]
    named = text.replace("{accelerator: cuda13.0}", '{accelerator: cuda13.0, cudnn: "9.24"}')
    assert "latest" in resolved(named).aliases[f"{JAX}-cudnn9.24-{END}"]
    newer = named.replace("[0.12.0.1]", "[0.12.0, 0.12.0.1]").replace(
        "{accelerator", "{version: 0.12.0, accelerator"
    )
    context = LintContext(
        matrix=parse_matrix(newer, "matrix.yaml"),
        resolution=resolved(newer),
        facts=FACTS,
        today=date(2026, 11, 29),
        locks={},
        lock_files={},
    )
    assert [finding.about for finding in BEHIND.find(context)] == ["jax:latest"]


def test_short_tags_name_a_cudnn_that_is_not_the_leaders() -> None:
    aliases = resolved(matrix('["9.20", "9.24"]')).aliases
    assert aliases[f"{JAX}-{END}"] == ("latest", "0.12.0.1-cuda13.0")
    assert aliases[f"{JAX}-cudnn9.24-{END}"] == ("0.12.0.1-cuda13.0-cudnn9.24",)


@pytest.mark.parametrize("cudnn", ['"9.x"', '["9.20", newest]', "[]", '["9.20", "9.20"]'])
def test_a_list_of_something_else_is_refused(cudnn: str) -> None:
    assert any("cudnn" in message for message in problems(matrix(cudnn)))
