"""Folders for secrets: private, in memory, and gone after their process, even a killed one."""

import subprocess
import sys
from pathlib import Path

import pytest

from dlimg.host.secret_folder import PREFIX, secret_folder

CHILD = """
import sys, time
from pathlib import Path
from dlimg.host.secret_folder import secret_folder
with secret_folder(Path(sys.argv[1])) as folder:
    (folder / "netrc").write_text("password")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two empty folders, the returned one in place of the memory file system."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "disk"))
    return tmp_path / "memory"


def child_in(memory: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process with a secret in its folder."""
    argv = [sys.executable, "-c", CHILD, str(memory)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    return child, Path(child.stdout.readline().strip())


def test_the_folder_is_private_in_memory_and_removed(memory: Path) -> None:
    with secret_folder(memory) as folder:
        assert folder.parent == memory
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "netrc").write_text("password")
    assert not any(memory.iterdir())


def test_the_temporary_folder_is_used_without_a_memory_file_system(memory: Path) -> None:
    memory.rmdir()
    with secret_folder(memory) as folder:
        assert folder.parent.name == "disk"


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one(memory: Path) -> None:
    child, abandoned = child_in(memory)
    child.kill()
    child.communicate()
    assert (abandoned / "netrc").read_text() == "password"
    with secret_folder(memory):
        assert not abandoned.exists()


def test_an_abandoned_folder_on_disk_is_removed_as_well(memory: Path) -> None:
    abandoned = memory.with_name("disk") / f"{PREFIX}x"
    abandoned.mkdir()
    (abandoned / "netrc").write_text("password")
    with secret_folder(memory):
        assert not abandoned.exists()


def test_the_folder_of_a_running_process_stays(memory: Path) -> None:
    child, used = child_in(memory)
    try:
        with secret_folder(memory) as first, secret_folder(memory) as second:
            assert used.is_dir()
            assert first.is_dir()
            assert second.is_dir()
    finally:
        child.kill()
        child.communicate()


def test_links_and_files_of_that_name_are_left_alone(memory: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (memory / f"{PREFIX}link").symlink_to(precious)
    (memory / f"{PREFIX}file").write_text("x")
    with secret_folder(memory):
        assert precious.is_dir()
        assert (memory / f"{PREFIX}file").exists()
