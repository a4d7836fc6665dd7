"""The page about a notebook: its cells run in a kernel of the server that the page starts."""

import subprocess

import pytest

from tests.support.tutorial import Command, Reader, page_of
from tests.tutorials.notebooks import CLIENT, assert_jupyter_answers

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]


def test_the_page_is_followed(reader: Reader) -> None:
    addresses: list[str] = []

    def type_cell(text: str, is_new: bool) -> str:  # noqa: FBT001 - as `Reader` calls it
        inner = ("python", "-c", CLIENT, addresses[-1], "new" if is_new else "same", text)
        ended = subprocess.run(
            ["dlimg", "exec", "course:1", "--", *inner],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=dict(reader.variables),
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    reader.type_cell = type_cell
    for step, output in reader.walk(page_of(__file__)):
        if isinstance(step, Command) and "--mode jupyter" in step.text:
            addresses.append(assert_jupyter_answers(output))
