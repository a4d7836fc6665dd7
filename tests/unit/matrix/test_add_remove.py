"""Cells added to and removed from the text of a matrix: no other cell, comment or byte changes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from dlimg.errors import BadInput, DlimgError, Negative
from dlimg.facts.model import PYPI
from dlimg.matrix.add import NewCell, add_cell
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.remove import RemovedCells, remove_cells
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.pipeline.facts_files import read_facts
from tests.support.matrix_to_edit import MATRIX

FACTS = read_facts()
BLOCK = """\
# 用于测试
operating_systems:
  debian13:   # the newest
    distribution: Debian 13
    image: "debian:trixie-slim"
# before families
families:
  pytorch:
    framework: torch
    axes:
      version:
        - 2.13.0   # one wheel
      accelerator:
        - cpu
      flavour:
        - runtime
        - compile
    packages:
      cpu:
        - "torch=={version}+cpu"
    defaults: {python: "3.13", os: debian13}
    aliases:
      latest: {version: 2.13.0, flavour: runtime}   # the only version
  jax: &jax
    framework: jax
    axes: {version: [0.12.0.1], accelerator: [cpu], flavour: [runtime]}
    packages: {cpu: ["jax=={version}"]}
  # about nlp
  jax-nlp: {<<: *jax, packages: {cpu: ["jax=={version}", transformers]}}
# after families
groups: {default: [{}]}
"""
TEXTS = {
    "shipped": (Path(__file__).parents[3] / "matrix.yaml").read_text(encoding="utf-8"),
    "flow style": MATRIX,
    "block style, anchors": BLOCK,
    "all axes in the family": BLOCK.replace(
        """      flavour:
        - runtime
        - compile
""",
        """      python: ["3.13"]   # one is enough
      os:
        - debian13
      flavour: [runtime]
""",
    ),
    "Windows": f"\ufeff{BLOCK.rstrip()}".replace("\n", "\r\n"),
}
FRAMEWORKS = {"pytorch": "torch", "jax": "jax", "tensorflow": "tensorflow", "other": "torch"}
SYSTEMS = [row for row in FACTS.distributions.values() if row.glibc]


def resolution(text: str) -> Resolution:
    return resolve(parse_matrix(text, "matrix.yaml"), FACTS)


def names(text: str) -> set[str]:
    return {cell.id for cell in resolution(text).cells}


def comments(text: str) -> list[str]:
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


def cell_of(family: str, version: str, cuda: str, python: str, system: str) -> NewCell:
    return NewCell(
        family=family,
        framework=FRAMEWORKS[family.partition("-")[0]],
        version=version,
        cuda=cuda,
        python=python,
        system=FACTS.distributions[system],
        flavour="runtime",
    )


def removal(cell: NewCell) -> RemovedCells:
    return RemovedCells(
        family=cell.family,
        version=cell.version,
        cuda=cell.cuda or "cpu",
        python=cell.python,
        system=cell.system,
        flavour=cell.flavour,
    )


def random_cells(random: Random) -> Iterator[NewCell]:
    """Yield cells of any release in the facts, most of which can exist."""
    while True:
        family = random.choice(list(FRAMEWORKS))
        release = random.choice(list(FACTS.releases[FRAMEWORKS[family]].values()))
        cudas = [
            cuda for cuda in FACTS.cuda for build in release.builds_for(cuda) if build.index == PYPI
        ]
        system = random.choice(SYSTEMS)
        cell = cell_of(
            family,
            release.version,
            random.choice([*cudas, *cudas, ""]),
            random.choice(release.pythons),
            system.distribution,
        )
        flavour = random.choice(["runtime", "runtime", "compile", "workspace", "devel"])
        yield replace(cell, flavour=flavour)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_cell_is_added_alone_and_removed_without_a_trace(text: str, seed: int) -> None:
    before, added = names(text), 0
    for cell in random_cells(Random(seed)):  # noqa: S311 - cells, no secrets
        try:
            longer, _ = add_cell(text, "matrix.yaml", FACTS, cell)
        except DlimgError:
            continue  # it cannot exist
        after = names(longer)
        assert before < after, cell
        assert len(after - before) == 1, cell
        assert set(comments(text)) <= set(comments(longer))
        assert add_cell(longer, "matrix.yaml", FACTS, cell)[0] == longer
        assert remove_cells(longer, "matrix.yaml", FACTS, removal(cell)) == text, cell
        added += 1
        if added == 3:
            break


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, marks=[pytest.mark.slow] * (name == "shipped"), id=name)
        for name, text in TEXTS.items()
    ],
)
def test_several_cells_leave_in_any_order(text: str) -> None:
    cells = [
        cell_of("pytorch", "2.6.0", "12.4", "3.11", "Debian 12"),
        cell_of("pytorch", "2.6.0", "12.4", "3.12", "Debian 13"),
        cell_of("jax", "0.4.38", "", "3.13", "Debian 13"),
        cell_of("tensorflow", "2.18.0", "12.5", "3.10", "Ubuntu 22.04"),
    ]
    longer, before = text, names(text)
    for number, cell in enumerate(cells, 1):
        longer, _ = add_cell(longer, "matrix.yaml", FACTS, cell)
        assert len(names(longer)) == len(before) + number
    for cell in reversed(cells):
        longer = remove_cells(longer, "matrix.yaml", FACTS, removal(cell))
    assert names(longer) == before
    assert comments(longer) == comments(text)


def test_a_cell_brings_its_stack_packages_and_excludes() -> None:
    cell = cell_of("pytorch", "2.6.0", "12.4", "3.11", "Debian 12")
    longer, _ = add_cell(MATRIX, "matrix.yaml", FACTS, cell)
    new = [line.strip() for line in longer.splitlines() if line not in MATRIX.splitlines()]
    why = 'why: "of 2.6.0 only what was asked for"'
    assert new == [
        "cuda12.4:",
        'cuda: "12.4"',
        'python: "3.11"',
        "version: [2.15.0, 2.13.0, 2.6.0]",
        "accelerator: [cuda13.2, cuda13.0, cuda12.4, cpu]",
        'cuda12: ["torch=={version}"]',
        "cuda12: [torchvision, torchaudio]",
        f'- {{version: 2.6.0, except: {{python: "3.11", flavour: runtime}}, {why}}}',
    ]


def test_a_family_that_is_new_is_written_with_this_cell_alone() -> None:
    cell = cell_of("other", "2.2.2", "12.1", "3.11", "Debian 12")
    longer, _ = add_cell(MATRIX, "matrix.yaml", FACTS, cell)
    cells = {each.id: each for each in resolution(longer).cells}
    assert cells.keys() - names(MATRIX) == {"other-2.2.2-cuda12.1-py3.11-debian12"}
    requirements = cells["other-2.2.2-cuda12.1-py3.11-debian12"].requirements
    assert requirements[:2] == ("torch==2.2.2", "numpy<2")


def test_a_cell_of_a_family_that_merges_another_changes_that_alone() -> None:
    cell = replace(cell_of("jax", "0.4.38", "", "3.13", "Debian 13"), family="jax-nlp")
    longer, _ = add_cell(BLOCK, "matrix.yaml", FACTS, cell)
    assert names(longer) - names(BLOCK) == {"jax-nlp-0.4.38-cpu-py3.13-debian13"}
    assert "jax-nlp: {<<: *jax, packages:" in longer


def test_an_alias_goes_on_meaning_one_cell() -> None:
    text = BLOCK.replace("latest: {version: 2.13.0, ", "latest: {")
    cell = cell_of("pytorch", "2.6.0", "12.4", "3.13", "Debian 13")
    longer, _ = add_cell(text, "matrix.yaml", FACTS, cell)
    assert "latest: {flavour: runtime, version: 2.13.0}   # the only version" in longer
    aliases = resolution(longer).aliases
    assert aliases["pytorch-2.13.0-cpu-py3.13-debian13"][0] == "latest"


def test_a_cpu_build_of_the_vendors_index_brings_that_index() -> None:
    text = BLOCK[: BLOCK.index("  pytorch:")] + BLOCK[BLOCK.index("  jax: &jax") :]
    cell = cell_of("pytorch", "2.6.0", "", "3.13", "Debian 13")
    longer, _ = add_cell(text, "matrix.yaml", FACTS, cell)
    (new,) = (each for each in resolution(longer).cells if each.family == "pytorch")
    assert new.requirements[0] == "torch==2.6.0+cpu"
    assert [(index.name, index.url) for index in new.indexes] == [
        ("pytorch-cpu", "https://download.pytorch.org/whl/cpu")
    ]
    assert remove_cells(longer, "matrix.yaml", FACTS, removal(cell)) == text


def test_a_cell_that_the_facts_rule_out_is_refused_with_the_source() -> None:
    cell = cell_of("pytorch", "2.6.0", "13.0", "3.13", "Debian 13")
    with pytest.raises(Negative) as caught:
        add_cell(MATRIX, "matrix.yaml", FACTS, cell)
    assert "torch 2.6.0 is built for CUDA 12.4" in str(caught.value)
    assert "source: " in str(caught.value)


def test_a_family_without_facts_needs_packages_for_the_accelerator() -> None:
    text = BLOCK.replace("framework: torch", "framework: none")
    cell = replace(cell_of("pytorch", "9.9", "12.9", "3.13", "Debian 13"), framework="none")
    with pytest.raises(BadInput) as caught:
        add_cell(text, "matrix.yaml", FACTS, cell)
    assert "the family pytorch has no packages for cuda12" in str(caught.value)


def test_a_system_that_is_no_base_is_refused() -> None:
    cell = cell_of("jax", "0.4.38", "", "3.12", "Rocky Linux 9")
    with pytest.raises(BadInput) as caught:
        add_cell(MATRIX, "matrix.yaml", FACTS, cell)
    assert "no system that images are made from" in str(caught.value)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (
            RemovedCells(family="pytorch", version="2.15.0"),
            "the alias pytorch:latest means a cell that would go",
        ),
        (RemovedCells(family="jax"), "the family jax has the anchor &jax, which is used here"),
        (RemovedCells(family="tensorflow"), "the group tf would be left without cells"),
    ],
)
def test_what_would_break_is_refused_with_a_remedy(removed: RemovedCells, message: str) -> None:
    text = MATRIX.replace("  jax:\n    framework", "  jax: &jax\n    framework")
    text = text.replace("\ngroups:\n", "\n  nlp: *jax\n\ngroups:\n  tf: [{family: tensorflow}]\n")
    with pytest.raises(Negative) as caught:
        remove_cells(text, "matrix.yaml", FACTS, removed)
    assert message in str(caught.value)
    assert caught.value.problems[0].hint


def test_a_family_goes_with_its_stack_group_entries_and_excludes() -> None:
    shorter = remove_cells(MATRIX, "matrix.yaml", FACTS, RemovedCells(family="jax"))
    assert names(shorter) == {name for name in names(MATRIX) if not name.startswith("jax")}
    assert "family: jax" not in shorter
    assert "  jax:" not in shorter
    assert 'except: {family: [tensorflow], python: "3.13"' in shorter


def test_cells_that_share_all_values_are_excluded() -> None:
    removed = RemovedCells(family="jax", cuda="13.2", flavour="workspace")
    shorter = remove_cells(MATRIX, "matrix.yaml", FACTS, removed)
    assert names(MATRIX) - names(shorter) == {"jax-0.12.0.1-cuda13.2-py3.13-debian13-workspace"}
    assert 'why: "removed"' in shorter


def test_nothing_to_remove_changes_nothing() -> None:
    removed = RemovedCells(family="jax", version="0.1.0")
    assert remove_cells(MATRIX, "matrix.yaml", FACTS, removed) == MATRIX
