"""What holds for all tests."""

import os
import signal

import pytest

# Started in the background of a script this process ignores Ctrl-C, and under `nohup` the end of
# its connection; so would every child of the tests that interrupt one.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The files that take longest. Processes that share the tests take file by file, in this order.
LONGEST = (
    "test_checks_sabotage.py",
    "test_manners_sabotage.py",
    "test_smoke.py",
    "test_image_manners.py",
    "test_walk.py",
    "test_layers_same.py",
    "test_real_bases.py",
    "test_publishing.py",
    "test_private_engine.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that all processes end at about the same time."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: order.get(item.path.name, len(order)))
