"""Runs on another machine: its GPUs and user, the code and data sent, results brought back."""

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dlimg.context import Context
from dlimg.engine.client import Engine, is_rootless
from dlimg.errors import DlimgError, Negative, NetworkFailure
from dlimg.host.ignore import (
    FileState,
    IgnoreRules,
    Listing,
    file_state,
    first_ignored,
    list_folder,
)
from dlimg.host.process import wait_until
from dlimg.host.ssh import SshHost
from dlimg.model import LocalMachine
from dlimg.run.container import container_state
from dlimg.run.find import BASE_LABEL
from dlimg.run.gpu_queue import FOLDER as LOCK_FOLDER
from dlimg.run.gpu_queue import lock_files
from dlimg.run.machine_probe import parse_gpus
from dlimg.run.model import (
    CODE,
    OUTPUT,
    RUN_LABEL,
    Mount,
    PortMapping,
    RunRecord,
    RunSpec,
    RunStatus,
)
from dlimg.run.modes import (
    JUPYTER_PORT,
    SSH_PORT,
    TOKEN,
    has_jupyter,
    has_ssh,
    jupyter_address,
    ports_here,
    servers_answer,
)
from dlimg.run.names import parse_run
from dlimg.run.record import read_records
from dlimg.run.secrets import values_in
from dlimg.run.start_script import LOCKS
from dlimg.run.transfer import (
    Files,
    FilesToReturn,
    RemoteFolder,
    bytes_of,
    code_to_return,
    output_to_return,
    read_sent,
    to_remove,
    to_send,
    write_sent,
)
from dlimg.run.tunnel import open_tunnels, remove_block, write_block
from dlimg.units import bytes_text, counted

FOLDER: Final = "dlimg-runs"  # in the user's home there
_MOST_NAMES: Final = 5
_SYNC_SECONDS: Final = 2.0
_SOON_SECONDS: Final = 2.0
_SERVER_SECONDS: Final = 15.0
_FACTS: Final = r"""
echo "user $(id -u):$(id -g)"
echo "home $(cd && pwd -P)"
echo "arch $(uname -m)"
command -v nvidia-smi >/dev/null 2>&1 &&
    timeout 30 nvidia-smi --query-gpu=compute_cap,driver_version,name --format=csv,noheader |
    sed 's/^/gpu /'
exit 0
"""
_LOCK_FOLDER: Final = r"""
folder=$1; shift
mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ] || folder=$HOME/.dlimg-gpus
mkdir -p "$folder"
chmod 1777 "$folder" 2>/dev/null
for name; do [ -e "$folder/$name" ] || touch "$folder/$name"; done
echo "$folder"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """Facts about a machine for a run: the user's ids, the home, the GPUs."""

    user: str
    home: str
    machine: LocalMachine


def read_machine(host: SshHost) -> MachineFacts:
    """Return the facts about a machine. Raises Negative for one without a POSIX shell."""
    completed = host.script(_FACTS)
    facts = parse_machine(completed.stdout)
    if facts is None:
        hint = "runs need Linux there, with an engine"
        raise Negative(f"{host.destination} has no shell that dlimg knows", hint=hint)
    return facts


def parse_machine(text: str) -> MachineFacts | None:
    """Return the facts in the script's output, which a banner of the shell may precede."""
    values: dict[str, str] = {}
    gpu_lines: list[str] = []
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "gpu":
            gpu_lines.append(value)
        else:
            values[key] = value
    if not re.fullmatch(r"\d+:\d+", values.get("user", "")) or not values.get("home"):
        return None
    gpus, driver, _ = parse_gpus(gpu_lines)
    machine = LocalMachine(gpus=gpus, driver=driver, arch=values.get("arch", ""))
    return MachineFacts(user=values["user"], home=values["home"], machine=machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteMachine:
    """Another machine for a run: its connection and facts."""

    host: SshHost
    facts: MachineFacts
    context: Context

    @property
    def detected(self) -> LocalMachine:
        return self.facts.machine

    def last_number(self, name: str) -> int:
        """Return the highest number of a run of this name there, by any user of dlimg."""
        label = f'{{{{.Label "{RUN_LABEL}"}}}}'
        arguments = [*self.host.docker, "ps", "--all", "--filter", f"label={RUN_LABEL}"]
        completed = self.host.run([*arguments, "--format", label])
        runs = map(parse_run, completed.stdout.splitlines())
        return max((run.number for run in runs if run and run.name == name), default=0)

    def locks(self, names: Iterable[str]) -> str:
        """Return the folder of locks on GPUs there."""
        files = lock_files(names)
        completed = self.host.script(_LOCK_FOLDER, LOCK_FOLDER.as_posix(), *files)
        return completed.stdout.strip()

    def user(self, engine: Engine) -> str:
        return "0:0" if is_rootless(engine) else self.facts.user

    def prepare(self, spec: RunSpec, record: RunRecord) -> RunSpec:
        """Send code and data; return the specification with the folders of that machine."""
        base = remote_base(record.folder)
        mounts = tuple(self._mount(mount, record, base) for mount in spec.mounts)
        ports = tuple(replace(port, host=0, address="127.0.0.1") for port in spec.ports)
        labels = {**spec.labels, BASE_LABEL: base}
        return replace(spec, mounts=mounts, ports=ports, labels=labels)

    def _mount(self, mount: Mount, record: RunRecord, base: str) -> Mount:
        if mount.kind != "bind" or mount.target == LOCKS:
            return mount
        if mount.target == CODE:
            send_code(self.host, Path(mount.source), self.context)
            return self._at(mount, f"{base}/code")
        if mount.target == OUTPUT:
            path = f"{base}/output/{record.run.number}"
            RemoteFolder(host=self.host, path=path).list(make=True)
            return self._at(mount, path)
        return self._data(mount, base)

    def _data(self, mount: Mount, base: str) -> Mount:
        output = output_on(self.host.address, mount.source, self.context)
        if output:
            return self._at(mount, output)
        name = PurePosixPath(mount.target).name
        source = Path(mount.source)
        digest = _short(str(source))
        path = f"{base}/data/{digest}"
        if mount.target.startswith("/data/"):  # the others are the same data at other paths
            send_data(self.host, source, path, name, self.context)
        return self._at(mount, path if source.is_dir() else f"{path}/{source.name}")

    def _at(self, mount: Mount, path: str) -> Mount:
        return replace(mount, source=f"{self.facts.home}/{path}")


def remote_base(folder: str) -> str:
    """Return the other machine's folder for a local one: below the home, in plain letters."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(folder).name.lower()).strip("-")
    return f"{FOLDER}/{name[:30] or 'run'}-{_short(f'{socket.gethostname()}:{folder}')}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def output_on(address: str, source: str, context: Context) -> str:
    """Return the folder on a machine of the earlier run whose local output this is, or nothing."""
    for record in read_records(context):
        if record.host == address and record.output == source:
            return f"{record.base}/output/{record.run.number}"
    return ""


def send_code(host: SshHost, folder: Path, context: Context) -> None:
    """Send changed files of a folder of code; log their size and the ignored files first."""
    listing = _code_files(folder)
    names = ", ".join(first_ignored(listing, _MOST_NAMES))
    if names:
        context.log(f"not sent, by the ignore file: {names}")
    _send(host, folder, f"{remote_base(str(folder))}/code", listing, context)


def _code_files(folder: Path) -> Listing:
    return list_folder(folder, rules=IgnoreRules(folder), skipped={"output/"})


def send_data(host: SshHost, source: Path, path: str, name: str, context: Context) -> None:
    """Send changed files of a folder of data, or a file."""
    if source.is_dir():
        listing = list_folder(source)
    else:
        status = source.stat()
        state = FileState(size=status.st_size, time=int(status.st_mtime))
        source, listing = source.parent, Listing(files={source.name: state})
    context.log(f"data {name}:")
    _send(host, source, path, listing, context)


def sent_key(host: SshHost, path: str) -> str:
    """Return the name of the record of files that were sent to a folder."""
    return f"{_short(host.destination)}-{_short(path)}"


def _send(host: SshHost, folder: Path, path: str, listing: Listing, context: Context) -> None:
    remote = RemoteFolder(host=host, path=path)
    key = sent_key(host, path)
    remote_files, sent = remote.list(make=True), read_sent(key, context)
    changed = to_send(listing.files, remote_files, sent)
    size = bytes_text(bytes_of(changed, listing.files))
    total = counted(len(listing.files), "file")
    context.log(f"{folder}: sending {len(changed)} of {total}, {size}, to {host.destination}")
    remote.remove(to_remove(listing.files, remote_files, sent))
    new_folders = listing.empty if changed or not remote_files else []
    remote.send(folder, [*new_folders, *changed])
    write_sent(key, listing.files, context)


def bring_back(record: RunRecord, engine: Engine, context: Context) -> None:
    """Copy the output of a run and the code that it changed from another machine.

    Files that are newer on this machine stay as they are.
    """
    if engine.ssh is None or not record.base:
        return
    output = RemoteFolder(host=engine.ssh, path=f"{record.base}/output/{record.run.number}")
    folder = Path(record.output)
    remote_files = output.list()
    _fetch(
        output,
        folder,
        output_to_return(local_states(folder, remote_files), remote_files),
        remote_files,
        context,
    )
    _bring_code_back(engine.ssh, record, context)


def _bring_code_back(host: SshHost, record: RunRecord, context: Context) -> None:
    folder = Path(record.folder)
    if not (record.folder and folder.is_dir()):
        return
    rules = IgnoreRules(folder)
    path = f"{record.base}/code"
    remote = RemoteFolder(host=host, path=path)
    remote_files = {path: state for path, state in remote.list().items() if not rules.ignores(path)}
    key = sent_key(host, path)
    sent, local_files = read_sent(key, context), local_states(folder, remote_files)
    _fetch(remote, folder, code_to_return(local_files, remote_files, sent), remote_files, context)
    both = {
        path: state for path, state in remote_files.items() if file_state(folder / path) == state
    }
    write_sent(key, {**sent, **both}, context)


def local_states(folder: Path, paths: Iterable[str]) -> dict[str, FileState]:
    states = {path: file_state(folder / path) for path in paths}
    return {path: state for path, state in states.items() if state}


def _fetch(
    remote: RemoteFolder, folder: Path, files: FilesToReturn, remote_files: Files, context: Context
) -> None:
    for path in files.newer[:_MOST_NAMES]:
        context.log(f"{folder / path} is newer here, and stays as it is")
    if len(files.newer) > _MOST_NAMES:
        context.log(f"and so are {len(files.newer) - _MOST_NAMES} more files")
    if not files.paths:
        return
    size = bytes_text(bytes_of(files.paths, remote_files))
    context.log(f"fetching {counted(len(files.paths), 'file')}, {size}, to {folder}")
    remote.fetch(files.paths, folder)


def remove_there(record: RunRecord, engine: Engine, context: Context) -> None:
    """Remove a run's ssh configuration, and its output folder from another machine.

    A run that was started on that machine keeps its own folder.
    """
    if engine.ssh is None:
        remove_block(record.run, context)
    elif PurePosixPath(record.base).parent.name == FOLDER:
        remove_block(record.run, context)
        path = f"{record.base}/output/{record.run.number}"
        engine.ssh.run(["rm", "-rf", "--", path])


def reach(
    status: RunStatus,
    wanted: Sequence[PortMapping],
    hidden: Mapping[str, str],
    engine: Engine,
    context: Context,
) -> tuple[str, ...]:
    """Return the addresses of a run's servers, after opening tunnels to another machine.

    Tunnels close when this process ends. Jupyter's token is read from the container if `hidden`
    lacks it.
    """
    if not status.ports:
        return ()
    record = status.record
    if has_jupyter(record.mode) and TOKEN not in hidden:
        hidden = values_in(record.container, [TOKEN], engine)
    ports = status.ports
    if engine.ssh is not None:
        usual = ports_here(PortMapping(container=port) for port in ports)
        ports = open_tunnels(engine.ssh, wanted or tuple(usual), ports)
    servers = {JUPYTER_PORT} if has_jupyter(record.mode) else set()
    servers |= {SSH_PORT} if has_ssh(record.mode) else set()
    others = [
        f"port {port} is at http://127.0.0.1:{local_port}"
        for port, local_port in ports.items()
        if port not in servers
    ]
    _wait_for_servers(record, ports, engine)
    jupyter = [jupyter_address(ports[port], hidden) for port in servers & {JUPYTER_PORT} & {*ports}]
    return (*jupyter, *others, *ssh_lines(status, engine, context))


def _wait_for_servers(record: RunRecord, ports: Mapping[int, int], engine: Engine) -> None:
    """Wait some seconds until a run's servers answer; log that it takes longer."""

    def is_over() -> bool:
        if servers_answer(record.mode, ports):
            return True
        state = container_state(record.container, engine)
        return state is None or state.status != "running"

    if record.queue or engine.host.startswith("tcp://") or wait_until(is_over, _SOON_SECONDS):
        return
    log = engine.context.log
    log(f"{record.run}: waiting for its server")
    if not wait_until(is_over, _SERVER_SECONDS):
        log(f"{record.run}: its server does not answer yet; `dlimg logs {record.run}` says more")


def ssh_lines(status: RunStatus, engine: Engine, context: Context) -> tuple[str, ...]:
    """Return the command that logs in to a run with an ssh server."""
    port = status.ports.get(SSH_PORT)
    if port is None or not has_ssh(status.record.mode):
        return ()
    user = _user_of(status.record, engine)
    return (f"ssh: {write_block(status.record, engine.ssh, port, user, context)}",)


def detached_lines(status: RunStatus, engine: Engine, context: Context) -> tuple[str, ...]:
    """Return how to reach a run in the background of another machine."""
    has_others = any(port != SSH_PORT for port in status.ports)
    hint = f"`dlimg attach {status.record.run}` opens its ports on this machine"
    lines = ssh_lines(status, engine, context)
    if lines and engine.ssh:
        with contextlib.suppress(NetworkFailure):  # the run has started all the same
            ports = open_tunnels(engine.ssh, (), {SSH_PORT: status.ports[SSH_PORT]})
            _wait_for_servers(status.record, ports, engine)
    return (*lines, *([hint] if has_others else []))


def _user_of(record: RunRecord, engine: Engine) -> str:
    """Return the name of the user in the container, for ssh."""
    api: Any = engine.sdk.api
    config = api.inspect_container(record.container)["Config"]
    user = str(config.get("User") or "").partition(":")[0]
    named = (text for text in config.get("Env") or () if text.startswith("USER="))
    account = next(named, "USER=user").removeprefix("USER=")
    return "root" if user in {"0", "root"} else account


@contextlib.contextmanager
def send_changes(
    record: RunRecord, engine: Engine, context: Context, *, is_wanted: bool
) -> Iterator[None]:
    """Keep sending changed files of the code, if that is wanted, until the block ends."""
    if not (is_wanted and engine.ssh):
        yield
        return
    has_ended = threading.Event()
    arguments = (engine.ssh, Path(record.folder), context, has_ended)
    sender = threading.Thread(target=_send_until, args=arguments, daemon=True)
    sender.start()
    try:
        yield
    finally:
        has_ended.set()
        sender.join(_SYNC_SECONDS)


def _send_until(host: SshHost, folder: Path, context: Context, has_ended: threading.Event) -> None:
    before = _code_files(folder).files
    while not has_ended.wait(_SYNC_SECONDS):
        now = _code_files(folder).files
        if now == before:
            continue
        try:
            send_code(host, folder, context)
        except DlimgError as error:
            context.log(f"changes are not sent: {error}")
            continue
        before = now
