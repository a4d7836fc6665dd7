"""Files of `images/`: dlimg's own, and those of a project in their place."""

import json
import shutil
from pathlib import Path

import pytest

from dlimg.checks.discover import read_scripts
from dlimg.cli.main import main
from dlimg.image_files import image_files
from dlimg.pipeline.images import checks_of_cell, locked_images
from dlimg.pipeline.project import Project, read_project
from dlimg.render.dockerfile import layers_obstacle, load_templates, template_folder
from tests.support.jax_project import CELL, ROOT

FAMILY = """\
    axes:
      version: [{version}]
      accelerator: [cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["{package}=={{version}}"]
"""
MATRIX = f"""\
operating_systems:
  debian13: {{distribution: Debian 13, image: "debian:trixie-slim"}}
families:
  jax:
    framework: jax
{FAMILY.format(version="0.12.0.1", package="jax")}
  jax-hf:
    framework: jax
{FAMILY.format(version="0.12.0.1", package="jax")}
  nlp:
    framework: torch
{FAMILY.format(version="2.15.0", package="torch")}
  sklearn:
    framework: none
{FAMILY.format(version="1.7.2", package="scikit-learn")}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a matrix and one lock, and without `images/`; the current folder."""
    folder = tmp_path / "project"
    (folder / "locks").mkdir(parents=True)
    (folder / "matrix.yaml").write_text(MATRIX)
    shutil.copy(ROOT / "locks" / f"{CELL}.json", folder / "locks")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def dockerfile() -> str:
    project = read_project("matrix.yaml")
    (image,) = locked_images(project, project.resolution.cells)
    return image.dockerfile


def names_of_checks(project: Project, family: str) -> list[str]:
    (cell,) = (cell for cell in project.resolution.cells if cell.family == family)
    return [check.name for check in checks_of_cell(project, cell, None)]


def shipped_dockerfile() -> str:
    return (ROOT / "rendered" / CELL / "Dockerfile").read_text()


@pytest.mark.usefixtures("project")
def test_a_project_without_images_has_those_of_dlimg() -> None:
    assert dockerfile() == shipped_dockerfile()


@pytest.mark.usefixtures("project")
def test_families_of_any_name_have_the_template_and_framework_that_they_name() -> None:
    project = read_project("matrix.yaml")
    templates = load_templates(project.images)
    cells = {cell.family: cell for cell in project.resolution.cells}
    folders = {name: template_folder(cell, templates) for name, cell in cells.items()}
    assert folders == {"jax": "jax", "jax-hf": "jax", "nlp": "pytorch", "sklearn": "_layout"}
    modules = {name: cell.framework.module for name, cell in cells.items()}
    assert modules == {"jax": "jax", "jax-hf": "jax", "nlp": "torch", "sklearn": ""}
    assert all(layers_obstacle(folder, templates) == "" for folder in folders.values())


def test_checks_of_frameworks_are_not_required_without_one(project: Path) -> None:
    required = "required_checks: {any: [conv_training, pip_check]}\n"
    (project / "matrix.yaml").write_text(MATRIX + required)
    read = read_project("matrix.yaml")
    cells = {cell.family: cell for cell in read.resolution.cells}
    needed = {
        family: {check.name for check in checks_of_cell(read, cell, None) if check.required}
        for family, cell in cells.items()
    }
    assert needed["sklearn"] == {"pip_check"}
    assert needed["jax-hf"] == {"pip_check", "conv_training"}


@pytest.mark.usefixtures("project")
def test_a_second_family_of_a_framework_has_the_same_checks() -> None:
    project = read_project("matrix.yaml")
    names = names_of_checks(project, "jax")
    assert names_of_checks(project, "jax-hf") == names
    assert "conv_training" in names
    assert "conv_training" not in names_of_checks(project, "sklearn")
    assert "runtime_start" in names_of_checks(project, "sklearn")


def test_checks_in_the_folder_of_a_framework_are_for_all_its_families(project: Path) -> None:
    check = project / "images/jax/checks/ours.py"
    check.parent.mkdir(parents=True)
    shutil.copy(ROOT / "images/common/checks/pip_check.py", check)
    read = read_project("matrix.yaml")
    assert "ours" in names_of_checks(read, "jax-hf")
    assert "ours" not in names_of_checks(read, "nlp")


def test_files_of_a_project_replace_those_of_dlimg_one_by_one(project: Path) -> None:
    conf = project / "images/_layout/pip.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[global]\nretries = 9\n")
    text = dockerfile()
    assert "retries = 9" in text
    assert text != shipped_dockerfile()


@pytest.mark.usefixtures("project")
def test_an_ejected_copy_without_changes_changes_no_dockerfile() -> None:
    assert main(["eject", "_layout", "images/jax/Dockerfile.j2", "common/checks/pip_check.py"]) == 0
    assert dockerfile() == shipped_dockerfile()
    assert Path("images/jax/Dockerfile.j2").is_file()
    assert not Path("images/jax/framework.yaml").exists()


def test_ejecting_over_a_file_of_the_project_is_refused_as_a_whole(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = project / "images/_layout/pip.conf"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    assert main(["eject", "_layout"]) == 1
    assert "images/_layout/pip.conf: the project has this file already" in capsys.readouterr().err
    assert own.read_text() == "mine"
    assert list(own.parent.iterdir()) == [own]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("jax/Dockerfile", "did you mean 'jax/Dockerfile.j2'?"),
        ("images/comon/checks", "did you mean 'common/checks'?"),
        ("../matrix.yaml", "`dlimg list --templates` shows them"),
        ("jax/nothing.txt", "`dlimg list --templates` shows them"),
    ],
)
def test_an_unknown_file_is_refused_with_the_nearest(
    capsys: pytest.CaptureFixture[str], name: str, hint: str
) -> None:
    assert main(["eject", name]) == 2
    error = capsys.readouterr().err
    assert f"{name}: dlimg ships no such file of images" in error
    assert hint in error
    assert not Path("images").exists()


def test_the_list_of_templates_says_where_each_comes_from(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_layout/pip.conf", "mine/checks/own.py"):
        path = project / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert main(["list", "--templates", "--format", "json"]) == 0
    files = {file["file"]: file for file in json.loads(capsys.readouterr().out)}
    assert (files["_layout/pip.conf"]["from"], files["_layout/pip.conf"]["replaces"]) == (
        "project",
        True,
    )
    assert (files["mine/checks/own.py"]["from"], files["mine/checks/own.py"]["replaces"]) == (
        "project",
        False,
    )
    assert files["jax/Dockerfile.j2"]["from"] == "package"
    assert Path(files["jax/Dockerfile.j2"]["path"]).is_file()
    assert main(["list", "--templates"]) == 0
    assert "_layout/pip.conf\tproject\tyes" in capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_the_list_of_templates_takes_no_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--templates", "jax*"]) == 2
    assert "--templates shows all files" in capsys.readouterr().err


def test_windows_line_endings_of_a_checkout_change_nothing(project: Path) -> None:
    shutil.copytree(ROOT / "images", project / "images")
    lock = project / "locks" / f"{CELL}.json"
    images = [path for path in (project / "images").rglob("*") if path.suffix != ".pyc"]
    for path in (*filter(Path.is_file, images), project / "matrix.yaml", lock):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert dockerfile() == shipped_dockerfile()
    here, shipped = image_files(project), image_files(ROOT)
    assert read_scripts(here, "jax") == read_scripts(shipped, "jax")
