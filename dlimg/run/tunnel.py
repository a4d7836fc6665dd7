"""Tunnels to the ports of a run on another machine, and a run's block in an ssh configuration."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.host.ports import free_port
from dlimg.host.ssh import SshHost
from dlimg.run.model import PortMapping, RunName, RunRecord

FILE: Final = "ssh_config"
_FOLDER: Final = "ssh_config.d"


def open_tunnels(
    host: SshHost, requested: Sequence[PortMapping], remote_ports: Mapping[int, int]
) -> dict[int, int]:
    """Open a tunnel to each port of a container; return this machine's ports by the container's.

    `remote_ports` are the ports of the other machine. Tunnels close when this process ends.
    """
    preferred = {port.container: port.host for port in requested}
    return {
        container: _open(host, preferred.get(container, 0), port)
        for container, port in remote_ports.items()
    }


def _open(host: SshHost, requested: int, remote_port: int) -> int:
    port = requested or free_port()
    reason = host.forward(port, remote_port)
    if reason and requested:  # another program has taken it meanwhile
        port = free_port()
        reason = host.forward(port, remote_port)
    if reason:
        hint = f"`ssh -N -L {port}:127.0.0.1:{remote_port} {host.destination}` opens it by hand"
        raise NetworkFailure(f"there is no tunnel to {host.destination}: {reason}", hint=hint)
    return port


def write_block(
    record: RunRecord, host: SshHost | None, port: int, user: str, context: Context
) -> str:
    """Write the block of a run into dlimg's own ssh configuration; return the line that uses it.

    Each container has host keys of its own, and so a name of its own for them.
    """
    name = f"dlimg-{record.run.name}-{record.run.number}"
    known_hosts = context.config / "ssh_known_hosts"
    lines = (
        f"Host {name}",
        "    HostName 127.0.0.1",
        f"    Port {port}",
        f"    User {user}",
        *([f"    ProxyCommand {_proxy(host)}"] if host else []),
        f"    HostKeyAlias {name}-{record.container[:12]}",
        f'    UserKnownHostsFile "{known_hosts}"',
        "    StrictHostKeyChecking accept-new",
    )
    atomic_write(_block_file(record.run, context), "\n".join(lines) + "\n", mode=0o600)
    main = context.config / FILE
    atomic_write(main, f'Include "{context.config / _FOLDER}/*.conf"\n', mode=0o600)
    if _is_included(main, context):
        return f"ssh {name}"
    return f"ssh -F {shlex.quote(str(main))} {name}"


def _proxy(host: SshHost) -> str:
    return shlex.join(["ssh", *_config_of(host), "-W", "127.0.0.1:%p", "--", host.destination])


def remove_block(run: RunName, context: Context) -> None:
    _block_file(run, context).unlink(missing_ok=True)


def _block_file(run: RunName, context: Context) -> Path:
    return context.config / _FOLDER / f"{run.name}-{run.number}.conf"


def _config_of(host: SshHost) -> Sequence[str]:
    """Return the option for the user's other configuration, if there is one."""
    if "-F" not in host.options:
        return ()
    position = host.options.index("-F")
    return host.options[position : position + 2]


def _is_included(main: Path, context: Context) -> bool:
    """Return whether the user's own configuration includes dlimg's."""
    home = Path(context.environment.get("HOME") or Path.home())
    try:
        text = (home / ".ssh" / "config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    short = str(main).replace(f"{home}/", "~/")
    includes = [line for line in text.splitlines() if line.strip().lower().startswith("include")]
    return any(str(main) in line or short in line for line in includes)
