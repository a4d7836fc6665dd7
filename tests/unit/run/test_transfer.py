"""What is sent to another machine and brought back: only what changed, never over newer files."""

import io
import sys
import tarfile
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.host.ignore import FileState
from dlimg.host.process import ProcessResult
from dlimg.host.ssh import SshHost
from dlimg.run.transfer import (
    FilesToReturn,
    code_to_return,
    has_rsync,
    output_to_return,
    pack,
    parse_list,
    read_sent,
    to_remove,
    to_send,
    transfer_failure,
    write_sent,
)

OLD = FileState(size=1, time=100)
NEW = FileState(size=2, time=200)
HOST = SshHost(destination="vm", environment={})


@pytest.mark.parametrize(
    ("local", "remote", "sent", "is_sent"),
    [
        (OLD, None, None, True),
        (OLD, OLD, OLD, False),
        (OLD, OLD, None, False),
        (NEW, OLD, OLD, True),
        (OLD, NEW, OLD, False),  # the run changed it there
        (OLD, None, OLD, True),  # the machine is a new one
        (NEW, OLD, None, True),
    ],
)
def test_what_changed_here_is_sent(
    local: FileState, remote: FileState | None, sent: FileState | None, *, is_sent: bool
) -> None:
    changed = to_send({"a": local}, {"a": remote} if remote else {}, {"a": sent} if sent else {})
    assert changed == (["a"] if is_sent else [])


def test_only_files_that_were_sent_and_did_not_change_there_are_removed() -> None:
    remote = {"sent": OLD, "changed": NEW, "made": NEW, "still": OLD}
    sent = {"sent": OLD, "changed": OLD, "still": OLD}
    assert to_remove({"still": OLD}, remote, sent) == ["sent"]


@pytest.mark.parametrize(
    ("local", "remote", "sent", "expected"),
    [
        (OLD, OLD, OLD, FilesToReturn(paths=(), newer=())),
        (OLD, NEW, OLD, FilesToReturn(paths=("a",), newer=())),
        (None, NEW, None, FilesToReturn(paths=("a",), newer=())),
        (FileState(size=3, time=150), NEW, OLD, FilesToReturn(paths=(), newer=("a",))),
        (FileState(size=3, time=150), NEW, None, FilesToReturn(paths=(), newer=("a",))),
        (None, NEW, OLD, FilesToReturn(paths=(), newer=("a",))),  # deleted here on purpose
    ],
)
def test_code_comes_back_unless_it_changed_here(
    local: FileState | None, remote: FileState, sent: FileState | None, expected: FilesToReturn
) -> None:
    files = code_to_return(
        {"a": local} if local else {}, {"a": remote}, {"a": sent} if sent else {}
    )
    assert files == expected


@pytest.mark.parametrize(
    ("local", "remote", "paths", "newer"),
    [
        (None, OLD, ("a",), ()),
        (OLD, OLD, (), ()),
        (OLD, NEW, ("a",), ()),
        (NEW, OLD, (), ("a",)),
        (FileState(size=5, time=100), OLD, ("a",), ()),  # a transfer that broke off
    ],
)
def test_output_comes_back_unless_it_is_newer_here(
    local: FileState | None, remote: FileState, paths: tuple[str, ...], newer: tuple[str, ...]
) -> None:
    files = output_to_return({"a": local} if local else {}, {"a": remote})
    assert (files.paths, files.newer) == (paths, newer)


def test_a_list_has_names_of_any_kind_and_no_banner() -> None:
    text = "Welcome\n12 1700000000 ./a b/it's $x 你好.txt\n0 -5 ./old\n12 1700000000 other\n"
    assert parse_list(text) == {
        "a b/it's $x 你好.txt": FileState(size=12, time=1700000000),
        "old": FileState(size=0, time=-5),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_tar_has_the_files_links_and_empty_folders(tmp_path: Path) -> None:
    (tmp_path / "a 你").write_text("text")
    (tmp_path / "link").symlink_to("a 你")
    (tmp_path / "empty").mkdir()
    pipe = io.BytesIO()
    pack(tmp_path, ["a 你", "link", "empty/", "gone"], pipe)
    with tarfile.open(fileobj=io.BytesIO(pipe.getvalue())) as tar:
        members = {member.name: member.type for member in tar}
    assert members == {"a 你": tarfile.REGTYPE, "link": tarfile.SYMTYPE, "empty": tarfile.DIRTYPE}


@pytest.mark.parametrize("destination", ["ssh://me@vm:2222", "me@[::1]"])
def test_rsync_is_not_used_for_addresses_that_it_reads_otherwise(destination: str) -> None:
    assert not has_rsync(SshHost(destination=destination, environment={"PATH": "/usr/bin:/bin"}))


@pytest.mark.parametrize(
    ("returncode", "stderr", "message", "code"),
    [
        (11, "rsync: write failed on a: No space left on device (28)", "its disk is full", 1),
        (2, "tar: a: Cannot write: Disk quota exceeded", "its quota is used up", 1),
        (23, 'rsync: mkstemp "a" failed: Permission denied (13)', "may not be read or written", 1),
        (12, "rsync: connection unexpectedly closed (0 bytes)", "is broken", 5),
        (255, "Connection reset by peer", "is broken", 5),
        (2, "tar: something else", "cannot be copied to or from vm", 1),
    ],
)
def test_a_failed_transfer_says_why(returncode: int, stderr: str, message: str, code: int) -> None:
    outcome = ProcessResult(argv=(), returncode=returncode, stdout="", stderr=stderr)
    error = transfer_failure(HOST, outcome)
    assert message in str(error)
    assert error.exit_code == code


def test_a_file_whose_name_is_no_utf8_is_remembered(context: Context) -> None:
    files = {"\udcff.txt": FileState(size=1, time=2)}
    write_sent("vm", files, context)
    assert read_sent("vm", context) == files


def test_what_was_sent_is_remembered(context: Context) -> None:
    assert read_sent("vm-1", context) == {}
    write_sent("vm-1", {"你好": OLD}, context)
    assert read_sent("vm-1", context) == {"你好": OLD}
    (context.state / "sent/vm-1.json").write_text("[]")
    assert read_sent("vm-1", context) == {}
