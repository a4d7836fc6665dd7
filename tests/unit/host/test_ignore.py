"""The files of a folder that are sent, by its ignore files."""

import os
import sys
from pathlib import Path

import pytest

from dlimg.host.ignore import IgnoreRules, first_ignored, list_folder


def fill(folder: Path, *names: str, **texts: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts.get(name, ""))


def listed(folder: Path) -> list[str]:
    return sorted(list_folder(folder, rules=IgnoreRules(folder)).files)


def test_without_ignore_files_only_caches_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "b/你好 $x.txt", ".git/HEAD", "b/__pycache__/a.pyc", ".venv/bin/python")
    assert listed(tmp_path) == ["a.py", "b/你好 $x.txt"]


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("*.bin\n", ["a.py", "deep/a.py", "deep/data/x.csv"]),
        ("data/\n", ["a.bin", "a.py", "deep/a.py"]),
        ("/a.py\n", ["a.bin", "deep/a.py", "deep/data/x.csv"]),
        ("*.csv\n!x.csv\n", ["a.bin", "a.py", "deep/a.py", "deep/data/x.csv"]),
        ("# words\n\n**/data/**\n", ["a.bin", "a.py", "deep/a.py"]),
        ("deep/*\n!deep/a.py\n", ["a.bin", "a.py", "deep/a.py"]),
    ],
)
def test_rules_are_read_as_git_reads_them(tmp_path: Path, rules: str, left: list[str]) -> None:
    fill(tmp_path, "a.py", "a.bin", "deep/a.py", "deep/data/x.csv")
    (tmp_path / ".gitignore").write_text(rules)
    assert listed(tmp_path) == [".gitignore", *left]


def test_a_deeper_file_stands_above_and_an_ignored_folder_is_not_entered(tmp_path: Path) -> None:
    fill(tmp_path, "a.log", "deep/b.log", "gone/c.py")
    (tmp_path / ".gitignore").write_text("*.log\ngone/\n")
    (tmp_path / "deep/.gitignore").write_text("!b.log\n")
    (tmp_path / "gone/.gitignore").write_text("!c.py\n")
    assert listed(tmp_path) == [".gitignore", "deep/.gitignore", "deep/b.log"]


def test_dlimg_s_own_file_replaces_git_s(tmp_path: Path) -> None:
    fill(tmp_path, "weights.bin", "secret.txt")
    (tmp_path / ".gitignore").write_text("*.bin\n")
    (tmp_path / ".dlimgignore").write_text("secret.txt\n")
    assert listed(tmp_path) == [".dlimgignore", ".gitignore", "weights.bin"]


def test_what_is_left_out_is_named_without_caches(tmp_path: Path) -> None:
    fill(tmp_path, "a.bin", "b.bin", "c.bin", "__pycache__/a.pyc")
    (tmp_path / ".gitignore").write_text("*.bin\n")
    listing = list_folder(tmp_path, rules=IgnoreRules(tmp_path))
    assert list(first_ignored(listing, 2)) == ["a.bin", "b.bin", "1 more"]


def test_empty_folders_are_listed_and_skipped_paths_are_not(tmp_path: Path) -> None:
    fill(tmp_path, "output/1/a")
    (tmp_path / "checkpoints").mkdir()
    listing = list_folder(tmp_path, skipped={"output/"})
    assert (listing.files, listing.empty) == ({}, ["checkpoints/"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list_folder(tmp_path).files == {}
