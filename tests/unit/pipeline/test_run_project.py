"""New projects of runs, and the layers of their packages."""

import ast
import json
import subprocess
from pathlib import Path

import pytest

from dlimg.builders.progress import BuildProgress, BuildStep
from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.host.process import TIMED_OUT
from dlimg.pipeline.run_layer import (
    LayerBase,
    LockedPackage,
    layer_dockerfile,
    layer_failure,
    parse_report,
    read_lock_file,
    resolve_dockerfile,
)
from dlimg.pipeline.run_project import (
    TEMPLATES,
    NewRunProject,
    new_files,
    read_project_file,
    request_in,
    start_run_project,
)
from dlimg.run.model import ProjectLayer, RunRequest

BASE = LayerBase(name="dlimg/jax:1", digest="sha256:1", user="1000:100", kind="jax")
TQDM = LockedPackage(name="tqdm", version="4.67", sha256="ab")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context.of({"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, print)


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_is_a_project_that_can_be_read(
    template: str, tmp_path: Path, context: Context
) -> None:
    folder = tmp_path / "my project 你好"
    written = start_run_project(NewRunProject(folder=folder, template=template), context)
    assert all((folder / name).is_file() for name in written)
    project = read_project_file(folder)
    assert project
    assert project.name == "my-project-你好"
    assert not project.layer
    if template == "notebook":
        assert project.mode == "jupyter"
        assert json.loads((folder / "start.ipynb").read_text())["nbformat"] == 4
    else:
        assert project.env == template
        assert project.command == ("sh", "-c", "python train.py")
        ast.parse((folder / "train.py").read_text())


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_line_that_is_commented_out_is_right(template: str, tmp_path: Path) -> None:
    lines = new_files("x", template)["dlimg.yaml"].splitlines()
    shown = [line.removeprefix("# ") for line in lines if not line.startswith("# yaml-language")]
    text = "\n".join(shown).replace("../mnist", "/data")
    (tmp_path / "dlimg.yaml").write_text(text)
    project = read_project_file(tmp_path)
    assert project
    assert project.layer.packages == ("tqdm",)
    assert project.stop_seconds == 120


def test_a_folder_with_code_gets_what_it_lacks_once(tmp_path: Path, context: Context) -> None:
    (tmp_path / "train.py").write_text("mine")
    written = start_run_project(NewRunProject(folder=tmp_path, template="jax"), context)
    assert sorted(written) == [".dlimg/schema.json", ".dlimgignore", "dlimg.yaml"]
    assert (tmp_path / "train.py").read_text() == "mine"
    with pytest.raises(BadInput, match="has a project already"):
        start_run_project(NewRunProject(folder=tmp_path, template="jax"), context)


def test_a_repository_is_not_cloned_into_files(tmp_path: Path, context: Context) -> None:
    (tmp_path / "train.py").write_text("mine")
    request = NewRunProject(folder=tmp_path, template="jax", git_url="https://example.com/x")
    with pytest.raises(BadInput, match="is not empty"):
        start_run_project(request, context)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_a_project_begins_with_a_repository(tmp_path: Path, context: Context) -> None:
    source = tmp_path / "source"
    git = ["git", "-C", str(source), "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "init", "-q", str(source)], check=True)
    (source / "model.py").write_text("import jax\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    request = NewRunProject(folder=tmp_path / "new", template="jax", git_url=str(source))
    assert "train.py" not in start_run_project(request, context)
    assert (tmp_path / "new/model.py").exists()
    assert read_project_file(tmp_path / "new")
    missing = NewRunProject(folder=tmp_path / "no", template="jax", git_url=f"{source}-none")
    with pytest.raises(Negative, match="git does not clone"):
        start_run_project(missing, context)
    assert not (tmp_path / "no").exists()


def test_a_folder_without_a_project_has_none(tmp_path: Path) -> None:
    assert read_project_file(tmp_path) is None
    (tmp_path / "dlimg.yaml").write_bytes(b"\xff")
    with pytest.raises(BadInput, match="cannot be read"):
        read_project_file(tmp_path)


def test_a_layer_installs_exactly_what_is_locked_and_ends_as_the_images_user() -> None:
    layer = ProjectLayer(packages=("tqdm",), apt=("ffmpeg",), setup=("echo $HOME 'x'",))
    text = layer_dockerfile(layer, BASE, [TQDM])
    assert text.startswith("FROM dlimg/jax:1\n")
    assert "tqdm==4.67 --hash=sha256:ab" in text
    assert "--require-hashes" in text
    assert "apt-get install -qq --yes --no-install-recommends ffmpeg" in text
    assert "echo $HOME 'x'" in text
    assert text.endswith("USER 1000:100\n")


def test_a_layer_has_only_the_steps_that_it_needs() -> None:
    assert layer_dockerfile(ProjectLayer(), BASE, []) == "FROM dlimg/jax:1\nUSER 1000:100\n"


def test_the_images_own_pip_resolves_packages() -> None:
    text = resolve_dockerfile(ProjectLayer(packages=("tqdm>4", "rich")), BASE)
    assert "\ntqdm>4\nrich\n" in text
    assert "pip install --dry-run" in text


def test_a_lock_is_made_of_pips_report() -> None:
    entry = {
        "metadata": {"name": "tqdm", "version": "4.67"},
        "download_info": {"archive_info": {"hashes": {"sha256": "ab"}}, "url": "https://mirror/x"},
    }
    assert parse_report({"install": [entry]}) == (TQDM,)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": {"a": {}}}', '{"images": 1}'])
def test_a_file_that_is_no_lock_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "dlimg.lock"
    assert read_lock_file(path) == {}
    path.write_text(text)
    with pytest.raises(BadInput, match="it is no lock of dlimg"):
        read_lock_file(path)


@pytest.mark.parametrize(
    ("files", "command", "mode"),
    [
        (["train.py", "main.py"], "python train.py", "command"),
        (["main.py", "model.py"], "python main.py", "command"),
        (["fit 你.py"], "python fit 你.py", "command"),
        (["a.py", "b.py"], "", "command"),
        (["a.ipynb", "b.ipynb"], "", "jupyter"),
        (["train.py", "a.ipynb"], "python train.py", "command"),
        ([], "", "command"),
    ],
)
def test_without_a_command_the_folders_files_say_what_runs(
    files: list[str], command: str, mode: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).touch()
    request = request_in(RunRequest(folder=tmp_path))
    assert (" ".join(request.command), request.mode) == (command, mode)
    given = RunRequest(folder=tmp_path, command=("x",))
    assert request_in(given) == given
    shell = RunRequest(folder=tmp_path, terminal=True)
    assert request_in(shell) == shell


def test_a_failed_layer_says_what_pip_said_and_no_progress() -> None:
    output = "Collecting jax==0.4.30\nERROR: Cannot install jax==0.4.30\n\nThe conflict: jax 0.12\n"
    step = BuildStep(name="RUN pip", state="failed", log=output, error="exit code: 1")
    failure = layer_failure(BuildProgress(cell="", steps={"a": step}), 1)
    assert "is not built:\nERROR: Cannot install jax==0.4.30\nThe conflict: jax 0.12" in str(
        failure
    )
    assert "Collecting" not in str(failure)
    assert "`packages`" in failure.problems[0].hint


def test_a_layer_that_takes_too_long_says_so() -> None:
    assert "it was ended after 3600 s" in str(layer_failure(BuildProgress(cell=""), TIMED_OUT))
