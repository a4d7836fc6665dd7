"""A wheel in a folder counts where the index has none of its package, with a real uv."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlimg.errors import BadInput, Negative
from dlimg.lock.check import check_locks
from dlimg.lock.local_wheels import wheel_folders
from tests.support.index_project import DEFAULT, IndexProject
from tests.support.package_index import PackageIndexServer, made_wheel, package_index

SOURCES = ("sourcelike-1.0.tar.gz", b"no wheel of it")
OWN = made_wheel("sourcelike", "1.0", requires=["numlike"])


@pytest.fixture
def index() -> Iterator[PackageIndexServer]:
    with package_index(*DEFAULT, SOURCES) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # The others would change what the index has: a newer release and a local version.
    for file, content in (OWN, made_wheel("numlike", "3.0"), made_wheel("pip", "26.3+mine")):
        (wheels / file).write_bytes(content)
    return wheels


def project(
    tmp_path: Path, index: PackageIndexServer, packages: str = "[sourcelike]", **variables: str
) -> IndexProject:
    own = IndexProject(folder=tmp_path, default=index.url, packages=packages, variables=variables)
    own.write("")
    return own


@pytest.mark.parametrize("packages", ["[sourcelike]", "['sourcelike==1.0']", "[needs-it]"])
def test_the_folder_has_the_only_wheel(
    tmp_path: Path, index: PackageIndexServer, folder: Path, packages: str
) -> None:
    index.files |= dict([made_wheel("needs-it", "1.0", requires=["sourcelike"])])
    own = project(tmp_path, index, packages)
    own.lock([str(folder)])
    versions = {wheel.name: (wheel.version, wheel.local) for wheel in own.locked.wheels}
    versions.pop("needs-it", None)
    assert versions == {
        "sourcelike": ("1.0", True),
        "numlike": ("2.0", False),
        "pip": ("26.3", False),
    }
    assert own.locked.local, "a lock with a wheel of one's own is not committed"


def test_a_routed_package_without_a_wheel(
    tmp_path: Path, index: PackageIndexServer, folder: Path
) -> None:
    own = project(tmp_path, index)
    with package_index(SOURCES) as named:
        own.route(named.url, "[sourcelike, numlike]")
        named.files |= dict([made_wheel("numlike", "2.5")])
        own.lock([str(folder)])
    locked = {wheel.name: wheel for wheel in own.locked.wheels}
    assert (locked["sourcelike"].local, locked["sourcelike"].index) == (True, "")
    assert (locked["numlike"].version, locked["numlike"].index) == ("2.5", "cpu-index")
    assert check_locks([own.cell], own.project.locks, everything=[own.cell]) == ()


@pytest.mark.parametrize("variable", ["UV_FIND_LINKS", "PIP_FIND_LINKS", "UV_INDEX"])
def test_folders_of_the_environment(
    tmp_path: Path, index: PackageIndexServer, folder: Path, variable: str
) -> None:
    value = folder.as_uri() if variable == "UV_INDEX" else str(folder)
    own = project(tmp_path, index, **{variable: value})
    own.lock()
    assert own.locked.version_of("sourcelike") == "1.0"
    assert wheel_folders((), own.context) == (folder,)


def test_a_wheel_of_another_python_does_not_count(
    tmp_path: Path, index: PackageIndexServer
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file, content = made_wheel("sourcelike", "1.0", tag="cp39-cp39-linux_x86_64")
    (other / file).write_bytes(content)
    with pytest.raises(BadInput, match="no usable wheels"):
        project(tmp_path, index).lock([str(other)])


def test_the_hint_names_the_ways_out(tmp_path: Path, index: PackageIndexServer) -> None:
    own = project(tmp_path, index)
    with pytest.raises(BadInput) as caught:
        own.lock()
    hint = caught.value.problems[0].hint
    for way in ("--find-links", f"`dlimg wheel sourcelike --for {own.cell.id}`", "`indexes`"):
        assert way in hint
    assert os.linesep not in hint


def test_a_damaged_wheel_is_named(tmp_path: Path, index: PackageIndexServer) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / OWN[0]).write_bytes(b"no zip")
    own = project(tmp_path, index)
    with pytest.raises(Negative) as caught:
        own.lock([str(folder)])
    assert caught.value.problems[0].hint == f"{OWN[0]} is damaged: get it again, or remove it"


def test_a_name_that_the_index_does_not_have_is_to_be_corrected(
    tmp_path: Path, index: PackageIndexServer
) -> None:
    own = project(tmp_path, index, "[sourcelik]")
    with pytest.raises(BadInput) as caught:
        own.lock()
    hint = caught.value.problems[0].hint
    for way in ("correct the name of sourcelik", "`indexes`", "--find-links"):
        assert way in hint
