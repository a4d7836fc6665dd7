"""A container engine of dlimg's own, beside and never instead of a system engine.

A home comes in; a running `Engine`, its status, or its end comes out. It has its own data,
socket, bridge and packet filter rules, and stays up until `down`.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
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
from dlimg.host import local_state, process

_KEPT: Final = ("auths", "credHelpers", "credsStore", "HttpHeaders", "proxies")


def client_environment(home: PrivateHome, environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment that leads `docker` and buildx to this engine and its own plugins."""
    dropped = {
        "DOCKER_CONTEXT",
        "DOCKER_TLS",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "DOCKER_API_VERSION",
        "BUILDX_BUILDER",
        "BUILDX_CONFIG",
    }
    kept = {name: value for name, value in environment.items() if name not in dropped}
    return {**kept, "DOCKER_HOST": home.host, "DOCKER_CONFIG": str(home.client_config)}


def write_client_config(home: PrivateHome, users: Path) -> None:
    """Write the client's settings: our plugins, and the user's registry logins for pushes.

    Raises `BadInput` when the user's own settings are no JSON object.
    """
    theirs = read_settings(users)
    file = home.client_config / "config.json"
    settings = {name: theirs[name] for name in _KEPT if name in theirs}
    settings["cliPluginsExtraDirs"] = [str(home.root / PLUGINS)]
    text = json.dumps(settings, indent=2) + "\n"
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    home.client_config.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Logins are secrets: the new file is the owner's alone from its first moment.
    atomic_write(file, text, mode=0o600)


START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 40.0
NETWORK_LOCK: Final = Path("/run/dlimg-network.lock")
STOP_HINT: Final = "`dlimg engine down` stops it"
_LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """The private engine as it is now: texts are empty for what is not there."""

    home: str
    running: bool
    host: str
    pid: int
    version: str
    packages: tuple[str, ...]
    bridge: str
    addresses: str


def up(
    home: PrivateHome,
    *,
    environment: Mapping[str, str],
    log: Callable[[str], None],
    cdi: Sequence[Path] = (),
) -> client.Engine:
    """The private engine, running; it is fetched and started where it is not.

    `cdi` names other folders of device specifications than the usual ones. Raises `NoEngine`
    with the reason when this machine cannot have one, or with the end of its log.
    """
    reason = unsupported_reason()
    if reason:
        raise NoEngine(
            f"a private container engine is not possible: {reason}", hint=client.INSTALL_HINT
        )
    home.path.mkdir(parents=True, exist_ok=True)
    with _alone(home, log):
        if not running_pid(home):
            started = time.monotonic()
            if not home.root.is_dir():
                install_engine(home, log)
            _start(home, cdi, log)
            log(f"started a container engine of dlimg's own in {time.monotonic() - started:.0f} s")
        else:
            _wait_for_answer(home, running_pid(home), 0)
            _network(home, log)
    log(f"dlimg's container engine stays up; {STOP_HINT}")
    return connect(home, environment)


def connect(home: PrivateHome, environment: Mapping[str, str]) -> client.Engine:
    """The running private engine, driven by its own `docker` with the user's logins."""
    write_client_config(home, docker_config_folder(environment) / "config.json")
    return client.connect(
        home.host,
        private=True,
        command=home.docker,
        environment=client_environment(home, environment),
    )


def status(home: PrivateHome) -> EngineStatus:
    """How the private engine is; never starts anything."""
    pid = running_pid(home)
    note = home.root / packages.PACKAGE_LIST
    chosen = network.load_network(home.network)
    return EngineStatus(
        home=str(home.path),
        running=pid != 0,
        host=home.host if pid else "",
        pid=pid,
        version=client.engine_version({"DOCKER_HOST": home.host}) if pid else "",
        packages=tuple(note.read_text(encoding="utf-8").splitlines()) if note.exists() else (),
        bridge=chosen.bridge if chosen else "",
        addresses=str(chosen.addresses) if chosen else "",
    )


def down(home: PrivateHome, *, log: Callable[[str], None]) -> None:
    """Stop the engine with its containers, remove its bridge and rules, keep its data."""
    if not home.path.is_dir():
        log("dlimg has no container engine of its own here")
        return
    with _alone(home, log):
        log("stopping dlimg's container engine" if running_pid(home) else "it was not running")
        _stop(home)


def purge(home: PrivateHome, *, log: Callable[[str], None]) -> None:
    """Stop the engine and remove all it has: images, build cache and programs."""
    down(home, log=log)
    if home.path.is_dir():
        with _alone(home, log):
            mounted = process.mounts_under(home.path)
            if mounted:
                raise NoEngine(f"nothing removed: {mounted[0]} is still mounted")
            shutil.rmtree(home.path)
        log(f"removed {home.path}")


def running_pid(home: PrivateHome) -> int:
    """The process id of this home's engine, or 0."""
    try:
        pid = int(home.pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    # After a reboot the number may be another program's.
    ours = str(home.daemon_config) in process.command_line(pid)
    return pid if ours and process.is_running(pid) else 0


def unsupported_reason() -> str:
    """Why this machine cannot have a private engine; nothing when it can."""
    if sys.platform != "linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "it needs Debian or a relative of it (apt-get, dpkg-deb)"
    return ""


def tool_runner(home: PrivateHome) -> Callable[[Sequence[str]], process.ProcessResult]:
    """How the engine's own tools are run: with its programs and libraries at hand."""
    environment = tool_environment(home)
    return lambda argv: process.run(argv, env=environment, timeout=60)


def _start(home: PrivateHome, cdi: Sequence[Path], log: Callable[[str], None]) -> None:
    _tidy(home)
    for folder in (home.data, home.exec_root):
        folder.mkdir(parents=True, exist_ok=True)
    chosen = _network(home, log)
    nvidia = shutil.which("nvidia-container-runtime")
    settings = daemon_settings(str(chosen.pool), cdi=cdi, nvidia=nvidia)
    home.daemon_config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    logged = home.log.stat().st_size if home.log.exists() else 0
    pid = 0
    try:
        pid = process.start_daemon(
            daemon_argv(home, chosen.bridge), log=home.log, env=tool_environment(home)
        )
        _wait_for_answer(home, pid, logged)
    except BaseException:
        # An interrupt too: an engine that nobody knows of must not stay behind.
        if pid:
            process.end_process(pid, patience=STOP_SECONDS)
        _stop(home)
        raise


def _wait_for_answer(home: PrivateHome, pid: int, logged: int) -> None:
    """Nothing once the engine answers; `NoEngine` with the end of its log when it ends first."""
    deadline = time.monotonic() + START_SECONDS
    while client.unreachable_reason({"DOCKER_HOST": home.host}):
        dead, late = not process.is_running(pid), time.monotonic() > deadline
        if dead or late:
            how = "ended" if dead else f"did not answer within {START_SECONDS:.0f} s"
            with home.log.open(encoding="utf-8", errors="replace") as log:
                log.seek(logged)
                tail = "".join(log.readlines()[-_LOG_LINES:])
            raise NoEngine(
                f"dlimg's container engine {how}; the end of its log:\n{tail}",
                where=str(home.log),
                hint=f"a container without privileges cannot run one; {client.INSTALL_HINT}",
            )
        time.sleep(0.1)


def _network(home: PrivateHome, log: Callable[[str], None]) -> network.BridgeNetwork:
    """The engine's bridge and rules, made where they are missing."""
    command = tool_runner(home)
    # Engines of two homes that start at once would both find the same addresses free.
    with local_state.file_lock(
        NETWORK_LOCK, doing="choosing its container engine's network", log=log
    ):
        before = network.load_network(home.network)
        taken = network.routed_networks(command, home.bridge)
        chosen = network.choose_network(home.bridge, taken, str(before.addresses) if before else "")
        network.save_network(chosen, home.network)
        network.create_network(chosen, command)
    return chosen


def _stop(home: PrivateHome) -> None:
    pid = running_pid(home)
    if pid:
        process.end_process(pid, patience=STOP_SECONDS)
    _tidy(home)
    chosen = network.load_network(home.network)
    if chosen is not None:
        network.remove_network(chosen, tool_runner(home))


def _tidy(home: PrivateHome) -> None:
    """Remove what a crash or a reboot has left: helpers, mounts, process ids and sockets."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if any(str(home.exec_root) in part for part in process.command_line(pid)):
            process.end_process(pid, patience=process.GRACE)
    for point in process.mounts_under(home.path):
        process.run(["umount", "--lazy", str(point)])
    shutil.rmtree(home.runtime, ignore_errors=True)


def _alone(home: PrivateHome, log: Callable[[str], None]) -> AbstractContextManager[None]:
    doing = "starting or stopping its container engine"
    return local_state.file_lock(home.lock, doing=doing, log=log)
