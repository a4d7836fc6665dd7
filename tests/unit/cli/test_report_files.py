"""`--report FILE`: refused early, written whole, and never an earlier walk's."""

import json
import os
from pathlib import Path

import junitparser
import pytest

from dlimg.cli.printing import log
from dlimg.cli.report_files import prepare_reports, write_reports
from dlimg.errors import BadInput, Negative
from tests.support import image_results


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("report.html", ".html names no format"),
        ("report", "no suffix names no format"),
        ("report.XML", ".XML names no format"),
        (".xml", "no suffix names no format"),
        ("none/report.xml", "there is no folder"),
        ("folder.xml", "it is a folder"),
        ("file/report.md", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "old.json").touch()
    with pytest.raises(BadInput, match=said):
        prepare_reports([str(tmp_path / "old.json"), str(tmp_path / name)])
    assert (tmp_path / "old.json").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="nothing can be written"):
        prepare_reports([str(tmp_path / "report.xml")])


def test_one_file_is_written_once(tmp_path: Path) -> None:
    name = str(tmp_path / "report.xml")
    with pytest.raises(BadInput, match="twice"):
        prepare_reports([name, name])


def test_every_format_is_written(tmp_path: Path) -> None:
    files = [str(tmp_path / f"report.{suffix}") for suffix in ("xml", "md", "json")]
    (tmp_path / "report.xml").write_text("of an earlier walk")
    prepare_reports(files)
    assert list(tmp_path.iterdir()) == []
    write_reports(files, image_results.LINES, [{"cell": "\udc80"}], log)
    assert len(list(junitparser.JUnitXml.fromfile(files[0]))) == len(image_results.LINES)
    assert "| image |" in Path(files[1]).read_text(encoding="utf-8")
    value = json.loads(Path(files[2]).read_text(encoding="utf-8"))
    assert value == [{"schema": 1, "cell": "\udc80"}]
    assert len(list(tmp_path.iterdir())) == 3


def test_what_cannot_be_written_keeps_no_other_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "a.xml").mkdir()
    files = [str(tmp_path / "a.xml"), str(tmp_path / "b.md")]
    with pytest.raises(Negative, match="the report cannot be written"):
        write_reports(files, image_results.LINES, [], log)
    assert (tmp_path / "b.md").is_file()
