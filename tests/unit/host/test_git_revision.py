"""The commit of a project, or none without git or a repository."""

import os
import subprocess
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.host.git_revision import NO_REVISION, Revision, revision_of

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}
CONTEXT = Context.of(ENVIRONMENT, print)


def git(folder: Path, *arguments: str) -> str:
    me = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    argv = ["git", "-C", str(folder), *me, *arguments]
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, env=ENVIRONMENT
    ).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(tmp_path, "init", "--quiet")
    (folder / "matrix.yaml").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return folder


def test_a_commit_and_whether_files_were_changed_since(project: Path) -> None:
    commit = git(project, "rev-parse", "HEAD")
    assert revision_of(project, CONTEXT) == Revision(commit=commit)
    (project.parent / "elsewhere").touch()  # no file of the project's
    assert revision_of(project, CONTEXT) == Revision(commit=commit)
    (project / "check.py").touch()
    assert revision_of(project, CONTEXT) == Revision(commit=commit, dirty=True)
    git(project, "add", ".")
    assert revision_of(project, CONTEXT).dirty


def test_no_revision_where_git_knows_none(tmp_path: Path, project: Path) -> None:
    none = {**ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    assert revision_of(outside, Context.of(none, print)) == NO_REVISION
    assert revision_of(project, Context.of({"PATH": str(outside)}, print)) == NO_REVISION
    assert revision_of(project / "nothing", CONTEXT) == NO_REVISION


def test_what_cannot_be_told_is_not_called_clean(project: Path) -> None:
    (project.parent / ".git" / "index").write_text("damaged")
    assert revision_of(project, CONTEXT).dirty
