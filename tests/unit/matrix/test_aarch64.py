"""Cells for aarch64: what its own wheels have decides."""

from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts
from tests.support.facts import parse_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
MATRIX = """\
platform: aarch64-manylinux_2_28
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.0: {cuda: "13.0", leader: "torch==2.13.0", python: "3.13"}
  cuda12.8: {cuda: "12.8", leader: "torch==2.13.0", python: "3.13"}
axes:
  flavour: [runtime]
families:
  pytorch:
    framework: torch
    axes: {version: [2.8.0, 2.13.0], accelerator: [cuda13.0, cuda12.8]}
    packages: {cuda12: ["torch=={version}"], cuda13: ["torch=={version}"]}
  jax:
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cuda13.0]}
    packages: {cuda13: ["jax[cuda13]=={version}"]}
  any:
    framework: none
    axes: {version: ["1"], accelerator: [cuda12.8]}
    packages: {cuda12: ["thing=={version}"]}
"""


def resolved(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def test_a_release_without_cuda_for_aarch64_drops_although_x86_64_has_it() -> None:
    torch = "pytorch-2.8.0-cuda12.8-py3.13-debian13"
    reasons = {cell.id: cell.reason for cell in resolved(MATRIX).dropped}
    assert reasons[torch] == (
        "PyPI's aarch64 wheel of torch 2.8.0 is built without CUDA, not for 12.8"
    )
    on_x86 = MATRIX.replace("aarch64-", "x86_64-")
    assert torch in {cell.id for cell in resolved(on_x86).cells}


def test_a_package_without_wheels_for_aarch64_drops() -> None:
    family = """\
  tf:
    framework: tensorflow
    axes: {version: [2.21.0], accelerator: [cpu]}
    packages: {cpu: ["PACKAGE=={version}"]}
"""
    text = MATRIX + family.replace("PACKAGE", "tensorflow-cpu")
    cell = "tf-2.21.0-cpu-py3.13-debian13"
    (reason,) = (each.reason for each in resolved(text).dropped if each.id == cell)
    assert reason == "tensorflow-cpu has wheels for x86_64 only, not for aarch64: take tensorflow"
    for other in (
        MATRIX + family.replace("PACKAGE", "tensorflow"),
        text.replace("aarch64", "x86_64"),
    ):
        assert cell in {each.id for each in resolved(other).cells}


def test_cells_have_the_gpu_code_of_the_aarch64_wheels() -> None:
    cells = {cell.id: cell for cell in resolved(MATRIX).cells}
    torch = cells["pytorch-2.13.0-cuda13.0-py3.13-debian13"]
    release = FACTS.releases["torch"]["2.13.0"]
    assert torch.architectures == release.aarch64_architectures["13.0"]
    assert torch.architectures != release.architectures["13.0"]
    assert (torch.architecture, torch.oci_platform) == ("arm64", "linux/arm64")


def test_what_nobody_knows_of_aarch64_is_not_refused() -> None:
    texts = {path.name: path.read_text() for path in (ROOT / "dlimg/facts").glob("*.yaml")}
    rows = texts["jax.yaml"].splitlines(keepends=True)
    texts["jax.yaml"] = "".join(row for row in rows if not row.startswith("    aarch64_"))
    facts = parse_facts(texts)
    assert facts.releases["jax"]["0.12.0.1"].aarch64_cuda is None
    ids = {cell.id for cell in resolve(parse_matrix(MATRIX, "matrix.yaml"), facts).cells}
    assert "jax-0.12.0.1-cuda13.0-py3.13-debian13" in ids


OWN = "    framework: none\n"
GLIBC = "has glibc 2.41, the wheels need 2.42"


def test_a_family_may_ask_for_a_newer_glibc_than_the_matrix() -> None:
    text = MATRIX.replace(OWN, f"{OWN}    platform: aarch64-manylinux_2_31\n")
    platforms = {cell.family: cell.platform for cell in resolved(text).cells}
    assert platforms == {
        "pytorch": "aarch64-manylinux_2_28",
        "jax": "aarch64-manylinux_2_28",
        "any": "aarch64-manylinux_2_31",
    }
    newer = MATRIX.replace("    framework: jax\n", "    framework: jax\n    platform: X\n")
    reasons = [
        cell.reason for cell in resolved(newer.replace("X", "aarch64-manylinux_2_42")).dropped
    ]
    assert any(GLIBC in reason for reason in reasons)


def test_a_family_is_for_the_processors_of_its_matrix() -> None:
    text = MATRIX.replace(OWN, f"{OWN}    platform: x86_64-manylinux_2_31\n")
    with pytest.raises(BadInput) as raised:
        resolved(text)
    (problem,) = raised.value.problems
    assert problem.message == ("the platform of family any is not for aarch64, as the matrix is")
    assert problem.where == "matrix.yaml:20"
