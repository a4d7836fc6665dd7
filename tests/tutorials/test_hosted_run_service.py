"""The page about a hosted run service: its commands, on a made-up GPU."""

import pytest

from tests.support.tutorial import Command, Reader, page_of
from tests.tutorials.notebooks import assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials, pytest.mark.usual]


def test_the_page_is_followed(reader: Reader) -> None:
    for step, output in reader.walk(page_of(__file__)):
        if isinstance(step, Command) and "--mode jupyter" in step.text:
            assert_jupyter_answers(output)
