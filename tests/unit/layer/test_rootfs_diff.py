"""The changes of a root file system as a layer."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dlimg.layer.rootfs_diff import diff_rootfs

TIME = 1_700_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files, links and folders of one time."""
    folder = tmp_path / "root"
    (folder / "etc/old").mkdir(parents=True)
    (folder / "usr/lib").mkdir(parents=True)
    for name, text in {"etc/a": "one", "etc/old/b": "two", "etc/old/c": "three"}.items():
        (folder / name).write_text(text)
    (folder / "usr/hard").write_text("both")
    (folder / "usr/linked").hardlink_to(folder / "usr/hard")
    (folder / "lib").symlink_to("usr/lib")
    for path in folder.rglob("*"):
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    return folder


def layer(root: Path, tmp_path: Path, change: Callable[[Path], object]) -> dict[str, str]:
    """Return the type of each entry after this change, by name; `-` is a whiteout."""
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        tar.add(root, arcname=".")
    change(root)
    with tarfile.open(base) as below:
        content = b"".join(diff_rootfs(root, below))
    kinds = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            is_mark = Path(member.name).name.startswith(".wh.")
            kinds[member.name] = "-" if is_mark else member.type.decode()
    return kinds


def touch(path: Path, time: int) -> None:
    os.utime(path, (time, time))


def again(path: Path, text: str) -> None:
    """Write other content of the same size and time."""
    path.unlink()
    path.write_text(text)
    touch(path, TIME)


def gone(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def anew(folder: Path) -> None:
    gone(folder)
    folder.mkdir()
    (folder / "c").write_text("three")
    touch(folder / "c", TIME)


def turned(folder: Path) -> None:
    gone(folder)
    folder.symlink_to("a")


@pytest.mark.parametrize(
    ("change", "entries"),
    [
        (lambda _: None, {}),
        (lambda root: touch(root / "etc", 5), {}),  # a folder's time is no change
        (lambda root: again(root / "etc/a", "one"), {}),
        (lambda root: again(root / "etc/a", "eno"), {"etc": "5", "etc/a": "0"}),
        (lambda root: touch(root / "etc/a", TIME + 1), {"etc": "5", "etc/a": "0"}),
        (lambda root: (root / "etc/a").chmod(0o4755), {"etc": "5", "etc/a": "0"}),
        (lambda root: (root / "etc/old").chmod(0o1777), {"etc": "5", "etc/old": "5"}),
        (lambda root: (root / "etc/a").unlink(), {"etc": "5", "etc/.wh.a": "-"}),
        (lambda root: gone(root / "etc/old"), {"etc": "5", "etc/.wh.old": "-"}),
        (
            lambda root: anew(root / "etc/old"),
            {"etc": "5", "etc/old": "5", "etc/old/.wh.b": "-"},
        ),
        (lambda root: turned(root / "etc/old"), {"etc": "5", "etc/old": "2"}),
        (
            lambda root: (root / "usr/linked").write_text("more"),
            {"usr": "5", "usr/hard": "0", "usr/linked": "1"},
        ),
        (lambda root: (root / "lib").unlink(), {".wh.lib": "-"}),
        (lambda root: (root / "usr.d").mkdir(), {"usr.d": "5"}),
        (lambda root: os.mkfifo(root / "pipe"), {"pipe": "6"}),
    ],
)
def test_the_layer_holds_every_change_of_a_root_file_system(
    root: Path, tmp_path: Path, change: Callable[[Path], object], entries: dict[str, str]
) -> None:
    kinds = layer(root, tmp_path, change)
    assert list(kinds.items()) == list(entries.items())


def test_long_names_and_targets_are_kept(root: Path, tmp_path: Path) -> None:
    names = ["etc/" + "n" * 120, "etc/Főtanúsítvány.pem"]

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).write_text(name)
        (folder / "etc/z").symlink_to("t" * 130)

    kinds = layer(root, tmp_path, change)
    assert kinds.keys() == {"etc", *names, "etc/z"}
