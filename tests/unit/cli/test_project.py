"""A project's files, read; and the pins of base images, damaged and made anew."""

from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.errors import BadInput
from dlimg.lock.store import read_bases
from dlimg.pipeline import locks
from dlimg.pipeline.project import read_project
from tests.support.jax_project import MATRIX

DIGEST = f"sha256:{'d' * 64}"

# What stands in locks/bases.json, and what is said about it.
DAMAGED = [
    (b"\xff\xfe\x00", "cannot read the pins: 'utf-8' codec"),
    (b"<<<<<<< HEAD\n", "bases.json:1: this is not JSON"),
    (b"[]", "must be an object"),
    (b'{"debian13": 1}', "bases.json:1: `debian13` must be"),
    (b'{"debian13": %s}' % (b"1" * 5000), "cannot read the pins"),
    (b"[" * 100_000, "nested too deep"),
    (b'{"debian13": "x", "debian13": "x"}', "is there twice"),
]


@pytest.fixture
def matrix(tmp_path: Path) -> str:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "locks").mkdir()
    return str(tmp_path / "matrix.yaml")


@pytest.mark.parametrize(("written", "said"), DAMAGED)
def test_damaged_pins_are_bad_input_with_the_remedy(matrix: str, written: bytes, said: str) -> None:
    folder = Path(matrix).parent / "locks"
    (folder / "bases.json").write_bytes(written)
    with pytest.raises(BadInput) as caught:
        read_project(matrix)
    assert said in str(caught.value)
    assert "bases.json" in caught.value.problems[0].where
    assert "`dlimg lock --bases` writes a new file" in caught.value.problems[0].hint
    assert read_project(matrix, pins="ignore").resolution.cells[0].os.digest == ""


def test_a_folder_in_the_place_of_the_pins(matrix: str) -> None:
    (Path(matrix).parent / "locks" / "bases.json").mkdir()
    with pytest.raises(BadInput, match="cannot read the pins"):
        read_project(matrix)


@pytest.mark.parametrize("written", [case for case, _ in DAMAGED])
def test_damaged_pins_are_written_anew(
    matrix: str, written: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(matrix).parent / "locks"
    (folder / "bases.json").write_bytes(written)
    monkeypatch.setattr(locks, "find_engine", lambda *_, **__: None)
    monkeypatch.setattr(locks, "registry_digest", lambda *_: DIGEST)
    assert main(["--matrix", matrix, "lock", "--bases"]) == 0
    assert "the old pins are dropped" in capsys.readouterr().err
    assert read_bases(folder) == {"debian13": DIGEST}
    assert read_project(matrix).resolution.cells[0].os.digest == DIGEST
