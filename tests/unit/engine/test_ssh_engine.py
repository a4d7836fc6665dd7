"""An engine over ssh: the words of its docker commands."""

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from dlimg.engine.ssh_engine import FollowedLogs, SshApi, create_words
from dlimg.errors import NetworkFailure
from dlimg.host.ssh import SshHost
from dlimg.run.container import container_options, host_options
from dlimg.run.model import GpuAccess, Mount, PortMapping, RunName, RunSpec

SPEC = RunSpec(
    run=RunName(name="hello", number=3),
    image="reg.example/pytorch:1",
    digest="sha256:1",
    command=("python", "a b.py", "--x=$y"),
    entrypoint=("/bin/sh", "-c", "script", "word"),
    mounts=(
        Mount(kind="bind", source='/home/a, "b"', target="/code"),
        Mount(kind="bind", source="/d", target="/data/x", read_only=True),
        Mount(kind="volume", source="v", target="/data/y", read_only=True),
        Mount(kind="tmpfs", source="", target="/run/dlimg"),
    ),
    ports=(PortMapping(container=8888), PortMapping(container=80, host=81, address="::1")),
    variables={"A": "1=2 3"},
    labels={"io.dlimg.x": "y"},
    user="1000:1000",
    terminal=True,
)


def words_of(spec: RunSpec) -> tuple[str, ...]:
    options: dict[str, Any] = container_options(spec)
    return create_words({**options, "host_config": host_options(spec)})


def test_a_specification_becomes_the_words_of_docker_create() -> None:
    arguments = words_of(SPEC)
    options, rest = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    assert rest == (
        "reg.example/pytorch:1",
        *("-c", "script", "word"),
        *("python", "a b.py", "--x=$y"),
    )
    pairs = set(itertools.pairwise(options))
    assert {
        ("--name", "dlimg-hello-3"),
        ("--user", "1000:1000"),
        ("--workdir", "/code"),
        ("--entrypoint", "/bin/sh"),
        ("--stop-timeout", "120"),
        ("--env", "A=1=2 3"),
        ("--label", "io.dlimg.run=hello:3"),
        ("--shm-size", str(8 * 2**30)),
        ("--mount", 'type=bind,target=/code,"source=/home/a, ""b"""'),
        ("--mount", "type=bind,target=/data/x,source=/d,readonly"),
        ("--mount", "type=volume,target=/data/y,source=v,readonly"),
        ("--mount", "type=tmpfs,target=/run/dlimg,tmpfs-size=1048576,tmpfs-mode=1777"),
        ("--publish", "127.0.0.1::8888"),
        ("--publish", "[::1]:81:80"),
    } <= pairs
    assert {"--init", "--tty", "--interactive"} <= set(options)


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        (GpuAccess(kind="cdi", devices=("nvidia.com/gpu=0",)), ("--device", "nvidia.com/gpu=0")),
        (GpuAccess(kind="gpus"), ("--gpus", "all")),
        (GpuAccess(kind="runtime"), ("--runtime", "nvidia")),
    ],
)
def test_a_gpu_is_given_in_the_engine_s_way(gpu: GpuAccess, expected: tuple[str, str]) -> None:
    spec = RunSpec(run=SPEC.run, image="i", digest="", command=("x",), gpu=gpu)
    arguments = words_of(spec)
    assert expected in set(itertools.pairwise(arguments))


def test_an_image_s_own_entry_point_and_user_are_left_alone() -> None:
    arguments = words_of(RunSpec(run=SPEC.run, image="i", digest="", command=("x",)))
    assert not {"--entrypoint", "--user", "--gpus", "--tty"} & set(arguments)


STAND_IN = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


def stand_in(folder: Path, script: str) -> SshHost:
    """A machine whose `ssh` is a script; `$COUNT` is how often it was called, from 1."""
    program = folder / "ssh"
    program.write_text(
        f'#!/bin/bash\necho x >>"{folder}/calls"\nCOUNT=$(wc -l <"{folder}/calls")\n{script}\n'
    )
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    return SshHost(destination="vm", environment={"PATH": path, "HOME": str(folder)})


def followed(host: SshHost, log: Callable[[str], None]) -> FollowedLogs:
    return FollowedLogs(host=host, container="c", arguments=(), log=log, follow=True)


@STAND_IN
def test_after_a_broken_connection_no_byte_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """\
case $COUNT in
1) printf 'one\\ntw'; printf 'err' >&2; exit 255 ;;
2) exit 0 ;;
3) printf 'one\\ntwo\\n'; printf 'error\\n' >&2; exit 255 ;;
4) exit 0 ;;
5) printf 'one\\ntwo\\nthree\\n'; printf 'error\\n' >&2; exit 0 ;;
esac
"""
    host = stand_in(tmp_path, script)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    messages: list[str] = []
    pieces = list(followed(host, messages.append))
    assert b"".join(out or b"" for out, _ in pieces) == b"one\ntwo\nthree\n"
    assert b"".join(err or b"" for _, err in pieces) == b"error\n"
    assert messages.count("connected to vm again") == 2


@STAND_IN
def test_a_machine_that_does_not_come_back_leaves_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = stand_in(tmp_path, "echo 'Connection timed out' >&2; exit 255")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(NetworkFailure, match="does not answer any more") as raised:
        list(followed(host, lambda _: None))
    assert "the run goes on there" in str(raised.value)


@STAND_IN
def test_a_container_that_ended_is_no_broken_connection(tmp_path: Path) -> None:
    host = stand_in(tmp_path, "echo last; exit 0")
    assert list(followed(host, print)) == [(b"last\n", None)]


@STAND_IN
@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("echo 'abc: Pulling fs layer'; exit 255", NetworkFailure, "is broken"),
        ("echo 'manifest unknown' >&2; exit 1", docker.errors.NotFound, "manifest unknown"),
        ("echo 'no such host' >&2; exit 1", docker.errors.APIError, "no such host"),
    ],
)
def test_a_pull_that_fails_says_whether_the_connection_did(
    tmp_path: Path,
    script: str,
    kind: type[Exception],
    message: str,
) -> None:
    api = SshApi(host=stand_in(tmp_path, script), log=print)
    with pytest.raises(kind, match=message):
        list(api.pull("reg.example/a", tag="1", stream=True, decode=True))
