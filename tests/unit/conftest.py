"""What holds for all unit tests."""

from collections.abc import Iterator

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
