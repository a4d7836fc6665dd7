"""`dlimg facts`: what is known, as a table, in full, and as data."""

import json

import pytest

from dlimg.cli.main import main
from dlimg.facts.model import SECTIONS
from dlimg.facts.schema import forms_of
from dlimg.pipeline.facts_files import FACTS
from dlimg.report.facts import COLUMNS, confidence, version_ranges


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["facts", *arguments]) == 0
    return capsys.readouterr().out


def test_every_section_has_columns() -> None:
    assert COLUMNS.keys() == SECTIONS.keys()
    for name, columns in COLUMNS.items():
        assert set(columns) - {"sm"} <= forms_of(SECTIONS[name].row).keys()


def test_the_subjects_with_their_counts(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("\t") for line in shown(capsys).splitlines()]
    assert lines[0] == ["subject", "rows", "not confirmed", "oldest check"]
    assert ["gpus", "222 gpus, 6 statements"] in [line[:2] for line in lines]


def test_a_subjects_rows_with_sources_and_days(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "drivers")
    wanted = ["580", "LTSB", "2028-06", "13", "not eol", "2026-11-21"]
    row = next(line.split("\t") for line in text.splitlines() if line.startswith("580"))
    assert row[:-1] == wanted
    assert row[-1].startswith("https://")


@pytest.mark.parametrize("name", ["RTX 4090", "rtx4090", "NVIDIA GeForce RTX 4090"])
def test_one_row_in_full(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = shown(capsys, "gpus", name)
    assert "capability\t8.9\n" in text
    assert "first driver\t520\n\t(not confirmed)\n" in text
    assert "defined in\tdlimg/facts/gpus.yaml:" in text


def test_all_gpus_of_a_capability(capsys: pytest.CaptureFixture[str]) -> None:
    names = {line.split("\t")[0] for line in shown(capsys, "gpus", "sm_90").splitlines()}
    assert {"H100", "H200", "GH200"} <= names
    assert "A100" not in names


def test_a_release_and_the_vendors_builds_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "torch", "2.13.0")
    assert "\tfrom" not in text
    assert "releases\t2.13.0\n" in text
    assert "\ncu126\t2.13.0\t" in text


def test_facts_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(shown(capsys, "cuda", "12.8", "--format", "json"))
    assert (row["name"], row["section"], row["certain"]) == ("12.8", "cuda", True)
    assert row["drivers"] == {"GA": "570.26", "12.8.1": "570.124.06"}
    assert row["where"].startswith("cuda.yaml:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpux"], "did you mean 'gpus'?"),
        (["gpus", "RTX 4091"], "did you mean 'RTX 4090'?"),
        (["torch", "2.15"], "did you mean '2.15.0'?"),
        (["cuda", "12.7"], "did you mean '12."),
    ],
)
def test_an_unknown_word(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["facts", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_version_ranges_are_written_short() -> None:
    assert version_ranges(["3.9", "3.10", "3.11", "3.13"]) == "3.9-3.11, 3.13"
    assert version_ranges(["2.7", "3.3"]) == "2.7, 3.3"
    assert version_ranges(["sm_70", "sm_75"]) == "sm_70, sm_75"
    assert version_ranges([]) == ""


def test_how_sure_a_row_is() -> None:
    assert confidence({}) == "yes"
    assert confidence({"eol_verified": False, "sm_verified": True}) == "not eol"
    assert confidence({"verified": False, "eol_verified": False}) == "no"


def test_the_schema_is_printed_as_it_is_committed(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--schema") == (FACTS / "facts.schema.json").read_text()


def test_a_gpus_architecture_has_its_old_key_for_one_release(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (row,) = json.loads(shown(capsys, "gpus", "GB10", "--format", "json"))
    assert (row["arch"], row["machine"]) == ("aarch64", "aarch64")
