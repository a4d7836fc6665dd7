"""Tools from the distribution's packages, unpacked into a folder; nothing is installed."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.debian_tools import DebianTools


def execute(
    argv: Sequence[str], environment: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, check=False, input=text, capture_output=True, text=True, env=environment
    )


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> DebianTools:
    return DebianTools(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The variables of a user without any settings."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "WANDB_API_KEY": "its value"}


@pytest.fixture
def no_mkdir(tmp_path: Path, environment: dict[str, str]) -> None:
    """A PATH whose mkdir makes nothing: the runs of these tests name made-up folders."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "mkdir").symlink_to(shutil.which("true") or "/bin/true")
    environment["PATH"] = f"{folder}:{environment['PATH']}"
