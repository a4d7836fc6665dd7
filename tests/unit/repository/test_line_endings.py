"""Line endings of a checkout: Dockerfiles, scripts and locks are compared and run as bytes."""

import shutil
import subprocess
from pathlib import Path

from tests.support.jax_project import CELL, ROOT


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_a_checkout_for_windows_keeps_line_feeds(tmp_path: Path) -> None:
    committed = tmp_path / "committed"
    shutil.copytree(ROOT / "images", committed / "images")
    for name in (
        f"rendered/{CELL}/Dockerfile",
        f"locks/{CELL}.json",
        ".gitattributes",
        "noxfile.py",
    ):
        (committed / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, committed / name)
    git(committed, "init", "--quiet")
    git(committed, "add", ".")
    git(committed, "commit", "--quiet", "--message", "All")
    git(tmp_path, "clone", "--quiet", "--config", "core.autocrlf=true", "committed", "windows")
    files = git(committed, "ls-files", "-z").split("\0")[:-1]
    assert len(files) > 60
    changed = [
        name
        for name in files
        if (tmp_path / "windows" / name).read_bytes() != (committed / name).read_bytes()
    ]
    assert changed == []


def test_generated_files_are_marked() -> None:
    names = ["rendered/x/Dockerfile", "locks/x.json", "locks/stacks/x.json", "docs/size.svg"]
    output = git(ROOT, "check-attr", "linguist-generated", "--", *names, "requirements/tests.txt")
    assert output.count(": set\n") == len(names) + 1
