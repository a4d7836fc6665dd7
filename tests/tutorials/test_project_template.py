"""The page about a project: git, data, packages, a setup, on a made-up GPU."""

import json
from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from tests.support.tutorial import Reader, page_of

pytestmark = [pytest.mark.engine, pytest.mark.tutorials]

GIT = (
    "[user]\n    name = Reader\n    email = reader@example.com\n[init]\n    defaultBranch = main\n"
)


def test_the_page_is_followed(reader: Reader, engine: Engine) -> None:
    (Path(reader.variables["HOME"]) / ".gitconfig").write_text(GIT)
    try:
        reader.follow(page_of(__file__))
    finally:
        _, output = reader.run("dlimg ps --format json | cat")
        reader.run("dlimg rm --ended")
        for name in {row["image"] for row in json.loads(output)}:
            engine.sdk.images.remove(name, force=True)
