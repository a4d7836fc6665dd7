"""The private engine: a container engine that dlimg runs beside any system engine.

It has its own data, socket, bridge and iptables rules, and runs until `down`.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.context import Context, Log
from dlimg.debian import packages
from dlimg.engine import client, network
from dlimg.engine.docker_address import docker_config_folder, read_settings
from dlimg.engine.private_home import (
    PLUGINS,
    PrivateHome,
    daemon_argv,
    daemon_settings,
    install_engine,
    tool_environment,
)
from dlimg.errors import NoEngine
from dlimg.host import process
from dlimg.host.file_lock import file_lock

_USER_SETTINGS: Final = ("auths", "credHelpers", "credsStore", "HttpHeaders", "proxies")


def client_context(home: PrivateHome, context: Context) -> Context:
    """Return a context that leads `docker` to this engine and its own plugins."""
    dropped = {
        "DOCKER_CONTEXT",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "DOCKER_API_VERSION",
        "BUILDX_BUILDER",
        "BUILDX_CONFIG",
    }
    others = {name: value for name, value in context.environment.items() if name not in dropped}
    address = {"DOCKER_HOST": home.host, "DOCKER_CONFIG": str(home.client_config)}
    return replace(context, environment={**others, **address})


def write_client_config(home: PrivateHome, user_config: Path) -> None:
    """Write the client's settings: the engine's plugins and the user's registry logins.

    Raises `BadInput` when the user's settings are not a JSON object.
    """
    user_settings = read_settings(user_config)
    file = home.client_config / "config.json"
    settings = {name: user_settings[name] for name in _USER_SETTINGS if name in user_settings}
    settings["cliPluginsExtraDirs"] = [str(home.root / PLUGINS)]
    text = json.dumps(settings, indent=2) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    home.client_config.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Logins are secrets, so nobody else may read the new file at any time.
    atomic_write(file, text, mode=0o600)


START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 40.0
NETWORK_LOCK: Final = Path("/run/dlimg-network.lock")
STOP_HINT: Final = "`dlimg engine down` stops it"
_LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The state of the private engine; texts are empty for what does not exist."""

    home: str
    running: bool
    host: str
    pid: int
    version: str
    packages: tuple[str, ...]
    bridge: str
    addresses: str


def up(home: PrivateHome, context: Context, *, cdi: Sequence[Path] = ()) -> client.Engine:
    """Return the running private engine, after installing and starting it if necessary.

    `cdi` replaces the default folders of CDI specifications. Raises `NoEngine` with the reason
    when this host cannot run one, or with the end of the engine's log.
    """
    reason = unsupported_reason()
    if reason:
        raise NoEngine(
            f"a private container engine is not possible: {reason}", hint=client.INSTALL_HINT
        )
    home.path.mkdir(parents=True, exist_ok=True)
    with _lock_home(home, context.log):
        if not running_pid(home):
            started = time.monotonic()
            if not home.root.is_dir():
                install_engine(home, context.log)
            _start(home, cdi, context)
            context.log(f"started dlimg's private engine in {time.monotonic() - started:.0f} s")
        else:
            _wait_for_answer(home, context, running_pid(home), 0)
            _create_network(home, context.log)
    context.log(f"dlimg's private engine stays up; {STOP_HINT}")
    return connect(home, context)


def connect(home: PrivateHome, context: Context) -> client.Engine:
    """Connect to the running private engine, with the user's registry logins."""
    write_client_config(home, docker_config_folder(context) / "config.json")
    return client.connect(
        home.host,
        private=True,
        command=home.docker,
        context=client_context(home, context),
    )


def status(home: PrivateHome, context: Context) -> EngineStatus:
    """Return the state of the private engine, without starting anything."""
    pid = running_pid(home)
    package_list = home.root / packages.PACKAGE_LIST
    saved = network.load_network(home.network)
    return EngineStatus(
        home=str(home.path),
        running=pid != 0,
        host=home.host if pid else "",
        pid=pid,
        version=client.engine_version(client_context(home, context)) if pid else "",
        packages=tuple(package_list.read_text(encoding="utf-8").splitlines())
        if package_list.exists()
        else (),
        bridge=saved.bridge if saved else "",
        addresses=str(saved.addresses) if saved else "",
    )


def down(home: PrivateHome, *, log: Log) -> None:
    """Stop the engine and its containers and remove its network; its data stays."""
    if not home.path.is_dir():
        log("dlimg has no private engine here")
        return
    with _lock_home(home, log):
        is_running = bool(running_pid(home))
        log(f"{'stopping' if is_running else 'not running:'} dlimg's private engine")
        _stop(home)


def purge(home: PrivateHome, *, log: Log) -> None:
    """Stop the engine and remove its images, build cache and programs."""
    down(home, log=log)
    if home.path.is_dir():
        with _lock_home(home, log):
            mounted = process.mounts_under(home.path)
            if mounted:
                raise NoEngine(
                    f"nothing was removed: {mounted[0]} is still mounted",
                    hint="unmount it, then repeat `dlimg engine purge`",
                )
            shutil.rmtree(home.path)
        log(f"removed {home.path}")


def running_pid(home: PrivateHome) -> int:
    """Return the process id of this home's engine, or 0 when it does not run."""
    try:
        pid = int(home.pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    # After a reboot another program may have this process id.
    is_ours = str(home.daemon_config) in process.command_line(pid)
    return pid if is_ours and process.is_running(pid) else 0


def unsupported_reason() -> str:
    """Return why this host cannot run a private engine; empty when it can."""
    if sys.platform != "linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "it needs Debian or a derivative (apt-get, dpkg-deb)"
    return ""


def tool_runner(home: PrivateHome) -> Callable[[Sequence[str]], process.ProcessResult]:
    """Return a function that runs commands with the engine's programs and libraries."""
    environment = tool_environment(home)
    return lambda argv: process.run(argv, env=environment, timeout=60)


def _start(home: PrivateHome, cdi: Sequence[Path], context: Context) -> None:
    _clean_up(home)
    for folder in (home.data, home.exec_root):
        folder.mkdir(parents=True, exist_ok=True)
    chosen = _create_network(home, context.log)
    nvidia = shutil.which("nvidia-container-runtime")
    settings = daemon_settings(str(chosen.pool), cdi=cdi, nvidia=nvidia)
    home.daemon_config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    log_size = home.log.stat().st_size if home.log.exists() else 0
    pid = 0
    try:
        pid = process.start_daemon(
            daemon_argv(home, chosen.bridge), log=home.log, env=tool_environment(home)
        )
        _wait_for_answer(home, context, pid, log_size)
    except BaseException:
        # After an interrupt as well: an unrecorded engine must not stay behind.
        if pid:
            process.end_process(pid, patience=STOP_SECONDS)
        _stop(home)
        raise


def _wait_for_answer(home: PrivateHome, context: Context, pid: int, log_start: int) -> None:
    """Wait until the engine answers; raise `NoEngine` with the end of its log if it ends first."""
    deadline = time.monotonic() + START_SECONDS
    while client.unreachable_reason(client_context(home, context)):
        dead, late = not process.is_running(pid), time.monotonic() > deadline
        if dead or late:
            how = "ended" if dead else f"did not answer within {START_SECONDS:.0f} s"
            with home.log.open(encoding="utf-8", errors="replace") as file:
                file.seek(log_start)
                tail = "".join(file.readlines()[-_LOG_LINES:])
            raise NoEngine(
                f"dlimg's private engine {how}; the end of its log:\n{tail}",
                where=str(home.log),
                hint=f"an unprivileged container cannot run an engine; {client.INSTALL_HINT}",
            )
        time.sleep(0.1)


def _create_network(home: PrivateHome, log: Log) -> network.BridgeNetwork:
    """Create the parts of the engine's network that are missing."""
    run_command = tool_runner(home)
    # Engines of two homes that start at once would both find the same addresses free.
    with file_lock(NETWORK_LOCK, doing="choosing its container engine's network", log=log):
        saved = network.load_network(home.network)
        used = network.routed_networks(run_command, home.bridge)
        chosen = network.choose_network(home.bridge, used, str(saved.addresses) if saved else "")
        if saved and saved.addresses != chosen.addresses:
            # Docker would give its bridge the old address again, for which there are no rules.
            home.docker_networks.unlink(missing_ok=True)
        network.save_network(chosen, home.network)
        network.create_network(chosen, run_command)
    return chosen


def _stop(home: PrivateHome) -> None:
    pid = running_pid(home)
    if pid:
        process.end_process(pid, patience=STOP_SECONDS)
    _clean_up(home)
    saved = network.load_network(home.network)
    if saved is not None:
        network.remove_network(saved, tool_runner(home))


def _clean_up(home: PrivateHome) -> None:
    """Remove leftovers of a crash or a reboot: processes, mounts, pid files and sockets."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if any(str(home.exec_root) in part for part in process.command_line(pid)):
            process.end_process(pid, patience=process.GRACE)
    for point in process.mounts_under(home.path):
        process.run(["umount", "--lazy", str(point)])
    shutil.rmtree(home.runtime, ignore_errors=True)


def _lock_home(home: PrivateHome, log: Log) -> AbstractContextManager[None]:
    doing = "starting or stopping its container engine"
    return file_lock(home.lock, doing=doing, log=log)
