"""Which builder makes an image: the one that was asked for, or the one that can."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.builders.choose import against_assembling, choice
from dlimg.model import Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import Project, read_project
from dlimg.render.dockerfile import dockerfile, templates
from dlimg.render.layers_eligibility import KNOWN, install_digest, obstacle

ROOT = Path(__file__).parents[3]
JAX = "jax-0.12.0.1-cpu-py3.13-debian13"
DEVEL = "jax-0.12.0.1-cuda13.2-py3.13-debian13-devel"


@pytest.fixture(scope="module")
def project() -> Project:
    return read_project(str(ROOT / "matrix.yaml"))


@pytest.fixture(scope="module")
def images(project: Project) -> dict[str, Image]:
    found = locked_images(project, project.resolution.cells)
    return {one.cell.id: one for one in found if not one.lock.local}


def test_every_image_of_ours_can_be_assembled(images: dict[str, Image]) -> None:
    assert {name: why for name, one in images.items() if (why := obstacle(one))} == {}


def test_all_ways_of_our_install_are_known(images: dict[str, Image]) -> None:
    drawing, found = templates(str(ROOT / "images")), set()
    for one in (images[JAX], images[DEVEL]):
        for local in (False, True):
            wheels = tuple(replace(wheel, local=local) for wheel in one.lock.wheels)
            lock = replace(one.lock, wheels=wheels)
            text = dockerfile(one.cell, lock, drawing)
            found.add(install_digest(replace(one, lock=lock, dockerfile=text)))
    # A new text? See what dlimg.layers.own_layer must do for it, then write its digest down.
    assert found == KNOWN


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("--no-deps --only", "--only", "in a way of its own"),
        ("rm --force /opt/env/.lock\n", "rm -r /opt/env/share\n", "in a way of its own"),
        (
            "find /var/log -type",
            "find /opt -type",
            "in a way of its own",
        ),  # the script that settles
        ("FROM system AS image", "FROM tool AS image", "in a way of its own"),
        ("\nUSER user\n", "\nUSER user\nRUN pip list\n", "the one RUN"),
        ("\nUSER user\n", "\nUSER user\nSTOPSIGNAL 9\n", "not an instruction that says how"),
        ("jax==", "jux==", "something else than the lock"),
    ],
)
def test_what_is_not_ours_is_executed(
    images: dict[str, Image], old: str, new: str, why: str
) -> None:
    image = images[JAX]
    assert old in image.dockerfile
    changed = replace(image, dockerfile=image.dockerfile.replace(old, new))
    assert why in obstacle(changed)
    taken = choice("auto", changed, "")
    assert taken.builder == "buildkit"
    assert why in taken.why


def test_auto_looks_at_the_engine_and_words_decide(images: dict[str, Image]) -> None:
    image = images[JAX]
    assert choice("auto", image, "").builder == "layers"
    far = choice("auto", image, "it is far away")
    assert (far.builder, far.why) == ("buildkit", "it is far away")
    assert choice("layers", image, "it is far away").builder == "layers"
    assert choice("buildkit", image, "").builder == "buildkit"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///run/docker.sock", ""),
        ("tcp://192.0.2.1:2376", "the engine at tcp://192.0.2.1:2376 is not one of this machine"),
        ("ssh://user@host", "the engine at ssh://user@host is not one of this machine"),
    ],
)
def test_an_address_says_enough(host: str, said: str) -> None:
    assert against_assembling({"DOCKER_HOST": host}) == said


def test_no_address_is_no_obstacle(tmp_path: Path) -> None:
    assert against_assembling({"HOME": str(tmp_path)}) == ""
    (tmp_path / "config.json").write_text(json.dumps({}))
    assert against_assembling({"DOCKER_CONFIG": str(tmp_path)}) == ""
