"""NumPy 2 with a framework that was built against NumPy 1, as `why` judges it."""

import pytest

from dlimg.compat.combination import Combination
from dlimg.compat.rules_numpy import numpy_release
from dlimg.pipeline.facts_files import read_facts
from tests.support import samples

FACTS = read_facts()


def combination(version: str, numpy: str | None = None) -> Combination:
    """Return torch of this version, locked with this NumPy; empty: locked without any."""
    wheels = (samples.wheel("numpy", numpy),) if numpy else ()
    lock = None if numpy is None else samples.lock("a", wheels=wheels)
    release = FACTS.releases["torch"][version]
    return Combination(framework="torch", version=version, release=release, wheels=lock)


@pytest.mark.parametrize(
    ("version", "numpy", "level", "message"),
    [
        ("2.2.2", None, "warning", "(2.3.0 is the first for NumPy 2): ask for numpy<2 with it"),
        ("2.2.2", "2.4.6", "warning", "for NumPy 2), the lock has NumPy 2.4.6: ask for numpy<2"),
        ("2.2.2", "1.26.4", "support", "NumPy 1; the lock has NumPy 1.26.4"),
        ("2.2.2", "", "support", "NumPy 1; the lock has no NumPy"),
    ],
)
def test_a_release_for_numpy_1(version: str, numpy: str | None, level: str, message: str) -> None:
    result = numpy_release(FACTS, combination(version, numpy))
    assert result is not None
    assert result.level == level
    assert message in result.message
    assert result.source == "https://github.com/pytorch/pytorch/issues/132179"


@pytest.mark.parametrize("version", ["2.3.0", "2.15.0"])
def test_a_release_for_numpy_2_is_not_mentioned(version: str) -> None:
    assert numpy_release(FACTS, combination(version, "2.4.6")) is None


def test_an_unknown_release_is_not_judged() -> None:
    assert numpy_release(FACTS, Combination(framework="torch", version="2.2.99")) is None
