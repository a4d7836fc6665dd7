"""An image whose index does not answer: left out of the default group, a failure by name."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.engine.client import Engine, list_images
from dlimg.lock.lockfile import lock_text
from dlimg.lock.store import read_lock
from dlimg.model import BuiltImage
from tests.support import real_jax, wheel_files
from tests.support.one_cell_project import MATRIX, REGISTRY, OneCellProject, one_cell_project

pytestmark = pytest.mark.engine

SILENT = "http://127.0.0.1:9/simple"
AWAY = real_jax.CELL.replace("jax-", "away-", 1)
FAMILY = MATRIX.partition("  jax:\n")[2]
INDEXES = f"indexes: {{elsewhere: {{url: {SILENT}, packages: [jaxlib]}}}}\n"


@pytest.fixture(scope="module")
def project(
    engine: Engine, jax_image: BuiltImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneCellProject]:
    folder = tmp_path_factory.mktemp("skipped")
    with one_cell_project(folder, jax_image) as result:
        lock = read_lock(real_jax.CELL, folder / "locks")
        assert lock
        wheel = wheel_files.wheel(folder, "jaxlib", {"jaxlib/__init__.py": "z = 3\n"}, version="1")
        routed = replace(wheel_files.locked(wheel), index="elsewhere")
        away = replace(lock, name=AWAY, wheels=(*lock.wheels, routed))
        (folder / "locks" / f"{AWAY}.json").write_text(lock_text(away))
        groups = "groups:\n  default: [{family: jax}, {family: away}]\n"
        (folder / "matrix.yaml").write_text(f"{INDEXES}{MATRIX}  away:\n{FAMILY}{groups}")
        (folder / "wheels").mkdir()
        wheel.rename(folder / "wheels" / wheel.name)
        result.ready("cache")
        yield result
    for name in (row for row in list_images(engine, {"reference": f"{REGISTRY}/*"})):
        for tag in name["RepoTags"] or ():
            engine.sdk.images.remove(tag)


def run(project: OneCellProject, *arguments: str) -> tuple[int, list[dict[str, object]], str]:
    with project.start("cache", *arguments, "--format", "json") as child:
        out, err = child.communicate(timeout=300)
    assert "Traceback" not in err, err
    return child.returncode, json.loads(out), err


def test_it_is_skipped_in_the_default_group(project: OneCellProject, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    code, results, err = run(project, "build", "--report", str(report))
    assert code == 0, err
    built, skipped = results
    assert (built["built"], built["skipped"]) == (True, None)
    assert (skipped["cell"], skipped["built"], skipped["error"]) == (AWAY, False, None)
    assert skipped["skipped"] == {
        "reason": f"the index elsewhere ({SILENT}) cannot be used: no connection to it can be "
        "made, and no extra folder has jaxlib-1-py3-none-any.whl",
        "remedy": "name a mirror with UV_INDEX=elsewhere=URL, a login with "
        "UV_INDEX_ELSEWHERE_USERNAME and UV_INDEX_ELSEWHERE_PASSWORD, or a folder that has the "
        "wheel with --find-links",
    }
    assert "1 of 2 images in" in err
    assert f"{AWAY}  skipped: the index elsewhere" in err
    assert "<skipped" in report.read_text()


def test_it_fails_where_it_was_asked_for(project: OneCellProject) -> None:
    code, (result,), err = run(project, "build", AWAY)
    assert (code, result["skipped"]) == (5, None), err
    assert "the index elsewhere" in str(result["error"])


def test_a_folder_with_the_file_stands_in(project: OneCellProject) -> None:
    folder = str(project.folder / "wheels")
    code, (result,), err = run(project, "build", AWAY, "--find-links", folder)
    assert (code, result["built"], result["skipped"]) == (0, True, None), err


def test_no_address_is_in_an_image(project: OneCellProject, engine: Engine) -> None:
    (row,) = list_images(engine, {"reference": f"{REGISTRY}/away"})
    name = next(tag for tag in row["RepoTags"])
    image = engine.sdk.images.get(name)
    address = project.index.address.removeprefix("http://")
    for host in (address, SILENT):
        assert host not in json.dumps([image.attrs, image.history()])
    search = ["grep", "--recursive", "--fixed-strings", "--files-with-matches", "--no-messages"]
    folders = ["/etc", "/opt", "/home", "/usr/local"]
    script = f"{' '.join(search)} -e {address} -e {SILENT} {' '.join(folders)} || echo none"
    result = engine.sdk.containers.run(name, ["bash", "-c", script], user="root", remove=True)
    assert result.decode().split() == ["none"]


@pytest.mark.usefixtures("project")
def test_a_mirror_in_a_container_is_a_variable(engine: Engine) -> None:
    (row,) = list_images(engine, {"reference": f"{REGISTRY}/away"})
    shown = engine.sdk.containers.run(
        row["RepoTags"][0],
        ["bash", "-c", "echo $PIP_INDEX_URL; cat /opt/env/pip.conf"],
        environment={"PIP_INDEX_URL": "https://mirror.test/simple"},
        remove=True,
    ).decode()
    first, _, settings = shown.partition("\n")
    assert first == "https://mirror.test/simple"
    assert "index-url" not in settings, "a file of the image would not give way to nothing"


def test_what_was_built_needs_no_index(project: OneCellProject) -> None:
    code, results, err = run(project, "build")
    assert code == 0, err
    assert [result["built"] for result in results] == [True, True]
