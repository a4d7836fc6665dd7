"""The operating system's files against dpkg's database, on made-up trees."""

import hashlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.check_scripts import FAILED, PASSED, code_of

dpkg = importlib.import_module("_dpkg")
packaged = importlib.import_module("_package_paths")
system = importlib.import_module("os_packages_unmodified")

INFO = "var/lib/dpkg/info"
SHELL = hashlib.md5(b"sh", usedforsecurity=False).hexdigest()
# As in a distribution that has merged /bin into /usr/bin, whose packages may say the former.
FILES = {
    "usr/bin/sh": "sh",
    "usr/lib/tool/tool.py": "sh",
    "etc/tool.conf": "sh",
    "var/lib/dpkg/diversions": "",
    "var/lib/dpkg/status": (
        f"Package: tool\nConffiles:\n /etc/tool.conf {SHELL}\n /etc/old.conf {SHELL} obsolete\n"
        "Description: it helps\n with all\n"
    ),
    f"{INFO}/shell.list": "/.\n/bin\n/bin/sh\n/usr\n/usr/share/doc/shell/README\n",
    f"{INFO}/shell.md5sums": f"{SHELL}  bin/sh\n{SHELL}  usr/share/doc/shell/README\n",
    f"{INFO}/tool:amd64.list": (
        "/usr/bin\n/usr/bin/tool\n/usr/lib\n/usr/lib/tool\n/usr/lib/tool/tool.py\n/etc\n"
        "/etc/tool.conf\n/usr/lib/libpython3.13.a\n"
    ),
    f"{INFO}/tool:amd64.md5sums": f"{SHELL}  usr/lib/tool/tool.py\n",
}
Spoil = Callable[[Path], object]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that is whole."""
    for path, text in FILES.items():
        write(tmp_path / path, text)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr/bin/tool").symlink_to("../lib/tool/tool.py")
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"family": "jax"}))
    return tmp_path


def write(file: Path, text: str = "x", mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(mode)


def link(file: Path, target: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.symlink_to(target)


def test_a_tree_that_is_whole_passes(top: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda: system.main(top)) == PASSED, capsys.readouterr().err
    figures = json.loads(capsys.readouterr().out)
    assert (figures["files"], figures["sums"], figures["code"]) == (13, 3, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda top: (top / "etc/tool.conf").unlink(),
        lambda top: write(top / "etc/old.conf", "other"),
        lambda top: write(top / "usr/lib/x.so"),  # `every_file_has_a_source` names it
    ],
)
def test_allowed_differences_from_the_packages(
    spoil: Spoil, top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(top)
    assert code_of(lambda: system.main(top)) == PASSED, capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda top: write(top / "usr/bin/sh", "other"), "usr/bin/sh is not as its package"),
        (lambda top: link(top / "usr/bin/sh", "tool"), "usr/bin/sh is not as its package"),
        (lambda top: write(top / "etc/tool.conf"), "etc/tool.conf is not as its package"),
        (lambda top: (top / "usr/bin/sh").unlink(), "usr/bin/sh is gone, which a package"),
        (lambda top: (top / "usr/bin/tool").unlink(), "usr/bin/tool is gone"),
        (lambda top: (top / "bin").unlink(), "bin, bin/sh is gone, which a package brought"),
        (lambda top: write(top / "usr/bin/tool"), "usr/bin/tool is no link to a package's file"),
        (lambda top: link(top / "usr/bin/tool", "../../x"), "usr/bin/tool is no link to"),
        (lambda top: (top / "usr/bin/sh").chmod(0o4755), "usr/bin/sh runs with another's rights"),
        (lambda top: write(top / "code/su", mode=0o2755), "code/su runs with another's rights"),
        (lambda top: write(top / "usr/bin/su", mode=0o4755), "usr/bin/su runs with another's"),
        (lambda top: [one.unlink() for one in (top / INFO).iterdir()], "tells of no file"),
    ],
)
def test_differences_from_the_packages_fail(
    spoil: Spoil, reason: str, top: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(top)
    assert code_of(lambda: system.main(top)) == FAILED
    assert reason in capsys.readouterr().err


def test_what_another_package_has_taken_the_place_of_is_elsewhere(top: Path) -> None:
    write(top / "var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.old\ntool\n")
    (top / "usr/bin/sh").rename(top / "usr/bin/sh.old")
    result = dpkg.read(top)
    assert result.sums["usr/bin/sh.old"] == SHELL
    assert "usr/bin/sh" not in result.listed
    assert dpkg.gone(top, result) == dpkg.changed(top, result) == []


def test_a_package_without_sums_is_not_said_to_be_changed(top: Path) -> None:
    (top / INFO / "tool:amd64.md5sums").unlink()
    write(top / "usr/bin/tool")
    result = dpkg.read(top)
    assert "usr/bin/tool" in result.unsummed
    assert dpkg.replaced(top, result) == []


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("usr/bin/su", True),
        ("usr/sbin/unix_chkpwd", True),
        ("usr/lib/openssh/ssh-keysign", True),
        ("usr/bin/bash", False),
        ("usr/bin/sudoku", False),
        ("usr/local/bin/su", False),
    ],
)
def test_programs_that_have_anothers_rights(path: str, *, may: bool) -> None:
    assert bool(packaged.RIGHTS.fullmatch(path)) is may
