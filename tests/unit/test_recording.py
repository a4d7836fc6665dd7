"""`build --record` writes what was built, or keeps what is there."""

from pathlib import Path

import make
import pytest

from dlimg.commands.recording import write_record
from dlimg.errors import Negative
from dlimg.layers.store import Store
from dlimg.report.line import Line


def test_a_good_record_outlives_a_build_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    path.write_text("a good record")
    failed = Line(image=make.image(), error=Negative("no base"))
    write_record(path, [failed], Store(path=tmp_path / "store"))
    assert path.read_text() == "a good record"
    assert "not every image was built" in capsys.readouterr().err
