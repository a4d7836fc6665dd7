"""An engine is asked for images of another CPU architecture than its own."""

from pathlib import Path

import pytest

from dlimg.engine.client import Engine, list_images
from tests.engine.test_cli import dlimg
from tests.support import foreign_project
from tests.support.foreign_project import CELL, OCI_PLATFORM, PLATFORM
from tests.support.rows import first_values

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(
    "arguments",
    first_values(
        [
            ("test",),
            ("publish", "--to", "127.0.0.1:1/team"),
            ("build",),
            ("build", "--builder", "buildkit"),
            ("build", "--record", "record.json"),
            ("wheel", "jieba"),
        ],
        2,
        pytest.mark.slow,
    ),
)
def test_images_for_another_platform_are_refused_before_anything_is_built(
    arguments: tuple[str, ...], engine: Engine, tmp_path: Path
) -> None:
    foreign_project.write_project(tmp_path)
    ended = dlimg(*arguments, cwd=tmp_path)
    assert ended.returncode == 2
    machine = f"the engine at {engine.host} is linux/{engine.architecture}"
    assert f"{CELL}: the matrix has `platform: {PLATFORM}`, and {machine}" in ended.stderr
    assert f"it cannot build {OCI_PLATFORM}" in ended.stderr
    assert "built in" not in ended.stdout + ended.stderr
    mine = list_images(engine, {"reference": "dlimg-foreign/*"})
    assert mine == []
    assert not (tmp_path / "record.json").exists()
