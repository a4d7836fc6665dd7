"""Fixtures of several test files of the command line."""

from pathlib import Path

import pytest

from tests.support.jax_project import CELL, enter_project, write_project
from tests.support.stored_project import StoredProject, copy_store, store_project


@pytest.fixture(scope="session")
def assembled_project(tmp_path_factory: pytest.TempPathFactory) -> StoredProject:
    """A project with its image in a store, to copy from."""
    folder = tmp_path_factory.mktemp("assembled")
    write_project(folder, CELL)
    return store_project(folder)


@pytest.fixture
def stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, assembled_project: StoredProject
) -> StoredProject:
    """A copy of that project and store, as the current folder and the user's cache."""
    enter_project(tmp_path, monkeypatch, CELL)
    return copy_store(assembled_project, tmp_path)
