"""The engine that all engine tests share: a running one, or a private one brought up once."""

import os
import sys
from pathlib import Path

import pytest

from dlimg.engine import find
from dlimg.engine.bases import base_for
from dlimg.engine.client import Engine
from dlimg.model import Base, Built

# The builders of small values are the unit tests'.
sys.path.append(str(Path(__file__).parent.parent / "unit"))

import make
import real


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
