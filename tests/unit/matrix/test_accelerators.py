"""Accelerators that a matrix names and no stack describes; free-threaded Pythons in it."""

from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.facts.load import ONLY_NVIDIA
from dlimg.matrix.accelerators import unknown_accelerator
from dlimg.pipeline.project import read_project
from tests.support.why_tables import answer

MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
groups: {default: [{}]}
families:
  pytorch:
    framework: torch
    axes:
      version: [2.9.0]
      accelerator: [cpu]
      python: ["3.13", "3.13t", "3.14", "3.14t"]
      os: [debian13]
      flavour: [runtime]
    packages: {cpu: ["torch=={version}"]}
    defaults: {python: "3.13", os: debian13}
"""


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("gpu", "accelerator 'gpu' names no CUDA", "name a stack: cuda13.2"),
        ("cuda", "accelerator 'cuda' names no CUDA", "name a stack: cuda13.2"),
        ("tpu", f"accelerator 'tpu' is Google's TPU: {ONLY_NVIDIA}", "use cpu"),
        ("xpu", f"accelerator 'xpu' is Intel's platform: {ONLY_NVIDIA}", "use cpu"),
        ("hpu", f"accelerator 'hpu' is Intel's Gaudi: {ONLY_NVIDIA}", "use cpu"),
        ("npu", f"accelerator 'npu' is an NPU, such as Huawei's Ascend: {ONLY_NVIDIA}", "use cpu"),
        ("rocm6.4", f"accelerator 'rocm6.4' is AMD's platform: {ONLY_NVIDIA}", "use cpu"),
        ("mps", f"accelerator 'mps' is Apple's platform: {ONLY_NVIDIA}", "use cpu"),
        ("musa", f"accelerator 'musa' is Moore Threads' platform: {ONLY_NVIDIA}", "use cpu"),
        ("cuda12.6", "accelerator 'cuda12.6' has no stack", 'cuda12.6: {cuda: "12.6", leader:'),
        ("cu126", "accelerator 'cu126' has no stack", 'cuda12.6: {cuda: "12.6", leader:'),
        ("cuda12", "accelerator 'cuda12' has no stack", "name a minor"),
        ("cu132", "unknown accelerator 'cu132'", "write cuda13.2"),
        ("cpuu", "unknown accelerator 'cpuu'", "did you mean 'cpu'?"),
    ],
)
def test_unknown_accelerators(name: str, message: str, hint: str) -> None:
    shown, advice = unknown_accelerator(name, ("cuda13.2", "cpu"))
    assert shown == message
    assert hint in advice


@pytest.mark.parametrize(
    ("framework", "question"),
    [("jax", "dlimg why jax --cuda 12.6"), ("none", "dlimg why torch --cuda 12.6")],
)
def test_the_stack_to_write_is_not_that_of_another_framework(framework: str, question: str) -> None:
    _, advice = unknown_accelerator("cuda12.6", ("cpu",), framework)
    assert question in advice
    assert "leader: PACKAGE==VERSION" in advice


def test_the_matrix_names_what_an_accelerator_is(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX.replace("[cpu]", "[cpu, rocm6.4, gpu]"))
    with pytest.raises(BadInput) as caught:
        read_project(str(path))
    messages = [problem.message for problem in caught.value.problems]
    assert messages == [
        f"pytorch: accelerator 'rocm6.4' is AMD's platform: {ONLY_NVIDIA}",
        "pytorch: accelerator 'gpu' names no CUDA",
    ]


@pytest.mark.parametrize("python", ["3.13t", "3.14t"])
def test_a_free_threaded_python_gets_one_answer_in_why_and_in_the_matrix(
    python: str, tmp_path: Path
) -> None:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    resolution = read_project(str(tmp_path / "matrix.yaml")).resolution
    (dropped,) = [cell for cell in resolution.dropped if f"py{python}-" in cell.id]
    judged = answer(f"torch==2.9.0 --cuda cpu --python {python}")
    (refusal,) = [reason for reason in judged.reasons if reason.level == "refusal"]
    assert (dropped.rule, dropped.reason) == (refusal.rule, refusal.message)
    assert judged.fails_at == "image"


def test_a_python_of_both_is_a_cell(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    cells = read_project(str(tmp_path / "matrix.yaml")).resolution.cells
    assert {cell.python for cell in cells} == {"3.13", "3.14"}
    assert answer("torch==2.9.0 --cuda cpu --python 3.14").valid
