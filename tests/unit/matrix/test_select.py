"""Cells by pattern and group."""

import pytest

from dlimg.errors import BadInput
from dlimg.matrix.select import in_group, select
from dlimg.model import Flavour
from tests.support import samples

CELLS = (
    samples.cell(),
    samples.cell(accelerator="cuda13.2"),
    samples.cell("jax", "0.12.0.1", package="jax"),
    samples.cell("jax", "0.12.0.1", package="jax", os="ubuntu24.04"),
)


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], [0, 1, 2, 3]),
        (["jax*"], [2, 3]),
        (["*cpu*debian13"], [0, 2]),
        (["jax*", "pytorch-2.15.0-cuda13.2-py3.13-debian13"], [1, 2, 3]),
        (["jax-0.12.0.1-cpu-py3.1[23]-*"], [2, 3]),
        (["pytorch-?.15.0-cpu-*"], [0]),
    ],
)
def test_cells_by_pattern(patterns: list[str], chosen: list[int]) -> None:
    assert select(CELLS, patterns) == tuple(CELLS[number] for number in chosen)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("pytorch-2.15.0-cpu-py3.13-debian12", "pytorch-2.15.0-cpu-py3.13-debian13"),
        ("*ubuntu", "jax-0.12.0.1-cpu-py3.12-ubuntu24.04"),
        ("pytroch*", "pytorch-2.15.0-cpu-py3.13-debian13"),
        ("pytorch", "pytorch-2.15.0-cpu-py3.13-debian13"),
        ("zzz", "`dlimg list`"),
    ],
)
def test_a_pattern_that_fits_nothing_shows_the_nearest(pattern: str, near: str) -> None:
    with pytest.raises(BadInput, match="fits no cell") as caught:
        select(CELLS, [pattern, "jax*"])
    assert near in str(caught.value)


def test_cells_by_group() -> None:
    groups = {"default": [CELLS[2].id]}
    assert in_group(CELLS, groups, "default") == (CELLS[2],)
    with pytest.raises(BadInput, match="no group is called 'defualt'") as caught:
        in_group(CELLS, groups, "defualt")
    assert "'default'" in str(caught.value)


def test_a_flavour_by_its_old_name_selects_the_new_one_with_a_sentence() -> None:
    workspace = samples.cell(flavour=Flavour.WORKSPACE)
    log: list[str] = []
    assert select((*CELLS, workspace), ["pytorch-*-notebook"], log.append) == (workspace,)
    assert log == [
        "pytorch-*-notebook: write pytorch-*-workspace; the next release does not know the old name"
    ]
