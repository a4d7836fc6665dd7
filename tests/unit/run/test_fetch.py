"""Results of a run, unpacked from an archive of its container."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.run.fetch import unpack


def archive(*members: tarfile.TarInfo) -> list[bytes]:
    """A tar with these members; files have the text `text`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member in members:
            member.size = 4 if member.isfile() else 0
            tar.addfile(member, io.BytesIO(b"text"))
    return [file.getvalue()]


def member(
    name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode, made.uid, made.gid = kind, link, mode, 4321, 4321
    return made


def test_files_folders_and_links_are_this_users(tmp_path: Path) -> None:
    folder = member("output", kind=tarfile.DIRTYPE, mode=0o000)
    file = member("output/你好", mode=0o4777)
    link = member("output/last", kind=tarfile.SYMTYPE, link="你好")
    hard = member("output/same", kind=tarfile.LNKTYPE, link="output/你好", mode=0o4777)
    unpack(archive(folder, file, link, hard), tmp_path / "to")
    written = tmp_path / "to/output"
    assert sorted(path.name for path in written.iterdir()) == ["last", "same", "你好"]
    assert {path.read_text() for path in written.iterdir()} == {"text"}
    state = (written / "你好").stat()
    assert (state.st_uid, state.st_mode & 0o7777) == (os.geteuid(), 0o755)
    assert written.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize(
    "bad",
    [
        member("../x"),
        member("/x"),
        member("a/../../x"),
        member("x", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("x", kind=tarfile.SYMTYPE, link="../../x"),
        member("x", kind=tarfile.LNKTYPE, link="../x"),
        member("x", kind=tarfile.FIFOTYPE),
        member("x", kind=tarfile.CHRTYPE),
    ],
    ids=lambda bad: f"{bad.name} {bad.linkname} {bad.type!r}",
)
def test_what_leads_out_of_the_folder_is_refused(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the archive is refused"):
        unpack(archive(bad), tmp_path / "to")
    assert not list((tmp_path / "to").iterdir())
    assert not (tmp_path / "x").exists()


def test_a_link_does_not_lead_a_later_file_out(tmp_path: Path) -> None:
    inside = member("a", kind=tarfile.SYMTYPE, link="b/..")
    with pytest.raises(BadInput, match="the archive is refused"):
        unpack(archive(inside, member("a/../../x")), tmp_path / "to")
    assert not (tmp_path / "x").exists()
