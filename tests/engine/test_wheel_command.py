"""Source distributions from an index of our own, built to wheels and locked."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlimg.engine.client import Engine
from tests.support import real_jax
from tests.support.package_index import PackageIndexServer, made_wheel, package_index, sha256
from tests.support.source_distributions import source_distribution

pytestmark = pytest.mark.engine

PURE = source_distribution("purelike", "1.0")
COMPILED = source_distribution("cliblike", "2.0", compiled=True)
BROKEN = source_distribution("brokenlike", "1.0", backend="raise SystemExit('no such header')\n")
MATRIX = """\
operating_systems:
  debian13: {{distribution: Debian 13, image: "debian:trixie-slim"}}
  debian12: {{distribution: Debian 12, image: "debian:bookworm-slim"}}
indexes:
  mine: {{url: {url}, packages: [purelike, cliblike, brokenlike, wheellike]}}
families:
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13, debian12]
      flavour: [runtime]
    packages:
      cpu: [purelike, cliblike]
"""
CELL = "jax-0.12.0.1-cpu-py3.13-debian13"


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndexServer]:
    with package_index(PURE, COMPILED, BROKEN, made_wheel("wheellike", "1.0")) as server:
        server.files |= dict([source_distribution("wheellike", "1.0")])
        yield server


@pytest.fixture(scope="module")
def folder(
    engine: Engine, index: PackageIndexServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    assert engine.host
    path = tmp_path_factory.mktemp("wheels")
    (path / "images").symlink_to(real_jax.ROOT / "images")
    (path / "matrix.yaml").write_text(MATRIX.format(url=index.url))
    return path


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    ended = subprocess.run(
        [sys.executable, "-m", "dlimg", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(real_jax.ROOT),
            "XDG_STATE_HOME": str(folder / "state"),
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == code, ended.stderr
    return ended.stdout, ended.stderr


def wheel(folder: Path, package: str) -> dict[str, Any]:
    out, _ = run(folder, "wheel", package, "--for", CELL, "--format", "json")
    value: dict[str, Any] = json.loads(out)
    return value


@pytest.mark.slow
def test_a_pure_package_fits_every_system(folder: Path) -> None:
    built = wheel(folder, "purelike")
    assert (built["file"], built["system"], built["is_new"]) == (
        "purelike-1.0-py3-none-any.whl",
        "",
        True,
    )
    assert built["source_sha256"] == sha256(PURE[1])
    content = Path(built["path"]).read_bytes()
    assert built["sha256"] == sha256(content)
    assert Path(built["path"]).parent.name == built["sha256"]
    assert not wheel(folder, "purelike==1.0")["is_new"], "it is built once"


@pytest.mark.slow
def test_an_extension_module_is_for_its_system(folder: Path) -> None:
    built = wheel(folder, "cliblike")
    assert built["file"] == "cliblike-2.0-cp313-cp313-linux_x86_64.whl"
    assert (built["system"], built["python"]) == ("trixie", "3.13")
    assert any(line.startswith("g++ ") for line in built["packages"])
    record = json.loads((Path(built["path"]).parent / "wheel.json").read_text())
    assert record["schema"] == 1
    assert record["base"].startswith("sha256:")


@pytest.mark.slow
def test_a_lock_takes_them_on_their_system(folder: Path) -> None:
    wheel(folder, "purelike")
    built = wheel(folder, "cliblike")
    run(folder, "lock", CELL)
    lock = json.loads((folder / f"locks/local/{CELL}.json").read_text())
    locked = {wheel["name"]: wheel for wheel in lock["wheels"]}
    assert locked["cliblike"]["sha256"] == built["sha256"]
    assert locked["cliblike"]["local"]
    assert locked["purelike"]["local"]
    other = CELL.replace("debian13", "debian12")
    _, err = run(folder, "lock", other, code=2)
    assert "cliblike" in err


def test_a_lock_builds_what_its_family_names(folder: Path, tmp_path: Path) -> None:
    text = (folder / "matrix.yaml").read_text().replace("[debian13, debian12]", "[debian13]")
    text = text.replace("  debian12:", "  # debian12:")
    (tmp_path / "images").symlink_to(real_jax.ROOT / "images")
    (tmp_path / "matrix.yaml").write_text(text + "    build: [cliblike, purelike, wheellike]\n")
    _, err = run(tmp_path, "lock", "--check")
    assert "all locks are current" in err, "such a lock may be missing"
    _, err = run(tmp_path, "lock")
    assert "cliblike-2.0-cp313-cp313-linux_x86_64.whl (built) for Debian 13" in err
    assert f"wheellike of {CELL} is not built: the index has wheellike-1.0-py3-none-any" in err
    path = tmp_path / f"locks/local/{CELL}.json"
    locked = {wheel["name"]: wheel for wheel in json.loads(path.read_text())["wheels"]}
    assert locked["cliblike"]["local"]
    assert locked["purelike"]["local"]
    _, err = run(tmp_path, "lock")
    assert "built" not in err, "a current lock asks no engine"
    _, err = run(tmp_path, "lock", "--check", code=1)
    assert "wheellike is to be built, and no image needs it" in err
    # On another machine the lock may be there and its wheels not.
    shutil.rmtree(tmp_path / "state")
    _, err = run(tmp_path, "lock")
    assert "cliblike-2.0-cp313-cp313-linux_x86_64.whl (built)" in err


def test_what_does_not_build_says_why(folder: Path) -> None:
    _, err = run(folder, "wheel", "brokenlike", "--for", CELL, code=1)
    assert "brokenlike 1.0 does not build on Debian 13" in err
    assert "no such header" in err


def test_a_package_with_a_wheel_is_refused(folder: Path) -> None:
    _, err = run(folder, "wheel", "wheellike", "--for", CELL, code=2)
    assert "the index has wheellike-1.0-py3-none-any.whl, which fits" in err


def test_a_package_without_sources_is_refused(folder: Path) -> None:
    _, err = run(folder, "wheel", "wheellike>=2", "--for", CELL, code=2)
    assert "no source distribution of wheellike>=2 for Python 3.13" in err
    _, err = run(folder, "wheel", "wheellike", "--for", "*", code=2)
    assert "fits cells of 2 systems" in err
