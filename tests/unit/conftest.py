"""What the unit tests share."""

from collections.abc import Iterator

import checking
import pytest


@pytest.fixture(scope="session")
def forked() -> Iterator[checking.Run]:
    """What runs a check script in a new process of a Python that has imported NumPy."""
    with checking.forking() as run:
        yield run
