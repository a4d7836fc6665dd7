"""What the unit tests share."""

from collections.abc import Iterator

import pytest

from tests.support import check_scripts


@pytest.fixture(scope="session")
def forked() -> Iterator[check_scripts.Run]:
    """What runs a check script in a new process of a Python that has imported NumPy."""
    with check_scripts.forking() as run:
        yield run
