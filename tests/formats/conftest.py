"""Tools from the distribution's packages, unpacked into a folder; nothing is installed."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dlimg.debian import packages
from dlimg.engine.private_home import SUITES

Unpacker = Callable[..., Path]


def execute(
    argv: Sequence[str], environment: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, check=False, input=text, capture_output=True, text=True, env=environment
    )


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacker:
    """Downloads packages: `newest` from the suite of engines, else from the machine's own."""
    folder = tmp_path_factory.mktemp("packages")
    host = packages.read_apt_host()
    suites: dict[str, packages.AptSuite] = {}

    def unpacked(*names: str, newest: bool, libraries: tuple[str, ...] = ()) -> Path:
        newer = SUITES.get(host.release.vendor, ())
        suite = newer[0] if newest and newer else host.release.suite
        if suite not in suites:
            suites[suite] = packages.open_suite(host, suite, folder / f"apt-{suite}")
        apt = suites[suite]
        there = packages.available_packages(apt, names)
        assert there, f"{suite} has none of {', '.join(names)}"
        missing = packages.packages_to_install(apt, there) if libraries else ()
        needed = [name for name in missing if name.startswith(libraries)]
        root = folder / "-".join((suite, *there))
        root.mkdir()
        packages.fetch_packages(apt, tuple(dict.fromkeys((*there, *needed))), root)
        return root

    return unpacked


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
