"""A matrix for another CPU architecture than this machine's."""

import json
from pathlib import Path

import pytest

from dlimg.cli.main import main
from tests.support import foreign_project
from tests.support.foreign_project import CELL, OCI_PLATFORM, PLATFORM


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    foreign_project.write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def test_a_build_without_an_engine_is_refused_before_anything_is_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--no-engine", "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert f"{CELL}: the matrix has `platform: {PLATFORM}`, and this machine is linux/" in error
    assert f"it cannot build {OCI_PLATFORM}" in error
    assert "or write `platform: " in error
    assert not (project / "out").exists()
    assert not list(project.glob("data/**/*.json"))


def test_the_plan_names_the_platform_and_says_that_this_machine_cannot_build_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["plan", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert [entry["platform"] for entry in json.loads(shown.out)] == [OCI_PLATFORM]
    assert f"these images are for {OCI_PLATFORM}: this machine (" in shown.err
    assert main(["plan", "--format", "bake"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["target"].values()
    assert target["platforms"] == [OCI_PLATFORM]
    assert main(["plan", "--format", "github"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["include"]
    assert job["platform"] == OCI_PLATFORM


def test_locks_and_dockerfiles_are_made_for_any_platform() -> None:
    assert main(["lock", "--check"]) == 0
    assert main(["render"]) == 0
    assert main(["render", "--check"]) == 0
