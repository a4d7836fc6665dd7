"""`build --record` writes what was built, or keeps what is there."""

import json
import os
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.cli.printing import log
from dlimg.errors import Negative
from dlimg.pipeline.record import write_record
from dlimg.results import ImageResult
from dlimg.store.store import Store
from tests.support import samples
from tests.support.jax_project import CELL, enter_project


def test_a_good_record_outlives_a_build_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.json"
    path.write_text("a good record")
    failed = ImageResult(image=samples.image(), error=Negative("no base"))
    write_record(path, [failed], Store(path=tmp_path / "store"), log)
    assert path.read_text() == "a good record"
    assert "not every image was built" in capsys.readouterr().err


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of one locked cell, on a machine without any engine."""
    enter_project(tmp_path, monkeypatch, CELL)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("arguments", [(), ("--no-engine",)])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("images", "a record must be a file"),
        ("pipe", "a record must be a file"),
        ("matrix.yaml/record", "cannot be written: Not a directory"),
        ("/proc/record", "cannot be written: "),
    ],
)
def test_a_record_that_cannot_be_is_refused_before_a_build(
    arguments: tuple[str, ...], place: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    assert main(["build", CELL, "--record", place, *arguments]) == 2
    assert said in capsys.readouterr().err


RECORD = {"key": "k", "digest": "sha256:1", "layers": []}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: "),
        ("", "the file is not a build record"),
        ("{", "the file is not a build record"),
        ("[]", "the file is not a build record"),
        ("9" * 10_000, "the file is not a build record"),
        ("\udcff", "cannot be read: "),
        ("{}", "no image: recorded, but no such cell"),
        (json.dumps({"jax-0": RECORD}), "jax-0: recorded, but no such cell"),
        (json.dumps({CELL: RECORD, "\x1b[31m\ud800": RECORD}), "recorded, but no such cell"),
        (json.dumps({CELL: {**RECORD, "layers": 5}}), "the file is not a build record"),
        (json.dumps({CELL: {**RECORD, "layers": [5]}}), "the file is not a build record"),
    ],
)
def test_an_invalid_record_is_not_verified(
    text: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path("record").write_text(text, errors="surrogateescape")
    assert main(["build", "--verify", "record"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("dlimg: record: ")
    assert said in err
    assert "\x1b" not in err
