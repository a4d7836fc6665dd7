"""Which images and containers of an engine are dlimg's own."""

import os
import subprocess
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.engine.ownership import owner_label, owner_state, record_build, was_built_here

KEY, DIGEST = "0" * 64, "sha256:" + "a" * 64


def test_only_an_image_that_was_recorded_was_built_here(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert not was_built_here(Context.of(environment, print), KEY, DIGEST)
    record_build(Context.of(environment, print), KEY, DIGEST)
    record_build(Context.of(environment, print), KEY, DIGEST)
    assert was_built_here(Context.of(environment, print), KEY, DIGEST)
    # Two engines may give the same content two digests; both are known.
    record_build(Context.of(environment, print), KEY, "sha256:" + "b" * 64)
    assert was_built_here(Context.of(environment, print), KEY, DIGEST)
    assert not was_built_here(Context.of(environment, print), KEY, "sha256:" + "c" * 64)
    assert not was_built_here(Context.of(environment, print), "1" * 64, DIGEST)
    assert not was_built_here(
        Context.of({"XDG_STATE_HOME": str(tmp_path / "x")}, print), KEY, DIGEST
    )


@pytest.mark.parametrize("state", ["/proc/none", "{}/file", "{}/file/below"])
def test_an_unwritable_state_folder_is_no_failure(tmp_path: Path, state: str) -> None:
    (tmp_path / "file").touch()
    environment = {"XDG_STATE_HOME": state.format(tmp_path)}
    record_build(Context.of(environment, print), KEY, DIGEST)
    assert not was_built_here(Context.of(environment, print), KEY, DIGEST)


def test_this_process_is_alive() -> None:
    assert owner_label() == owner_label(os.getpid())
    assert owner_state(owner_label()) == "alive"


def test_another_process_is_alive_until_it_ends() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        label = owner_label(child.pid)
        assert owner_state(label) == "alive"
        child.kill()
        child.wait()
        assert owner_state(label) == "gone"


def test_a_reused_pid_is_another_process() -> None:
    place, number, started = owner_label().rsplit(":", 2)
    assert owner_state(f"{place}:{number}:{int(started) - 1}") == "gone"
    assert owner_state(f"{place}:{2**22 + 1}:{started}") == "gone"


@pytest.mark.parametrize("label", ["another-boot:4026531836:1:2", "1:2", "x", "::", "a:b:c:d"])
def test_a_process_that_cannot_be_seen_from_here_may_be_alive(label: str) -> None:
    assert owner_state(label) == "out of sight"


def test_an_owner_without_a_label_counts_as_gone() -> None:
    assert owner_state("") == "gone"
