"""The driver that a CUDA needs and the days on which security fixes end, from the facts."""

import pytest

from dlimg.compat.host_limits import driver_floor, ends_of_life
from dlimg.pipeline.facts_files import read_facts

FACTS = read_facts()


@pytest.mark.parametrize(("cuda", "version"), [("13.2", "580.65.06"), ("12.8", "525.60.13")])
def test_the_oldest_driver_of_a_cuda_comes_with_its_source(cuda: str, version: str) -> None:
    floor = driver_floor(FACTS, cuda)
    assert floor is not None
    assert floor.version == version
    assert floor.source.startswith("https://")


def test_an_unknown_cuda_has_no_oldest_driver() -> None:
    assert driver_floor(FACTS, "99.9") is None


@pytest.mark.parametrize(
    ("distribution", "python", "ends"),
    [
        # Long-term support of Debian is free, Ubuntu's ESM is not.
        ("Debian 12", "", [("Debian 12", "2028-06-30")]),
        ("Ubuntu 22.04", "", [("Ubuntu 22.04", "2027-04-01")]),
        ("Debian 12", "3.9", [("Python 3.9", "2025-10-31"), ("Debian 12", "2028-06-30")]),
        ("Plan 9", "1.5", []),
    ],
)
def test_ends_of_life_are_those_of_free_support(
    distribution: str, python: str, ends: list[tuple[str, str]]
) -> None:
    found = ends_of_life(FACTS, distribution, python)
    assert [(end.part, end.day) for end in found] == ends
    assert all(end.source for end in found)
