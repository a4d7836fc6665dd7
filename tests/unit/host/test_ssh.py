"""Connections by ssh: argument lists, destinations, and what its errors mean."""

import os
import stat
import sys
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, NetworkFailure
from dlimg.host.process import TIMED_OUT, ProcessResult
from dlimg.host.ssh import SshHost, check_destination, connection_failure, open_ssh

HOST = SshHost(destination="me@vm", environment={}, options=("-o", "ControlPath=/tmp/x/c"))


@pytest.mark.parametrize(
    "text", ["vm", "me@vm", "me@10.0.0.1", "ssh://me@vm:2222", "gpu-box.example.com", "我@主机"]
)
def test_names_of_machines(text: str) -> None:
    check_destination(text)


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=touch /tmp/x", "a b", "vm;reboot", "$(id)", "`id`", "a'b", 'a"b', "a\nb"],
)
def test_a_text_that_ssh_or_a_shell_would_take_for_more_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no machine"):
        check_destination(text)


def test_each_word_reaches_the_other_shell_as_it_is() -> None:
    argv = HOST.argv(["docker", "create", "a b", "it's", "$HOME", "你好"])
    line = """docker create 'a b' 'it'"'"'s' '$HOME' 你好"""
    quoted = line.replace("你好", "'你好'")
    assert argv[:-1] == ["ssh", "-o", "ControlPath=/tmp/x/c", "-T", "--", "me@vm"]
    assert argv[-1] in {line, quoted}
    assert HOST.argv(["sh"], terminal=True)[3] == "-t"


@pytest.mark.parametrize(
    ("stderr", "message", "hint"),
    [
        ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @", "has changed", "ssh-keygen -R vm"),
        ("Host key verification failed.", "is not known", "`ssh me@vm` once"),
        ("me@vm: Permission denied (publickey).", "refuses this user", "ssh-copy-id me@vm"),
        ("ssh: Could not resolve hostname vm: x", "there is no host me@vm", "check its name"),
        ("connect to host vm port 22: Connection refused", "no ssh server", "check the port"),
        ("connect to host vm port 22: Connection timed out", "does not answer", "firewall"),
        ("Connection to vm closed by remote host.", "is broken", "goes on where it stopped"),
    ],
)
def test_an_error_of_ssh_has_a_remedy(stderr: str, message: str, hint: str) -> None:
    outcome = ProcessResult(argv=("ssh",), returncode=255, stdout="", stderr=stderr)
    (problem,) = connection_failure("me@vm", outcome).problems
    assert message in problem.message
    assert hint in problem.hint


def test_a_connection_without_an_answer_times_out() -> None:
    outcome = ProcessResult(argv=("ssh",), returncode=TIMED_OUT, stdout="", stderr="")
    assert "does not answer" in str(connection_failure("vm", outcome))


def test_without_ssh_there_is_a_remedy(tmp_path: Path) -> None:
    context = Context.of({"HOME": str(tmp_path), "PATH": str(tmp_path)}, print)
    with pytest.raises(NetworkFailure, match="there is no ssh here"):
        open_ssh("vm", context)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssh is a shell script")
def test_the_connection_is_shared_and_questions_are_not_asked_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >>"{log}"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{tmp_path}:{os.environ['PATH']}"
    host = open_ssh("vm", Context.of({"HOME": str(tmp_path), "PATH": path}, print))
    assert host.run(["true"]).returncode == 0
    first, second = log.read_text().splitlines()
    assert first.startswith("-o BatchMode=yes")
    for line in (first, second):
        assert "ControlMaster=auto" in line
        assert "ControlPersist=60" in line
        assert line.endswith("-T -- vm true")
