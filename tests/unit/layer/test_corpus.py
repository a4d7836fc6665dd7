"""The corpus of inputs: each is refused or becomes a valid layer."""

import time
from pathlib import Path

import pytest

from tests.support import fuzz_wheel

CORPUS = sorted((Path(__file__).parents[2] / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_every_input_of_the_corpus_is_refused_or_sound(path: Path) -> None:
    began = time.process_time()
    files = fuzz_wheel.checked(fuzz_wheel.wheel_of(path.read_bytes()))
    assert (files is not None) == path.name.startswith("sound-")
    assert time.process_time() - began < 5


def test_fuzz_input_becomes_a_wheel() -> None:
    files = fuzz_wheel.checked(fuzz_wheel.wheel_of(b"Ca.py\0x = 1\0"))
    assert files
    assert files["opt/env/lib/python/site-packages/a.py"] == b"x = 1"
