"""The engine that all engine tests share: a running one, or a private one brought up once."""

import os
import sys
from pathlib import Path

import pytest

from dlimg.build.secrets import secrets_from
from dlimg.draw.key import key
from dlimg.engine import find
from dlimg.engine.bases import base_for
from dlimg.engine.client import Engine
from dlimg.model import Base, Built

# The builders of small values are the unit tests'.
sys.path.append(str(Path(__file__).parent.parent / "unit"))

import make
import real
import small

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine that builds and runs; an engine test that finds none fails, it is not skipped.

    What these tests build is not remembered among the user's images.
    """
    state = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    return find.find({**os.environ, **state}, private="allow", say=print)


@pytest.fixture(scope="session")
def base(engine: Engine) -> Base:
    """A Debian 13 to build small images on."""
    return base_for(engine, make.system("debian13"), choice="auto", pins={}, say=print)


@pytest.fixture(scope="session")
def jax_image(engine: Engine) -> Built:
    """The real CPU image of JAX."""
    return real.jax(engine)


@pytest.fixture(scope="session")
def tools_image(engine: Engine, base: Base) -> str:
    """A registry, and what other people read images with; kept in the engine, as it takes long."""
    image = make.image(
        make.cell("registry"),
        dockerfile=(HERE / "registry/Dockerfile").read_text(),
        repository="dlimg-test/registry",
    )
    one = make.planned(image, on=base, key=key(image, base))
    with secrets_from(os.environ) as using:
        (built,) = small.built_all([one], engine, using=using)
    assert isinstance(built, Built), built
    return one.reference
