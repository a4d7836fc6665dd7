"""Which templates can be assembled from layers, and which are left to BuildKit."""

import shutil
from pathlib import Path

import pytest

from dlimg.builders.choose import choose_builder
from dlimg.model import Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project
from dlimg.render.dockerfile import (
    LAYOUT_FORMAT,
    layers_obstacle,
    layout_format,
    load_templates,
)
from tests.support.image_folders import files_in
from tests.support.jax_project import CELL, ROOT, enter_project

FAMILIES = ("jax", "pytorch", "tensorflow")
EXTENDS = '{% extends "_layout/Dockerfile.j2" %}\n'


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    shutil.copytree(ROOT / "images", folder)
    return folder


def obstacle(images: Path, family: str = "jax") -> str:
    return layers_obstacle(family, load_templates(files_in(images)))


def write(images: Path, name: str, text: str) -> None:
    path = images / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_this_project_can_be_assembled(family: str) -> None:
    assert obstacle(ROOT / "images", family) == ""
    assert layout_format(load_templates(files_in(ROOT / "images"))) == LAYOUT_FORMAT


def test_a_comment_in_the_layout_does_not_change_the_builder(images: Path) -> None:
    for name in ("settle.sh", "entrypoint.sh"):
        path = images / "_layout" / name
        path.write_text(path.read_text() + "\n# a comment\n")
    layout = images / "_layout/Dockerfile.j2"
    layout.write_text(layout.read_text().replace("began=$(date", "# a comment\nbegan=$(date"))
    assert obstacle(images) == ""


@pytest.mark.parametrize(
    "text",
    [
        EXTENDS,
        "{# a comment #}\n" + EXTENDS + "\n{# another #}\n",
        EXTENDS + "{% block framework %}\n{% endblock %}\n",
    ],
)
def test_templates_that_only_extend_the_layout_can_be_assembled(images: Path, text: str) -> None:
    write(images, "jax/Dockerfile.j2", text)
    assert obstacle(images) == ""


def test_a_chain_of_templates_can_be_assembled(images: Path) -> None:
    write(images, "mine/Dockerfile.j2", '{% extends "jax/Dockerfile.j2" %}')
    assert obstacle(images, "mine") == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (EXTENDS + "{% block install %}RUN true{% endblock %}", "has its own block `install`"),
        (EXTENDS + "{% block install %}{{ super() }}{% endblock %}", "own block `install`"),
        (EXTENDS + "{% block install %}{% endblock %}", "own block `install`"),
        (EXTENDS + "{% block system %}RUN true{% endblock %}", "own block `system`"),
        (EXTENDS + "{% block lock %}{% endblock %}", "own block `lock`"),
        (EXTENDS + "{% block framework %}\nRUN true\n{% endblock %}", "own block `framework`"),
        (EXTENDS + '{% set python = "/usr/bin/pypy" %}', "instructions of its own (line 2)"),
        ("RUN true\n" + EXTENDS, "instructions of its own (line 1)"),
        ("FROM debian\n", "instructions of its own (line 1)"),
        ("", "does not extend _layout/Dockerfile.j2"),
        ('{% extends "jax/Dockerfile.j2" %}', "jax/Dockerfile.j2 extends itself"),
        ("{% extends cell.family %}", "does not extend _layout/Dockerfile.j2"),
    ],
)
def test_own_blocks_and_instructions_take_buildkit(images: Path, text: str, reason: str) -> None:
    write(images, "jax/Dockerfile.j2", text)
    assert reason in obstacle(images)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (f"{{% set layout_format = {LAYOUT_FORMAT + 1} %}}", f"layout_format {LAYOUT_FORMAT + 1}"),
        ('{% set layout_format = "one" %}', "layout_format one"),
        ("", "states no layout_format"),
    ],
)
def test_a_layout_of_another_format_takes_buildkit(images: Path, stated: str, reason: str) -> None:
    layout = images / "_layout/Dockerfile.j2"
    line = f"{{% set layout_format = {LAYOUT_FORMAT} %}}"
    text = layout.read_text()
    assert line in text
    layout.write_text(text.replace(line, stated))
    assert reason in obstacle(images)


def test_an_image_with_an_obstacle_is_built_by_buildkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_project(tmp_path, monkeypatch, CELL)
    assert choose_builder("auto", planned(tmp_path), "").builder == "layers"
    (tmp_path / "images").unlink()
    shutil.copytree(ROOT / "images", tmp_path / "images")
    block = "{% block framework %}\nRUN true\n{% endblock %}"
    write(tmp_path / "images", "jax/Dockerfile.j2", EXTENDS + block)
    taken = choose_builder("auto", planned(tmp_path), "")
    assert taken.builder == "buildkit"
    assert "own block `framework`" in taken.why


def planned(folder: Path) -> Image:
    project = read_project(str(folder / "matrix.yaml"))
    images = locked_images(project, project.resolution.cells)
    return next(image for image in images if image.cell.id == CELL)
