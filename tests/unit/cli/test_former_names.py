"""Former names of flavours, checks and needs on the command line: they work, with a notice."""

from pathlib import Path

import pytest

from dlimg.cli.main import main

CELL = "pytorch-2.15.0-cuda13.2-py3.11-debian12"
MATRIX = str(Path(__file__).parents[3] / "matrix.yaml")
NEED = "the need `flavour notebook` is now called `flavour workspace`"


@pytest.fixture
def own_checks(tmp_path: Path) -> Path:
    """A folder with a check whose header has a former name."""
    text = '"""It proves this.\n\nneeds: flavour notebook\nseconds: 5\n"""\n'
    (tmp_path / "mine.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [["list"], ["show"], ["checks"], ["plan"], ["size", "--already-pulled"], ["why"]],
    ids=lambda command: command[0],
)
def test_a_cell_is_chosen_by_the_former_name_of_its_flavour(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = [f"{CELL}-notebook"]
    if "--already-pulled" in command:
        pattern.append(f"{CELL}-workspace")
    assert main(["--matrix", MATRIX, *command, *pattern]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip()
    assert captured.err.count(f"{CELL}-notebook: write {CELL}-workspace") == 1


def test_a_former_need_is_noticed_once(
    own_checks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = f"{CELL}-workspace"
    assert main(["--matrix", MATRIX, "checks", pattern, "--checks", str(own_checks)]) == 0
    captured = capsys.readouterr()
    assert "mine" in captured.out
    assert captured.err.count(NEED) == 1
    assert f"{own_checks}/mine.py:3" in captured.err


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["why", f"{CELL}-workspace"],
        ["pick", "pytorch", "--gpu", "H200", "--driver", "580.95.05"],
        ["checks", CELL],
    ],
    ids=lambda command: command[0],
)
def test_a_former_check_in_the_matrix_is_noticed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(MATRIX).parent
    for name in ("images", "locks"):
        (tmp_path / name).symlink_to(root / name)
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(Path(MATRIX).read_text().replace("[tag_matches_image,", "[tag_is_true,"))
    assert main(["--matrix", str(matrix), *command]) == 0
    note = "the check tag_is_true is now called tag_matches_image"
    assert capsys.readouterr().err.count(note) == 1
