"""What is remembered of the images that were made here."""

from pathlib import Path

import pytest

from dlimg.engine.built_images import remember, was_built_here

KEY, DIGEST = "0" * 64, "sha256:" + "a" * 64


def test_only_the_very_image_that_was_made_is_known(tmp_path: Path) -> None:
    here = {"XDG_STATE_HOME": str(tmp_path)}
    assert not was_built_here(here, KEY, DIGEST)
    remember(here, KEY, DIGEST)
    remember(here, KEY, DIGEST)
    assert was_built_here(here, KEY, DIGEST)
    # Two engines may give the same content two digests; both are known.
    remember(here, KEY, "sha256:" + "b" * 64)
    assert was_built_here(here, KEY, DIGEST)
    assert not was_built_here(here, KEY, "sha256:" + "c" * 64)
    assert not was_built_here(here, "1" * 64, DIGEST)
    assert not was_built_here({"XDG_STATE_HOME": str(tmp_path / "x")}, KEY, DIGEST)


@pytest.mark.parametrize("state", ["/proc/none", "{}/file", "{}/file/below"])
def test_a_state_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, state: str) -> None:
    (tmp_path / "file").touch()
    here = {"XDG_STATE_HOME": state.format(tmp_path)}
    remember(here, KEY, DIGEST)
    assert not was_built_here(here, KEY, DIGEST)
