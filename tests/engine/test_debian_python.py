"""Parts of Python that Debian has in separate packages work on each operating system.

Only systems that can be bootstrapped here are tested; a Python from uv is not Debian's.
"""

from collections.abc import Iterator

import pytest

from dlimg.engine.bases import find_base
from dlimg.engine.client import Engine
from dlimg.model import Cell
from tests.support import layout_image, samples
from tests.support.layout_image import LayoutImage
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

# The user's own folder for a venv, and what has to be there once it is made.
VENV = """
python -m venv /tmp/venv
cd /tmp/venv
test "$(bin/python -c 'import sys; print(sys.prefix)')" = /tmp/venv
bin/pip --version | grep -q "from /tmp/venv/"
bin/pip install --quiet --no-index /tmp/new-1.0-py3-none-any.whl
bin/new-main
! bin/python -c 'import six' 2>/dev/null
"""
# The base of the older one is bootstrapped for these tests alone.
SYSTEMS = ("debian13", pytest.param("debian12", marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=SYSTEMS)
def image(
    request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LayoutImage]:
    of = _cell(request.param)
    if of.os == layout_image.cell().os:
        yield request.getfixturevalue("layout_image")
        return
    base = find_base(engine, of.os, choice="auto", pins={}, log=print)
    yield from layout_image.make_image(engine, base, of, tmp_path_factory.mktemp(request.param))


def _cell(system: str) -> Cell:
    requirements = ("six==1.17.0", "pip")
    return samples.cell("jax", "0.12.0.1", package="jax", os=system, requirements=requirements)


@pytest.mark.parametrize("user", first_values(["12345:0", "1000:100", "0"], 1, pytest.mark.slow))
def test_a_venv_gets_a_pip_that_works(image: LayoutImage, user: str) -> None:
    wheel = layout_image.wheel("new", "1.0")
    script = f"base64 -d > /tmp/new-1.0-py3-none-any.whl; {VENV}"
    assert image.says(script, "--user", user, stdin=wheel).endswith("new 1.0")


def test_a_venv_is_made_from_the_image_s_python_by_whatever_name(image: LayoutImage) -> None:
    for python in ("python", "python3", "/opt/env/bin/python", "/home/user/env/bin/python3"):
        script = f"{python} -m venv --without-pip /tmp/v; readlink -f /tmp/v/bin/python"
        assert image.says(script).startswith("/usr/bin/python3.")


def test_dbm_gnu_is_installed(image: LayoutImage) -> None:
    script = """
import dbm.gnu
with dbm.gnu.open("/tmp/x", "c") as file:
    file["a"] = "b"
print(dbm.gnu.open("/tmp/x")["a"])
"""
    outcome = image.run("python", "-c", script)
    assert outcome.stdout.strip() == "b'b'", outcome.stderr


def test_standard_library_modules_that_debian_splits_off_are_installed(image: LayoutImage) -> None:
    modules = "bz2, ctypes, curses, dbm.ndbm, ensurepip, lzma, readline, sqlite3, ssl, venv, zlib"
    assert image.says(f"python -c 'import {modules}; print(1)'") == "1"


@pytest.mark.parametrize("user", first_values(["1000:100", "12345:0", "0"], 1, pytest.mark.slow))
def test_the_shell_is_bash(image: LayoutImage, user: str) -> None:
    assert image.says("printenv SHELL", "--user", user) == "/bin/bash"
