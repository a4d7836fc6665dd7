"""The sdist and the wheel: what they hold, and that both are the whole tool."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dlimg import __version__
from tests.support.http_server import served

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


@pytest.mark.slow
def test_a_wheel_made_from_the_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    archive = build(ROOT, tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, _: member  # Python 3.11.2 has none
        tar.extractall(tmp_path)  # noqa: S202 - written above
    source = tmp_path / f"dlimg-{__version__}"
    assert not (source / "rendered").exists()
    again = build(source, tmp_path / "again", "wheel")
    assert contents(again) == contents(wheel)


@pytest.mark.slow
def test_the_unpacked_wheel_answers_and_renders_outside_of_a_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "library")  # noqa: S202  # our own
    (tmp_path / "elsewhere").mkdir()
    variables = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path / "library")}

    def dlimg(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dlimg", *arguments],
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


def serve_index(folder: Path, wheel: Path) -> AbstractContextManager[str]:
    """Serve an index with this wheel of dlimg."""
    page = folder / "simple/dlimg/index.html"
    page.parent.mkdir(parents=True)
    digest = sha256(wheel.read_bytes()).hexdigest()
    page.write_text(f'<a href="{WHEEL}#sha256={digest}">{WHEEL}</a>')
    shutil.copy(wheel, page.parent / WHEEL)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return served(Handler)


def init_from_index(library: Path, wheel: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Start a project with the dlimg in `library`; the index has this wheel."""
    with serve_index(folder / "index", wheel) as address:
        variables = {
            "PYTHONPATH": str(library),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "UV_DEFAULT_INDEX": f"{address}/simple",
            "NO_PROXY": "127.0.0.1",
        }
        return subprocess.run(
            [sys.executable, "-m", "dlimg", "init", "--family", "jax", "new"],
            cwd=folder,
            env={**os.environ, **variables},
            check=False,
            capture_output=True,
            text=True,
        )


def test_a_project_takes_the_released_dlimg_by_its_hash(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "library")  # noqa: S202  # our own
    done = init_from_index(tmp_path / "library", wheel, tmp_path)
    assert done.returncode == 0, done.stderr
    lock = (tmp_path / "new/requirements/dlimg.txt").read_text().splitlines()
    digest = sha256(wheel.read_bytes()).hexdigest()
    assert lock[1:3] == [f"dlimg=={__version__} \\", f"    --hash=sha256:{digest}"]
    assert not list((tmp_path / "new").rglob("*.whl"))


def test_another_package_called_dlimg_at_the_index_is_refused(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "library")  # noqa: S202  # our own
    other = tmp_path / WHEEL
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("dlimg/__init__.py", "import os\n")
        archive.writestr(
            f"dlimg-{__version__}.dist-info/RECORD", "dlimg/__init__.py,sha256=AA,10\n"
        )
    done = init_from_index(tmp_path / "library", other, tmp_path)
    assert done.returncode == 2
    assert "of the package index is another than this one" in done.stderr
    assert "--wheel FILE" in done.stderr
    assert not (tmp_path / "new").exists()
