"""The sdist and the wheel: what they hold, and that both are the whole tool."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from dlimg import __version__

ROOT = Path(__file__).parents[3]
WHEEL = f"dlimg-{__version__}-py3-none-any.whl"
BUILD = [sys.executable, "-m", "hatchling", "build", "--directory"]
# What the wheel has besides `dlimg/`, by its place in the repository.
SHIPPED = ("images", "locks", "matrix.yaml", "requirements/nox.txt", "requirements/runtime.txt")


def build(source: Path, folder: Path, target: str) -> Path:
    command = [*BUILD, str(folder), "--target", target]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env={**os.environ})
    (path,) = folder.iterdir()
    return path


def contents(wheel: Path) -> Mapping[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


def committed(*paths: str) -> list[str]:
    """Return the files in the repository that are committed or to be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def test_the_wheel_holds_the_package_and_the_shipped_project_and_nothing_else(wheel: Path) -> None:
    expected = {name: name for name in committed("dlimg")}
    expected |= {f"dlimg/{name}": name for name in committed(*SHIPPED)}
    files = contents(wheel)
    assert {name for name in files if ".dist-info/" not in name} == expected.keys()
    for name in ("dlimg/images/common/checks/pip_check.py", "dlimg/project_files/matrix.yaml.j2"):
        assert name in files
    assert all(files[name] == (ROOT / path).read_bytes() for name, path in expected.items())


def test_a_wheel_made_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    source = tmp_path / f"dlimg-{__version__}"
    assert not (source / "rendered").exists()
    again = build(source, tmp_path / "again", "wheel")
    assert contents(again) == contents(wheel)


def test_the_unpacked_wheel_answers_and_renders_outside_of_a_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "library")  # noqa: S202  # our own
    (tmp_path / "elsewhere").mkdir()
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "library")}

    def dlimg(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dlimg", *words],
            cwd=tmp_path / "elsewhere",
            env={**os.environ, **variables},
            check=True,
            capture_output=True,
            text=True,
        )

    templates = json.loads(dlimg("list", "--templates", "--format", "json").stdout)
    library = tmp_path / "library/dlimg/images"
    assert {Path(file["path"]).relative_to(library).as_posix() for file in templates} == {
        name.removeprefix("images/") for name in committed("images")
    }
    picked = dlimg("pick", "jax", "--gpu", "H100", "--driver", "580")
    assert "dlimg/jax:" in picked.stdout
    assert "no registry is set" in picked.stderr
    variables["DLIMG_REGISTRY"] = "ghcr.io/team"
    assert "ghcr.io/team/jax:" in dlimg("pick", "jax", "--gpu", "H100", "--driver", "580").stdout
    planned = dlimg("plan", "--group", "default")
    assert planned.stderr.count("using the matrix and locks of dlimg") == 1
    assert "layers:" in planned.stdout
    dlimg("init", "--wheel", str(wheel), "--family", "jax", "new")
    cell = "jax-0.12.0.1-cpu-py3.13-debian13"
    written = tmp_path / "elsewhere/new/rendered" / cell / "Dockerfile"
    assert written.read_bytes() == (ROOT / "rendered" / cell / "Dockerfile").read_bytes()
