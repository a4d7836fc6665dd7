"""What holds for all unit tests."""

from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import jinja2
import pytest

from dlimg.pypi import index
from dlimg.registry import http


@pytest.fixture(scope="session", autouse=True)
def no_backoff() -> Iterator[None]:
    """Let clients retry at once: the servers of unit tests are in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "BACKOFF", 0.001)
        patch.setattr(http, "BACKOFF", 0.001)
        yield


@pytest.fixture(scope="session", autouse=True)
def templates_compiled_once() -> Iterator[None]:
    """Compile the same text of a template once, as hundreds of tests read templates anew."""
    compile_text = jinja2.Environment.compile
    codes: dict[tuple[object, ...], str | CodeType] = {}

    def compile_once(
        environment: jinja2.Environment, source: Any, name: str, filename: str
    ) -> str | CodeType:
        settings = (
            environment.trim_blocks,
            environment.lstrip_blocks,
            environment.keep_trailing_newline,
        )
        key = (source, name, filename, *settings)
        if key not in codes:
            codes[key] = compile_text(environment, source, name, filename)
        return codes[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", compile_once)
        yield


@pytest.fixture(scope="module", autouse=True)
def no_leftovers(temporary_folder: Path) -> Iterator[None]:
    """Fail where the tests of a module leave files of dlimg in the temporary folder."""
    before = set(temporary_folder.glob("*dlimg*"))
    yield
    # A connection of ssh ends with this process.
    connections = set(temporary_folder.glob("dlimg-ssh-*"))
    left = set(temporary_folder.glob("*dlimg*")) - before - connections
    assert not left, f"left behind: {sorted(path.name for path in left)}"
