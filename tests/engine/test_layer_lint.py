"""Layers of an image that only an engine has are read as it saves them."""

from pathlib import Path

import pytest

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.model import Base
from dlimg.publish.layer_lint import lint_layers
from dlimg.publish.push_source import PushSource
from dlimg.store.store import Store
from tests.support import small_images

pytestmark = pytest.mark.engine

SOUND = "FROM debian:trixie-slim\nRUN echo 1 > /srv/one && chown 65535:65535 /srv/one\n"
FOREIGN = f"{SOUND}RUN echo 2 > /srv/two && chown 70000:65536 /srv/two\n"


def lint(engine: Engine, base: Base, text: str, state: Path) -> None:
    with small_images.image(small_images.planned(base, text), engine) as built:
        image = engine.sdk.images.get(built.digest)
        source = PushSource(manifest="", config="", labels={}, image=image)
        lint_layers(source, Store(path=state / "layers"), state=state, where="a-cell")


def test_a_sound_image_passes(engine: Engine, base: Base, tmp_path: Path) -> None:
    lint(engine, base, SOUND, tmp_path)


def test_an_owner_that_no_host_takes_is_found(engine: Engine, base: Base, tmp_path: Path) -> None:
    with pytest.raises(Negative) as caught:
        lint(engine, base, FOREIGN, tmp_path)
    (problem,) = caught.value.problems
    assert problem.message.endswith("/srv/two belongs to 70000:65536")
    assert problem.where == "a-cell"
