"""Ways into a run on another machine: blocks of ssh's configuration, and ports."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.host.ssh import SshHost
from dlimg.run.model import PortMapping, RunName, RunRecord
from dlimg.run.tunnel import open_tunnels, remove_block, write_block

RUN = RunName(name="hello", number=3)
HOST = SshHost(destination="me@vm", environment={}, options=("-F", "/my config", "-o", "A=b"))


def record_of(run: RunName, container: str = "c1") -> RunRecord:
    return RunRecord(
        run=run,
        container=container,
        host="",
        image="i",
        digest="d",
        command=(),
        folder="",
        output="",
    )


def options_of_ssh(config: Path, name: str) -> dict[str, str]:
    """What ssh itself reads of a configuration."""
    argv = ["ssh", "-G", "-F", str(config), name]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    pairs = (line.partition(" ") for line in done.stdout.splitlines())
    return {key: value for key, _, value in pairs}


@pytest.mark.skipif(sys.platform == "win32", reason="paths of the expected text are POSIX's")
def test_ssh_reads_the_block_of_a_run(context: Context) -> None:
    line = write_block(record_of(RUN), HOST, 32768, "user", context)
    config = context.config / "ssh_config"
    assert line == f"ssh -F {config} dlimg-hello-3"
    options = options_of_ssh(config, "dlimg-hello-3")
    assert options["hostname"] == "127.0.0.1"
    assert options["port"] == "32768"
    assert options["user"] == "user"
    assert options["proxycommand"] == "ssh -F '/my config' -W 127.0.0.1:%p -- me@vm"
    assert options["stricthostkeychecking"] == "accept-new"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_each_container_here_has_a_host_key_of_its_own(context: Context) -> None:
    names = []
    for container in ("c1", "c2"):
        write_block(record_of(RUN, container), None, 2222, "user", context)
        options = options_of_ssh(context.config / "ssh_config", "dlimg-hello-3")
        assert (options["hostname"], options["port"]) == ("127.0.0.1", "2222")
        assert "proxycommand" not in options
        names.append(options["hostkeyalias"])
    assert names == ["dlimg-hello-3-c1", "dlimg-hello-3-c2"]


@pytest.mark.skipif(sys.platform == "win32", reason="paths of the expected text are POSIX's")
def test_with_the_configuration_included_the_line_is_short(context: Context) -> None:
    home = Path(context.environment["HOME"])
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_text("Include ~/.config/dlimg/ssh_config\nHost *\n")
    assert write_block(record_of(RUN), HOST, 1, "user", context) == "ssh dlimg-hello-3"


def test_the_block_goes_with_its_run(context: Context) -> None:
    other = RunName(name="hello", number=4)
    for run in (RUN, other):
        write_block(record_of(run), HOST, 1, "user", context)
    remove_block(RUN, context)
    remove_block(RUN, context)
    names = [path.name for path in (context.config / "ssh_config.d").iterdir()]
    assert names == ["hello-4.conf"]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssh is a shell script")
def test_a_tunnel_has_the_wanted_port_or_a_free_one(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/log"\n')
    program.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    host = SshHost(destination="vm", environment=variables, options=("-o", "ControlPath=/x"))
    wanted = [PortMapping(container=8888, host=9999)]
    ports = open_tunnels(host, wanted, {8888: 32768, 6006: 32769})
    assert ports[8888] == 9999
    assert ports[6006] not in {0, 9999}
    lines = (tmp_path / "log").read_text()
    assert "-O forward -L 127.0.0.1:9999:127.0.0.1:32768 -- vm" in lines
    assert host.tunnels == [
        "127.0.0.1:9999:127.0.0.1:32768",
        f"127.0.0.1:{ports[6006]}:127.0.0.1:32769",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for ssh is a shell script")
def test_a_tunnel_that_is_refused_has_a_line_to_open_it_by_hand(tmp_path: Path) -> None:
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\necho 'administratively prohibited' >&2\nexit 1\n")
    program.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    host = SshHost(destination="vm", environment=variables, options=("-o", "ControlPath=/x"))
    with pytest.raises(NetworkFailure, match="administratively prohibited") as raised:
        open_tunnels(host, [], {8888: 32768})
    assert "ssh -N -L" in str(raised.value)
