"""Connections to other machines by OpenSSH's client, a child process for each command.

Where the client can share connections, the first command opens one for all: a master that ends by
itself when nothing uses it, so nothing is left if dlimg is killed.
"""

import atexit
import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput, NetworkFailure
from dlimg.host.process import (
    MISSING,
    TIMED_OUT,
    ProcessResult,
    open_pipe,
    run,
    run_in_terminal,
    wait_until,
)

SSH_FAILED: Final = 255
SCHEME: Final = "ssh://"
CONNECT_SECONDS: Final = 15
_SECONDS: Final = 120
_MASTER_SECONDS: Final = 60
# A connection without an answer for 45 s is a broken one.
_ALIVE: Final = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3")
# A command of the user's configuration would stand in the way of those here.
_OWN_COMMANDS: Final = ("-o", "RemoteCommand=none")
_DESTINATION: Final = re.compile(r"[\w.][^\s'\"\\$`;&|<>(){}]*")
_MOST_TAIL: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SshHost:
    """A machine that ssh reaches: `user@vm`, or a name of ssh's own configuration.

    `docker` is the command of its docker client, such as `sudo -n docker`; `options` are those of
    ssh, with the shared connection.
    """

    destination: str
    environment: Mapping[str, str] = field(repr=False)
    options: tuple[str, ...] = ()
    docker: tuple[str, ...] = ("docker",)
    tunnels: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{SCHEME}{self.destination}"

    def argv(
        self, arguments: Sequence[str], *, terminal: bool = False, quiet: bool = False
    ) -> list[str]:
        """Return the argument list of ssh for a command there; `quiet` drops ssh's own messages."""
        options = ["-q"] if quiet else []
        options.append("-t" if terminal else "-T")
        return ["ssh", *self.options, *options, "--", self.destination, shlex.join(arguments)]

    def forward(self, local_port: int, remote_port: int) -> str:
        """Open a tunnel between ports of the two loopbacks; return why that failed, or nothing.

        It ends with this process, and a new connection opens it again.
        """
        tunnel = f"127.0.0.1:{local_port}:127.0.0.1:{remote_port}"
        reason = self._open_tunnel(tunnel)
        if not reason:
            self.tunnels.append(tunnel)
        return reason

    def _open_tunnel(self, tunnel: str) -> str:
        if not any(option.startswith("ControlPath=") for option in self.options):
            return self._open_own_tunnel(tunnel)
        argv = ["ssh", *self.options, "-O", "forward", "-L", tunnel, "--", self.destination]
        completed = run(argv, env=self.environment, timeout=CONNECT_SECONDS)
        return "" if completed.returncode == 0 else completed.stderr.strip() or "ssh refuses it"

    def _open_own_tunnel(self, tunnel: str) -> str:
        """Open a connection that has only this tunnel, and that ends with this process."""
        options = ("-N", "-o", "ExitOnForwardFailure=yes", "-L", tunnel)
        child = open_pipe(
            ["ssh", *self.options, *options, "--", self.destination], env=self.environment
        )
        atexit.register(child.kill)
        port = int(tunnel.split(":")[1])
        if wait_until(lambda: child.poll() is not None or _listens(port), CONNECT_SECONDS):
            return "" if child.poll() is None else f"ssh ended with {child.returncode}"
        return "ssh does not open it"

    def open_tunnels_again(self) -> None:
        for tunnel in self.tunnels:
            self._open_tunnel(tunnel)

    def run(
        self, arguments: Sequence[str], *, stdin: str | None = None, timeout: float | None = None
    ) -> ProcessResult:
        """Run a command on the machine. Raises NetworkFailure when the connection fails."""
        completed = run(self.argv(arguments), env=self.environment, stdin=stdin, timeout=timeout)
        if completed.returncode in {SSH_FAILED, TIMED_OUT, MISSING} and is_ssh_failure(completed):
            raise connection_failure(self.destination, completed)
        return completed

    def script(self, text: str, *arguments: str, timeout: float = _SECONDS) -> ProcessResult:
        """Run a shell script on the machine; it goes over stdin, so its length has no limit."""
        return self.run(["sh", "-s", "--", *arguments], stdin=text, timeout=timeout)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_ssh_failure(completed: ProcessResult) -> bool:
    """Return whether ssh itself has failed, not the command that it ran."""
    if completed.returncode == MISSING:
        return "No such file" in completed.stderr and not completed.stderr.startswith("sh:")
    return completed.returncode in {SSH_FAILED, TIMED_OUT}


def check_destination(text: str, where: str = "--on") -> None:
    """Raise BadInput for a text that is no destination, and that a shell could misread."""
    if not _DESTINATION.fullmatch(text) or text.startswith("-"):
        hint = "write user@host, or a name of your ssh configuration"
        raise BadInput(f"{text!r} is no machine", where=where, hint=hint)


def open_ssh(destination: str, context: Context) -> SshHost:
    """Connect to a machine; questions of ssh (a password, a new key) go to the terminal.

    Raises NetworkFailure with a remedy if that fails.
    """
    check_destination(destination)
    environment = context.environment
    if shutil.which("ssh", path=environment.get("PATH", os.defpath)) is None:
        hint = "install OpenSSH's client: `apt install openssh-client`; macOS and Windows have it"
        raise NetworkFailure("there is no ssh here", where=f"--on {destination}", hint=hint)
    options = (
        *_ALIVE,
        *_OWN_COMMANDS,
        "-o",
        f"ConnectTimeout={CONNECT_SECONDS}",
        *_config_options(context),
    )
    host = SshHost(
        destination=destination,
        environment=environment,
        options=(*options, *_shared_connection(destination, options, environment)),
    )
    connect(host)
    return host


def connect(host: SshHost) -> None:
    """Open the connection, or open it again. Raises NetworkFailure."""
    quiet = SshHost(
        destination=host.destination,
        environment=host.environment,
        options=("-o", "BatchMode=yes", *host.options),
    )
    completed = run(quiet.argv(["true"]), env=host.environment, timeout=_SECONDS)
    if completed.returncode == 0:
        host.open_tunnels_again()
        return
    if _may_ask(completed) and sys.stdin.isatty():
        code = run_in_terminal(host.argv(["true"]), env=host.environment)
        if code == 0:
            host.open_tunnels_again()
            return
    raise connection_failure(host.destination, completed)


def _may_ask(completed: ProcessResult) -> bool:
    is_changed = "IDENTIFICATION HAS CHANGED" in completed.stderr
    asks = ("Permission denied", "Host key verification failed")
    return not is_changed and any(text in completed.stderr for text in asks)


def _config_options(context: Context) -> tuple[str, ...]:
    """Return the option for another configuration of ssh, which DLIMG_SSH_CONFIG names."""
    file = context.environment.get("DLIMG_SSH_CONFIG", "")
    return ("-F", file) if file else ()


def _shared_connection(
    destination: str, options: Sequence[str], environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the options for a connection that this process shares; it ends with the process."""
    if os.name == "nt":  # whose ssh shares no connections
        return ()
    folder = Path(tempfile.mkdtemp(prefix="dlimg-ssh-"))  # short: a socket's path has 104 bytes
    control = f"ControlPath={folder / 'c'}"

    def close() -> None:
        arguments = ["ssh", *options, "-o", control, "-O", "exit", "--", destination]
        run(arguments, env=environment, timeout=CONNECT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(close)
    persist = f"ControlPersist={_MASTER_SECONDS}"
    return ("-o", "ControlMaster=auto", "-o", control, "-o", persist)


# Texts of ssh, each with what to do.
_HINTS: Final = (
    (
        "IDENTIFICATION HAS CHANGED",
        "the host key of {name} has changed",
        "if you know why (a new VM at an old address): `ssh-keygen -R {host}`, then connect again",
    ),
    (
        "Host key verification failed",
        "the host key of {name} is not known",
        "`ssh {name}` once, and compare the key that it shows",
    ),
    (
        "Permission denied",
        "{name} refuses this user or key",
        "check the user's name; `ssh-copy-id {name}` brings your key there",
    ),
    ("Could not resolve", "there is no host {name}", "check its name, or ~/.ssh/config"),
    ("Connection refused", "no ssh server answers at {name}", "check the port, and that it is up"),
    ("timed out", "{name} does not answer", "check its address, that it is up, and its firewall"),
    ("No route to host", "{name} cannot be reached", "check its address, and this network"),
    ("Network is unreachable", "{name} cannot be reached", "check this network"),
)


def connection_failure(destination: str, completed: ProcessResult) -> NetworkFailure:
    """Return the failure of a connection with its remedy."""
    host = destination.removeprefix(SCHEME).rpartition("@")[2]
    stderr = "timed out" if completed.returncode == TIMED_OUT else completed.stderr
    for text, message, hint in _HINTS:
        if text in stderr:
            filled = hint.format(name=destination, host=host)
            return NetworkFailure(message.format(name=destination), hint=filled)
    last = " ".join(completed.stderr.split())[-_MOST_TAIL:]
    reason = f": {last}" if last else ""
    hint = f"the same command goes on where it stopped; runs at {destination} are not touched"
    return NetworkFailure(f"the connection to {destination} is broken{reason}", hint=hint)
