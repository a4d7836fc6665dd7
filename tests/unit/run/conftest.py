"""Fixtures of the tests of runs."""

from pathlib import Path

import pytest

from dlimg.context import Context


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, messages: list[str]) -> Context:
    """A context with folders of its own, whose log is kept."""
    home = tmp_path / "home"
    return Context.of({"HOME": str(home)}, messages.append)
