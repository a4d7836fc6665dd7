"""Images of dlimg's own matrix, pulled from a registry instead of built."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from dlimg.builders.builder import existing_images
from dlimg.engine.client import Engine
from dlimg.model import Base, BuiltImage, CheckStatus
from dlimg.pipeline.published_images import pull_image, pull_published
from tests.engine.test_publishing import (
    docker_compose_command,
    docker_compose_file,
    docker_setup,
    evidence,
    publish_to,
    registry,
    small_image,
)
from tests.support import small_images

__all__ = ["docker_compose_command", "docker_compose_file", "docker_setup", "registry"]

pytestmark = pytest.mark.engine


@pytest.fixture
def built(engine: Engine, base: Base) -> Iterator[BuiltImage]:
    with small_images.image(small_image(base), engine) as result:
        yield result


def with_registry(engine: Engine, name: str, logged: list[str]) -> Engine:
    environment = {**engine.context.environment, "DLIMG_REGISTRY": name}
    context = replace(engine.context, environment=environment, log=logged.append)
    return replace(engine, context=context)


def forget(engine: Engine, built: BuiltImage) -> None:
    for name in engine.sdk.images.get(built.digest).tags:
        engine.sdk.images.remove(name)
    assert not existing_images([built.planned], engine)


def test_a_published_image_is_pulled_and_counts_as_built(
    engine: Engine, registry: str, built: BuiltImage, tmp_path: Path
) -> None:
    published = publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    forget(engine, built)
    logged: list[str] = []
    user = with_registry(engine, f"{registry}/team", logged)
    # Another machine's state: nothing was built there.
    user = replace(user, context=replace(user.context, state=tmp_path))
    pull_published([built.planned], user)
    assert logged == [f"{built.planned.image.cell.id}  pulled {published.reference}"]
    present = existing_images([built.planned], user)
    assert present[built.planned.reference].digest == built.digest
    engine.sdk.images.remove(published.reference)


def test_an_image_that_is_not_there_is_left_to_the_build(
    engine: Engine, registry: str, built: BuiltImage
) -> None:
    other = replace(built.planned, key="0" * 64)
    logged: list[str] = []
    pull_published([other], with_registry(engine, f"{registry}/team", logged))
    assert logged == [f"{other.image.cell.id}  is not at {registry}/team, it is built here"]


def test_an_image_with_another_content_key_is_not_taken(
    engine: Engine, registry: str, built: BuiltImage
) -> None:
    planned = replace(built.planned, key="f" * 64)
    name = f"{registry}/team/{planned.image.cell.family}"
    tag = f"{planned.image.tag}-{planned.key[:12]}"
    engine.sdk.images.get(built.digest).tag(name, tag)
    engine.sdk.images.push(name, tag=tag)
    assert pull_image(planned, engine, f"{registry}/team") == ""
    assert not existing_images([planned], engine)
    engine.sdk.images.remove(f"{name}:{tag}")


def test_a_registry_that_does_not_answer_is_named(engine: Engine, built: BuiltImage) -> None:
    other = replace(built.planned, key="0" * 64)
    logged: list[str] = []
    pull_published([other], with_registry(engine, "127.0.0.1:1/team", logged))
    (line,) = logged
    assert line.startswith("127.0.0.1:1/team cannot be pulled from, images are built here")
    with pytest.raises(docker.errors.APIError):
        pull_image(other, engine, "127.0.0.1:1/team")


def test_without_a_registry_it_says_that_nothing_is_pulled(
    engine: Engine, built: BuiltImage
) -> None:
    other = replace(built.planned, key="0" * 64)
    logged: list[str] = []
    pull_published([other], with_registry(engine, "", logged))
    (line,) = logged
    assert line.startswith("nothing is pulled, because no registry is set (DLIMG_REGISTRY")
    pull_published([built.planned], with_registry(engine, "", logged))
    assert logged == [line]
