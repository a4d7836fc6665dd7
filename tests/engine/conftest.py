"""The engine that all engine tests share: a running one, or a private one brought up once."""

import os

import pytest

from dlimg.engine import find
from dlimg.engine.client import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """An engine that builds and runs; an engine test that finds none fails, it is not skipped."""
    return find.find(os.environ, private="allow", say=print)
