"""`dlimg checks`: a row for each check, or a cell's own, and data for each cell."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dlimg.cli.main import main

ROOT = Path(__file__).parents[3]
CPU = "jax-0.12.0.1-cpu-py3.13-debian13"
CUDA = "pytorch-2.15.0-cuda13.2-py3.13-debian13"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["--matrix", str(ROOT / "matrix.yaml"), "checks", *arguments]) == 0
    return capsys.readouterr().out


def rows(text: str) -> dict[str, Sequence[str]]:
    headings, *others = [line.split("\t") for line in text.splitlines()]
    result: dict[str, Sequence[str]] = {row[0]: row[1:] for row in others}
    assert len(result) == len(others)
    assert {len(row) for row in others} == {len(headings)}
    return result


def test_a_row_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    result = rows(said(capsys))
    assert result["tag_matches_image"][2:4] == ["yes", "all"]
    assert result["benchmark"][0] == "gpu"
    assert result["benchmark"][2] == "no"
    assert result["compiled_step"][0] == "compiler, gpu"
    assert result["runtime_read_only"][1] == "read-only"
    some, _, every = result["nvidia_smi"][3].partition(" of ")
    assert 0 < int(some) < int(every)
    assert result["is_gpu_available"][4].startswith("The framework sees")


def test_the_checks_of_one_cell(capsys: pytest.CaptureFixture[str]) -> None:
    result = rows(said(capsys, CPU))
    assert "nvidia_smi" not in result
    assert result["conv_training"][:3] == ["-", "-", "yes"]
    assert rows(said(capsys, CUDA))["conv_training"][:3] == ["gpu", "-", "yes"]


def test_data_for_each_cell(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(said(capsys, CPU, CUDA, "--format", "json"))
    assert {row["cell"] for row in answer} == {CPU, CUDA}
    (one,) = [
        row for row in answer if (row["cell"], row["check"]) == (CUDA, "runtime_arbitrary_uid")
    ]
    assert one["proves"]
    del one["proves"], one["path"]
    assert one == {
        "schema": 1,
        "cell": CUDA,
        "family": "pytorch",
        "check": "runtime_arbitrary_uid",
        "needs": "image",
        "container": "any user",
        "required": True,
        "seconds": one["seconds"],
        "flaky": None,
        "alone": None,
    }


def test_own_checks_are_among_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text('"""Ours.\n\nneeds: nothing\nseconds: 5\n"""\n')
    result = rows(said(capsys, "--checks", str(tmp_path)))
    assert result["ours"] == ["-", "-", "yes", "all", "Ours."]


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["checks", "--checks", str(tmp_path / "none")]
    assert main(["--matrix", str(ROOT / "matrix.yaml"), *arguments]) == 2
    assert "none: no such folder" in capsys.readouterr().err


# What a check asks for most; the first that it names.
RANKS = ("two gpus", "gpu", "compiler", "network", "image", "-")


def test_the_documentation_counts_them(capsys: pytest.CaptureFixture[str]) -> None:
    needs: dict[tuple[str, str], set[str]] = {}
    for row in json.loads(said(capsys, "--format", "json")):
        check_needs = needs.setdefault((row["family"], row["check"]), set())
        check_needs.update(row["needs"].split(", "))
    families = list(dict.fromkeys(family for family, _ in needs))
    most = {
        pair: next(rank for rank in RANKS if rank in check_needs)
        for pair, check_needs in needs.items()
    }
    lines = [f"| greatest need | {' | '.join(families)} |"]
    for rank in reversed(RANKS):
        counts = [
            sum(found == rank for (family, _), found in most.items() if family == row)
            for row in families
        ]
        if any(counts):
            name = "nothing" if rank == "-" else rank
            lines.append(f"| `{name}` | {' | '.join(map(str, counts))} |")
    text = (ROOT / "docs" / "checks.md").read_text()
    assert [line for line in lines if line not in text] == []


@pytest.mark.parametrize(
    ("cell", "tags"),
    [(CPU, "0.12.0.1-cpu, once published"), ("jax-0.12.0.1-cpu-py3.12-debian13", "-")],
)
def test_show_says_that_short_tags_are_those_of_a_registry(
    cell: str, tags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--matrix", str(ROOT / "matrix.yaml"), "show", cell]) == 0
    assert f"  moving tags   {tags}\n" in capsys.readouterr().out
