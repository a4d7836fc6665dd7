"""The choice of a builder: by option, by Dockerfile and by the engine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.builders.choose import address_obstacle, choose_builder
from dlimg.context import Context
from dlimg.model import Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import Project, read_project

ROOT = Path(__file__).parents[3]
JAX = "jax-0.12.0.1-cpu-py3.13-debian13"


@pytest.fixture(scope="module")
def project() -> Project:
    return read_project(str(ROOT / "matrix.yaml"))


@pytest.fixture(scope="module")
def images(project: Project) -> dict[str, Image]:
    result = locked_images(project, project.resolution.cells)
    return {image.cell.id: image for image in result if not image.lock.local}


def test_every_image_of_this_project_can_be_assembled(images: dict[str, Image]) -> None:
    assert {image.layers_obstacle for image in images.values()} == {""}


def test_an_image_with_an_obstacle_is_built_by_buildkit(images: dict[str, Image]) -> None:
    taken = choose_builder("auto", replace(images[JAX], layers_obstacle="it has its own block"), "")
    assert (taken.builder, taken.why) == ("buildkit", "it has its own block")


def test_auto_looks_at_the_engine_and_words_decide(images: dict[str, Image]) -> None:
    image = images[JAX]
    assert choose_builder("auto", image, "").builder == "layers"
    far = choose_builder("auto", image, "it is far away")
    assert (far.builder, far.why) == ("buildkit", "it is far away")
    assert choose_builder("layers", image, "it is far away").builder == "layers"
    assert choose_builder("buildkit", image, "").builder == "buildkit"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///run/docker.sock", ""),
        ("tcp://192.0.2.1:2376", "the engine at tcp://192.0.2.1:2376 is not on this host"),
        ("ssh://user@host", "the engine at ssh://user@host is not on this host"),
    ],
)
def test_an_address_says_enough(host: str, said: str) -> None:
    assert address_obstacle(Context.of({"DOCKER_HOST": host}, print)) == said


def test_no_address_is_no_obstacle(tmp_path: Path) -> None:
    assert address_obstacle(Context.of({"HOME": str(tmp_path)}, print)) == ""
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert address_obstacle(Context.of({"DOCKER_CONFIG": str(tmp_path)}, print)) == ""
