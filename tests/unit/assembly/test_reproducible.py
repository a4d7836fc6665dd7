"""The same wheels make the same image in any folder, at any time and with any zlib."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import assembled_image

ROOT = Path(__file__).parents[3]
PLAIN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
# Whoever asks for the time is told another one.
LATER = """
import datetime, time
time.time = lambda: 4_102_444_800.5
time.time_ns = lambda: 4_102_444_800_500_000_000
time.localtime = time.gmtime = lambda _=0: time.struct_time((2100, 1, 1, 0, 0, 0, 4, 1, 0))
"""
ELSEWHERE = {"TZ": "Pacific/Kiritimati", "HOME": "/nonexistent", "PYTHONHASHSEED": "77"}
# Python itself takes no UTF-8 then, neither for names of files nor for what it reads.
NOT_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
OTHER_ZLIB = """
import sys, zlib
from zlib_ng import zlib_ng
assert zlib_ng.compress(bytes(range(256)) * 99) != zlib.compress(bytes(range(256)) * 99)
sys.modules["zlib"] = zlib_ng
"""
ALONE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.umask(0o077)\n"


def run(
    folder: Path, store: Path, before: str = "", given: Mapping[str, str] = PLAIN
) -> Mapping[str, Any]:
    """Return the digests of the image that another process assembles."""
    assemble = (
        "import runpy; runpy.run_module('tests.support.assembled_image', run_name='__main__')"
    )
    argv: Sequence[str] = [sys.executable, "-c", f"{before}\n{assemble}", str(folder), str(store)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, env={**given})
    assert ended.returncode == 0, ended.stderr
    digests: Mapping[str, Any] = json.loads(ended.stdout)
    return digests


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    assembled_image.wheels(folder)
    return folder


@pytest.fixture(scope="module")
def first(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return run(wheels, tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize(
    ("before", "given"),
    [
        (LATER, ELSEWHERE),
        pytest.param(ALONE, NOT_UTF8, marks=pytest.mark.slow),
        pytest.param(OTHER_ZLIB, {}, marks=pytest.mark.slow),
    ],
    ids=["later and elsewhere", "one core, umask and locale", "another zlib"],
)
def test_the_environment_does_not_change_the_image(
    wheels: Path, first: Mapping[str, Any], before: str, given: Mapping[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "päth with blanks"
    folder.mkdir()
    for path in sorted(wheels.iterdir(), reverse=True):
        shutil.copyfile(path, folder / path.name)  # with the time of now, in another order
    store = tmp_path / "store"
    assert run(folder, store, before, {**PLAIN, **given}) == first
    assert len(first["layers"]) == 6
    modes = {path.stat().st_mode & 0o777 for path in (store / "blobs/sha256").iterdir()}
    assert modes == {0o644}
