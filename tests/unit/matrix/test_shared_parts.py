"""Axes and excludes that all families share, and names of the last release."""

import textwrap
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts

ROOT = Path(__file__).parents[3]
FACTS = read_facts()
MATRIX = """\
operating_systems:
  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
axes:
  flavour: [runtime, compile]
exclude:
  - {python_source: uv, except: {os: debian13, python: 3.11}, why: one is enough}
  - {family: jax, flavour: compile, why: nobody asked}
families:
  tensorflow:
    framework: tensorflow
    axes: {version: [2.21.0], accelerator: [cpu]}
    packages: {cpu: ["tensorflow-cpu=={version}"]}
    defaults: {os: debian13, python: 3.13}
  jax:
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cpu]}
    packages: {cpu: ["jax=={version}"]}
    defaults: {os: debian13, python: 3.13}
"""


def resolved(text: str = MATRIX) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def refusal(right: str, wrong: str) -> str:
    assert right in MATRIX
    with pytest.raises(BadInput) as raised:
        resolved(MATRIX.replace(right, wrong, 1))
    return str(raised.value)


def test_families_share_axes_and_excludes() -> None:
    assert [cell.id for cell in resolved().cells] == [
        "tensorflow-2.21.0-cpu-py3.11-debian12",
        "tensorflow-2.21.0-cpu-py3.11-debian12-compile",
        "tensorflow-2.21.0-cpu-py3.11-debian13",
        "tensorflow-2.21.0-cpu-py3.11-debian13-compile",
        "tensorflow-2.21.0-cpu-py3.13-debian13",
        "tensorflow-2.21.0-cpu-py3.13-debian13-compile",
        "jax-0.12.0.1-cpu-py3.13-debian13",
    ]


def test_an_exclude_may_have_several_exceptions() -> None:
    several = "except: [{os: debian13, python: 3.11}, {family: jax, python: 3.13}], why: one"
    text = MATRIX.replace("except: {os: debian13, python: 3.11}, why: one", several)
    assert {cell.id for cell in resolved(text).cells} - {cell.id for cell in resolved().cells} == {
        "jax-0.12.0.1-cpu-py3.13-debian12"
    }


def test_a_family_may_have_axes_of_its_own() -> None:
    own = "version: [2.21.0], python: [3.13], flavour: [runtime]"
    lines = MATRIX.replace("version: [2.21.0]", own).splitlines()
    text = "\n".join(line for line in lines if "debian12" not in line and "uv" not in line)
    assert [cell.id for cell in resolved(text).cells if cell.family == "tensorflow"] == [
        "tensorflow-2.21.0-cpu-py3.13-debian13"
    ]


def test_a_dropped_cell_names_the_line_of_the_shared_exclude() -> None:
    dropped = {row.id: (row.reason, row.source) for row in resolved().dropped}
    assert dropped["tensorflow-2.21.0-cpu-py3.13-debian12"] == ("one is enough", "matrix.yaml:7")
    assert dropped["jax-0.12.0.1-cpu-py3.13-debian13-compile"] == ("nobody asked", "matrix.yaml:8")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "python: 3.11}, why",
            "python: 3.13}, why",
            "7: the `except` of this exclude keeps nothing",
        ),
        (
            "flavour: compile, why",
            "python: 3.11, why",
            "matrix.yaml:8: this exclude matches nothing",
        ),
        ("python_source: uv", "python_source: conda", "no python_source is 'conda'"),
        ("family: jax, fl", "family: jaxx, fl", "no family is 'jaxx'"),
        ("flavour: compile, why", "flavour: devel, why", "no flavour is 'devel'"),
        (", why: nobody asked", "", "an exclude of the matrix does not say why"),
        ("{os: debian13, python: 3.11}", "{}", "the exclude would drop nothing"),
        ("{os: debian13, python: 3.11}", "[]", "of an exclude of the matrix is an empty list"),
        (
            "{os: debian13, python: 3.11}",
            "[{os: debian13, python: 3.11}, {os: debian13, python: 3.13}]",
            "7: an entry under `except` of this exclude keeps nothing",
        ),
        ("  flavour: [runtime, compile]", "  python: [3.13]", "needs the key 'flavour'"),
        (
            "defaults: {os: debian13, python: 3.13}",
            "defaults: {python: 3.12}",
            "default Python 3.12",
        ),
    ],
)
def test_bad_shared_parts(right: str, wrong: str, message: str) -> None:
    assert message in refusal(right, wrong)


OLD = (
    MATRIX.replace("[runtime, compile]", "[runtime, compile, notebook]")
    .replace("flavour: compile, why", "flavour: [compile, notebook], why")
    .replace("axes:\n", "lint: [{id: os-end-of-life, about: debian12, why: known}]\n"
             "flavours: {notebook: {any: [jupyterlab]}}\n"
             "required_checks: {notebook: [pip_check]}\naxes:\n", 1)
    .replace("    framework: jax\n", "    framework: jax\n    companions: {cpu: [flax]}\n")
)  # fmt: skip


def test_names_of_the_last_release_are_read_with_a_notice() -> None:
    matrix = parse_matrix(OLD, "matrix.yaml")
    resolution = resolve(matrix, FACTS)
    assert [f"{notice.where} {notice.message}" for notice in resolution.notices] == [
        "matrix.yaml:8 the flavour notebook is now called workspace",
        "matrix.yaml:11 the flavour notebook is now called workspace",
        "matrix.yaml:4 a list under `lint` is now under `lint: ignore:`",
        "matrix.yaml:5 flavours: flavour notebook is now called workspace",
        "matrix.yaml:6 required_checks: flavour notebook is now called workspace",
        "matrix.yaml:20 family jax: the key companions is now called paired_packages",
    ]
    assert [finding.about for finding in matrix.ignored] == ["debian12"]
    cell = next(cell for cell in resolution.cells if cell.id.endswith("-py3.13-debian13-workspace"))
    assert "jupyterlab" in cell.requirements
    assert cell.required_checks == ("pip_check",)
    assert matrix.families["jax"].paired_packages == {"cpu": ("flax",)}


def test_the_old_tag_of_a_workspace_moves_along() -> None:
    aliases = resolved(OLD).aliases["tensorflow-2.21.0-cpu-py3.13-debian13-workspace"]
    assert aliases == ("2.21.0-cpu-workspace", "2.21.0-cpu-notebook")


def test_the_example_in_the_documentation_is_valid() -> None:
    page = (ROOT / "docs/matrix.md").read_text()
    example = page[page.index("    operating_systems:") : page.index("- **Versions are text.**")]
    assert len(resolved(textwrap.dedent(example)).cells) == 6
