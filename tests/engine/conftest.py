"""The engine that all engine tests share: a running one, or a private one started once."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dlimg.builders.secrets import secrets_from
from dlimg.context import Context
from dlimg.engine import discover
from dlimg.engine.bases import find_base
from dlimg.engine.client import Engine
from dlimg.model import DEFAULT_COMPRESSION, Base, BuiltImage
from dlimg.render.content_key import content_key
from tests.support import layout_image as layout_images
from tests.support import real_jax, samples, small_images
from tests.support.layout_image import LayoutImage

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine; without one, engine tests fail and are not skipped.

    Builds of these tests are not recorded among the user's images.
    """
    state = {"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}
    return discover.find_engine(Context.of({**os.environ, **state}, print), private="allow")


@pytest.fixture(scope="session")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[None]]:
    """A lock between the processes that run tests: only one of them makes shared images."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    @contextlib.contextmanager
    def held() -> Iterator[None]:
        with (folder / "turn").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return held


@pytest.fixture(scope="session")
def base(engine: Engine, turn: Callable[[], AbstractContextManager[None]]) -> Base:
    """A Debian 13 to build small images on."""
    with turn():
        return find_base(engine, samples.system("debian13"), choice="auto", pins={}, log=print)


@pytest.fixture(scope="session")
def jax_image(
    engine: Engine, base: Base, turn: Callable[[], AbstractContextManager[None]]
) -> BuiltImage:
    """The real CPU image of JAX."""
    assert base.reference
    with turn():
        return real_jax.jax(engine)


@pytest.fixture(scope="session")
def layout_image(
    engine: Engine, base: Base, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    """A small image with the whole layout, and no framework."""
    folder = tmp_path_factory.mktemp("layout")
    yield from layout_images.make_image(engine, base, layout_images.cell(), folder)


@pytest.fixture(scope="session")
def tools_image(engine: Engine, base: Base) -> str:
    """An image with a registry and tools that read images; it stays in the engine."""
    image = samples.image(
        samples.cell("registry"),
        dockerfile=(HERE / "registry/Dockerfile").read_text(),
        repository="dlimg-test/registry",
    )
    plan = samples.planned(image, on=base, key=content_key(image, base, "", DEFAULT_COMPRESSION))
    with secrets_from(Context.of(os.environ, print)) as using:
        (built,) = small_images.built_all([plan], engine, using=using)
    assert isinstance(built, BuiltImage), built
    return plan.reference
