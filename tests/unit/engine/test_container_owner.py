"""Whose a container is: of a process that runs, one that has ended, or one elsewhere."""

import os
import subprocess

import pytest

from dlimg.engine.container_owner import owner, state_of


def test_this_process_is_alive() -> None:
    assert owner() == owner(os.getpid())
    assert state_of(owner()) == "alive"


def test_another_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        label = owner(child.pid)
        assert state_of(label) == "alive"
        child.kill()
        child.wait()
        assert state_of(label) == "gone"


def test_a_number_that_was_given_again_is_another_process() -> None:
    place, number, started = owner().rsplit(":", 2)
    assert state_of(f"{place}:{number}:{int(started) - 1}") == "gone"
    assert state_of(f"{place}:{2**22 + 1}:{started}") == "gone"


@pytest.mark.parametrize("label", ["another-boot:4026531836:1:2", "1:2", "x", "::", "a:b:c:d"])
def test_a_process_that_cannot_be_seen_from_here_may_be_alive(label: str) -> None:
    assert state_of(label) == "out of sight"


def test_a_container_without_the_label_was_made_before_there_was_one() -> None:
    assert state_of("") == "gone"
