"""Workflows: their shell is sound, their sessions exist, the release's own steps run."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlimg import __version__
from dlimg.render.project_files import TEMPLATES, workflow_text

ROOT = Path(__file__).parents[3]
SESSION = re.compile(r"^@nox\.session\ndef (\w+)\(", re.MULTILINE)
OWN = sorted((ROOT / ".github/workflows").glob("*.yml"))
NEW_NOXFILE = (TEMPLATES / "noxfile.py.j2").read_text()
GITLAB: Mapping[str, Any] = yaml.safe_load(workflow_text("gitlab"))


def steps(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The shell texts of a workflow of GitHub, each with its job."""
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            if "run" in step:
                yield name, step["run"]


def shell_texts() -> Iterator[Any]:
    """All shell texts, each with the sessions of the noxfile that it would find."""
    sessions = SESSION.findall((ROOT / "noxfile.py").read_text())
    for path in OWN:
        for name, text in steps(yaml.safe_load(path.read_text())):
            yield pytest.param(text, sessions, id=f"{path.stem}-{name}")
    new = SESSION.findall(NEW_NOXFILE)
    for name, text in steps(yaml.safe_load(workflow_text("github"))):
        # A release's project is started by its workflow, so that it has the sessions of a new one.
        yield pytest.param(text, new, id=f"new-{name}")
    for name, job in GITLAB.items():
        for text in (*job.get("before_script", ()), *job.get("script", ())):
            yield pytest.param(text, new, id=f"gitlab-{name}")


@pytest.mark.parametrize(("text", "sessions"), list(shell_texts()))
def test_the_shell_is_sound_and_the_sessions_exist(text: str, sessions: list[str]) -> None:
    plain = re.sub(r"\$\{\{.*?\}\}", "x", text)
    checked = subprocess.run(
        ["bash", "-n"], input=plain, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    for names in re.findall(r"\bnox -s ([a-z_ ]+?)(?: --|\n|$)", text):
        assert set(names.split()) <= {*sessions, *SESSION.findall(NEW_NOXFILE)}


def test_gitlabs_jobs_use_variables_that_gitlab_sets() -> None:
    texts = "\n".join(GITLAB["publish"]["script"])
    predefined = {"CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD", "CI_REGISTRY_IMAGE"}
    assert set(re.findall(r"\$(\w+)", texts)) == predefined
    assert GITLAB["variables"]["DOCKER_HOST"] == "tcp://docker:2376"
    assert GITLAB["default"]["services"] == ["docker:28-dind"]


@pytest.mark.slow  # installs nox, the build backend and dlimg: a minute or two
@pytest.mark.timeout(900)
def test_the_steps_of_a_release_run(tmp_path: Path) -> None:
    """The build's steps in a clone, then those that try the wheel alone, beside it.

    The last step of these needs an engine: tests/engine/test_new_project.py has the same.
    """
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "python")], check=True)
    variables = {
        **os.environ,
        "PATH": f"{tmp_path / 'python/bin'}:{os.environ['PATH']}",
        "GITHUB_REF_NAME": f"v{__version__}",
    }
    variables.pop("PYTHONPATH", None)
    runs: dict[str, list[str]] = {}
    for name, text in steps(workflow):
        runs.setdefault(name, []).append(text)
    *wheel_alone, last = runs["wheel"]
    assert "nox -s lint build" in last
    for text in runs["build"]:
        run(text, clone, variables)
    alone = tmp_path / "alone"
    alone.mkdir()
    (clone / "dist").rename(alone / "dist")
    for text in wheel_alone:
        run(text, alone, variables)
    assert (alone / "project/matrix.yaml").is_file()
    (compared,) = (text for text in runs["build"] if text.startswith("test -f"))
    with pytest.raises(AssertionError, match="test -f"):
        run(compared, alone, {**variables, "GITHUB_REF_NAME": "v0.0.0"})


def run(text: str, folder: Path, variables: Mapping[str, str]) -> None:
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}"
