"""The committed Dockerfiles are what would be rendered now, and keep what every one promises."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from dlimg.model import Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project

ROOT = Path(__file__).parent.parent.parent
CELLS = sorted({path.stem for path in (ROOT / "locks").glob("*.json")} - {"bases"})


@cache
def images() -> Mapping[str, Image]:
    project = read_project(str(ROOT / "matrix.yaml"))
    committed = locked_images(project, project.resolution.cells)
    return {image.cell.id: image for image in committed if not image.lock.local}


@pytest.fixture(params=CELLS)
def image(request: pytest.FixtureRequest) -> Image:
    """One image after the other; only a process that tests them renders them."""
    return images()[request.param]


def test_every_lock_has_its_dockerfile_and_no_other_is_there() -> None:
    rendered = {path.parent.name for path in (ROOT / "rendered").glob("*/Dockerfile")}
    assert rendered == set(CELLS) == images().keys()
    assert len(rendered) > 40


def committed(image: Image) -> str:
    return (ROOT / "rendered" / image.cell.id / "Dockerfile").read_text()


def test_committed_dockerfiles_are_current(image: Image) -> None:
    assert committed(image) == image.dockerfile, "run `nox -s render` and review the change"


def test_every_wheel_is_pinned_by_hash_and_no_address_is_there(image: Image) -> None:
    text = committed(image)
    for wheel in image.lock.wheels:
        assert f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}" in text
    pins = re.findall(r"^(?:[a-z0-9._-]+)==\S+ --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert len(pins) == len(image.lock.wheels)
    # The installer has a hash for each architecture, on lines of their own.
    assert re.search(r"^uv==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    # Named by the matrix, so that the file builds on its own; mirrors and logins come as secrets.
    routed = {wheel.index for wheel in image.lock.wheels}
    named = {
        f"UV_DEFAULT_INDEX='{index.url}'" for index in image.cell.indexes if index.name in routed
    }
    # Pages that the image's description of itself names as sources; nothing is fetched there.
    sources = {f'"{end.source}"' for end in image.cell.ends_of_life}
    if image.cell.driver_floor:
        sources.add(f'"{image.cell.driver_floor.source}"')
    scripts = re.search(r"^FROM scratch AS files$.*?(?=^FROM )", text, re.MULTILINE | re.DOTALL)
    assert scripts
    fetched = text.replace(scripts[0], "")  # scripts name addresses of hosts, and fetch nothing
    assert set(re.findall(r"\S*://\S*", fetched)) == named | sources
    assert ":latest" not in text


def test_dockerfiles_end_with_a_user_other_than_root(image: Image) -> None:
    users = re.findall(r"^USER (.+)$", committed(image), re.MULTILINE)
    assert users[-1] == "1000:100"  # a cluster takes no name


def test_scripts_stop_at_the_first_failure(image: Image) -> None:
    text = committed(image)
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    for stage in stages:
        inherits = stage.split()[0] in {"tool", "system", "python", "scratch"}
        if re.search(r"^RUN ", stage, re.MULTILINE):
            assert inherits or 'SHELL ["/bin/bash", "-euo", "pipefail", "-c"]' in stage
