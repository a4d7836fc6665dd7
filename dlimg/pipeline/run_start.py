"""From a request to a created run: GPU, image, folders, labels, container, record."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias

from dlimg.context import Context
from dlimg.engine.client import Engine, is_rootless, security_options
from dlimg.errors import BadInput, Negative
from dlimg.host.ignore import OWN_FILE
from dlimg.model import LocalMachine
from dlimg.pipeline.pick import detect_machine
from dlimg.pipeline.run_data import data_of_source
from dlimg.pipeline.run_evidence import evidence_line
from dlimg.pipeline.run_gpu import GpuDecision, decide_gpu
from dlimg.pipeline.run_image import ImageRequest, choose_image
from dlimg.pipeline.run_locate import LocatedImage, locate_image, with_layer
from dlimg.pipeline.run_on import RemoteMachine, read_machine
from dlimg.run.code_state import code_state, fingerprint
from dlimg.run.container import create_container
from dlimg.run.data_volume import find_data
from dlimg.run.find import BASE_LABEL, FROM_LABEL, this_origin
from dlimg.run.gpu_queue import gpu_numbers, lock_folder
from dlimg.run.lifecycle import statuses
from dlimg.run.model import (
    CODE,
    OUTPUT,
    RUN_LABEL,
    DataRequest,
    GpuAccess,
    ImageChoice,
    Mode,
    Mount,
    PortMapping,
    RunData,
    RunName,
    RunRecord,
    RunRequest,
    RunSpec,
)
from dlimg.run.modes import ModeSetup, has_ssh, mode_setup, ports_here
from dlimg.run.names import (
    check_name,
    data_targets,
    is_fetched,
    name_from,
    output_of,
    parse_run,
    refuse_ambiguous_ports,
    refuse_repeats,
)
from dlimg.run.record import drop_record, find_record, take_number, write_record
from dlimg.run.secrets import secret_values, visible_secrets
from dlimg.run.start_script import LOCKS, MEMORY, StartConditions, start_entrypoint

# A variable of the engine's init (tini), which then sends signals to the shell's programs, too.
SIGNAL_GROUP: Final = "TINI_KILL_PROCESS_GROUP"
OUTPUT_FOLDER: Final = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """The parts of a specification: the image and its reason, data, GPUs, secrets and mode."""

    image: LocatedImage
    reason: str
    data: tuple[RunData, ...]
    gpu: GpuAccess
    gpus: tuple[tuple[str, int], ...]
    hidden: Mapping[str, str] = field(repr=False)
    setup: ModeSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStart:
    """A run whose container exists and is not started; `hidden` is sent to it at the start.

    `ports` are the ports to open on this machine, also for a run on another one.
    """

    spec: RunSpec
    record: RunRecord
    hidden: Mapping[str, str] = field(repr=False)
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisMachine:
    """The local machine, whose folders are mounted as they are."""

    detected: LocalMachine | None
    engine: Engine

    def last_number(self, name: str) -> int:
        """Return the highest number of a run of this name, which may be another user's."""
        api: Any = self.engine.sdk.api
        rows = api.containers(all=True, filters={"label": RUN_LABEL})
        runs = (parse_run((row.get("Labels") or {}).get(RUN_LABEL, "")) for row in rows)
        return max((run.number for run in runs if run and run.name == name), default=0)

    def locks(self, names: Iterable[str]) -> str:
        return str(lock_folder(names, self.engine.context))

    def user(self, engine: Engine) -> str:
        """Return the ids of the caller, who then owns the files; empty for the image's user."""
        if is_rootless(engine):  # in which the container's root is the caller
            return "0:0"
        if not hasattr(os, "getuid"):  # Windows, whose engine maps owners itself
            return ""
        return f"{os.getuid()}:{os.getgid()}"

    def prepare(self, spec: RunSpec, _record: RunRecord) -> RunSpec:
        return spec


RunMachine: TypeAlias = ThisMachine | RemoteMachine


def machine_of(engine: Engine, context: Context) -> RunMachine:
    """Return the machine on which an engine runs."""
    if engine.ssh:
        return RemoteMachine(host=engine.ssh, facts=read_machine(engine.ssh), context=context)
    detected = detect_machine() if engine.host.startswith("unix://") else None
    return ThisMachine(detected=detected, engine=engine)


def create_run(request: RunRequest, matrix: str, engine: Engine, context: Context) -> RunStart:
    """Create the container of a run and its record; log what was decided."""
    check_request(request)
    values = _secrets(request, context)
    if engine.ssh:
        _refuse_home(request.folder, context)
    machine = machine_of(engine, context)
    parts = _parts(request, matrix, values, machine, engine)
    name = run_name(request)
    used = max(_last_output(request), machine.last_number(name))
    run = take_number(name, used, context)
    try:
        record = _record(request, run, parts, engine)
        local_spec = _spec(request, record, parts, machine, engine)
        spec = machine.prepare(local_spec, record)
        container = create_container(spec, engine)
    except BaseException:
        drop_record(run, context)
        raise
    record = replace(record, container=container, base=spec.labels.get(BASE_LABEL, ""))
    write_record(record, context)
    access = f", {parts.gpu}" if parts.gpu else " on the CPU"
    context.log(f"{run}: {parts.image.name}{access} ({parts.reason})")
    return RunStart(
        spec=spec,
        record=record,
        hidden=parts.hidden,
        ports=local_spec.ports,
    )


def _refuse_home(folder: Path, context: Context) -> None:
    """Raise BadInput for a home folder as code that would be sent, unless a file says how much."""
    home = Path(context.environment.get("HOME") or Path.home())
    if folder.resolve() == home.resolve() and not (folder / OWN_FILE).exists():
        hint = f"go to the folder of your code, or list in {OWN_FILE} what stays here"
        raise BadInput("all of your home folder would be sent", where=str(folder), hint=hint)


def _parts(
    request: RunRequest,
    matrix: str,
    secrets: Mapping[str, str],
    machine: RunMachine,
    engine: Engine,
) -> RunParts:
    """Return the parts of a specification that do not depend on the run's number."""
    context = engine.context
    setup = mode_setup(request.mode, {**request.variables, **secrets}, context)
    setup = replace(setup, ports=_ports((*setup.ports, *request.ports), engine))
    decision = decide_gpu(request, machine.detected, engine)
    for note in decision.notes:
        context.log(f"note: {note}")
    choice = _choice(request, decision, matrix, engine)
    gpus = gpu_numbers(decision.access, decision.machine, engine)
    if request.queue and not gpus:
        raise Negative("--queue: there is no GPU to wait for", hint="leave it out")
    data = tuple(_data(entry, engine, context) for entry in request.data)
    # Last, because a pull may take long: what is wrong above is said before it.
    image = locate_image(choice, engine, context)
    if request.layer:
        image = with_layer(request, image, engine, context)
    return RunParts(
        image=image,
        reason=choice.reason,
        data=data,
        gpu=decision.access,
        gpus=gpus,
        hidden={**secrets, **setup.hidden},
        setup=setup,
    )


def _ports(wanted: tuple[PortMapping, ...], engine: Engine) -> tuple[PortMapping, ...]:
    # Those of an engine at a TCP address may be another machine's.
    return wanted if engine.host.startswith("tcp://") else tuple(ports_here(wanted))


def _choice(request: RunRequest, decision: GpuDecision, matrix: str, engine: Engine) -> ImageChoice:
    image_request = ImageRequest(
        env=request.env,
        mode=request.mode,
        gpu=bool(decision.access),
        machine=decision.machine,
        architecture=engine.architecture,
        folder=request.folder,
    )
    choice = choose_image(image_request, matrix, engine.context)
    _refuse_mismatch(request, choice)
    return choice


def _secrets(request: RunRequest, context: Context) -> dict[str, str]:
    """Return the values of the secrets; warn of arguments and variables that look like some."""
    for warning in visible_secrets(request.command, request.variables, context.environment):
        context.log(f"warning: {warning}")
    return secret_values(request.secrets, context.environment)


def check_request(request: RunRequest) -> None:
    """Raise BadInput for a request that no engine is needed to refuse."""
    if request.name:
        check_name(request.name, "--name")
    if not request.folder.is_dir():
        raise BadInput(f"there is no folder {request.folder}")
    _refuse_root(request.folder, "code", "go to the folder of your code: it becomes /code there")
    if request.output:
        _refuse_root(local_path(request.output), "output", "name another folder by --output")
    for data in request.data:
        _refuse_root(local_path(data.source), f"data {data.name}", "name a folder in it")
    refuse_repeats(request.data)
    refuse_ambiguous_ports(request.ports)
    _refuse_script(request.folder, default_command(request))
    if request.gpu == "cpu" and (request.device or request.queue):
        option = "--device" if request.device else "--queue"
        raise BadInput(f"--cpu and {option}: a run on the CPU takes no GPU", hint="leave out one")


def local_path(text: str) -> Path:
    """Return the absolute path of a text; in a project file no shell replaces its `~`."""
    # Methods of Path raise RuntimeError for users that are unknown, and for links in a circle.
    return Path(os.path.realpath(os.path.expanduser(text)))  # noqa: PTH111


def _refuse_root(folder: Path, role: str, hint: str) -> None:
    whole = os.path.realpath(folder)
    if whole == Path(whole).anchor:
        raise BadInput(f"all of this machine would be the {role}", where=str(folder), hint=hint)


def _refuse_script(folder: Path, command: Sequence[str]) -> None:
    """Raise BadInput for a file of the folder in place of a program, or for no program."""
    if not command[0].strip():
        raise BadInput("the command is empty", hint="give a program, or leave the words out")
    program = {".py": "python", ".sh": "bash"}.get(PurePath(command[0]).suffix)
    if program and "/" not in command[0] and (folder / command[0]).is_file():
        message = f"{command[0]} is a file of this folder, and no program"
        raise BadInput(message, hint=f"`dlimg run -- {program} {shlex.join(command)}`")


def _refuse_mismatch(request: RunRequest, choice: ImageChoice) -> None:
    if choice.cell and request.gpu == "gpu" and not choice.is_cuda:
        hint = "name a CUDA cell, or leave out --gpu"
        raise BadInput(f"--gpu: {choice.cell} is an image for the CPU", hint=hint)


def run_name(request: RunRequest) -> str:
    return request.name or name_from(request.folder.resolve().name)


def _last_output(request: RunRequest) -> int:
    """Return the highest number of an output folder, as no number is used twice."""
    folder = request.folder / OUTPUT_FOLDER
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return max((int(name) for name in names if name.isdecimal()), default=0)


def data_path(request: DataRequest, context: Context) -> Path:
    """Return the path that a request names: a folder, a file, or the output of a run."""
    run = output_of(request.source)
    return Path(find_record(str(run), context).output) if run else local_path(request.source)


def _data(request: DataRequest, engine: Engine, context: Context) -> RunData:
    """Return the data of a request: a path, a run's output, stored or fetched data."""
    path = data_path(request, context)
    if path.exists():
        source = path.resolve()
        return RunData(name=request.name, source=str(source), fingerprint=fingerprint(source))
    stored = (
        data_of_source(request.name, request.source, engine, context)
        if is_fetched(request.source)
        else find_data(request.source, engine)
    )
    if stored:
        return RunData(name=request.name, source=stored.volume, kind="volume")
    hint = "name a folder, a file, RUN/output, an address, or what `dlimg data ls` lists"
    raise BadInput(f"there is no data {request.source}", where="--data", hint=hint)


def _record(request: RunRequest, run: RunName, parts: RunParts, engine: Engine) -> RunRecord:
    """Create the output folder of a run and return its record, still without a container."""
    folder = request.folder.resolve()
    output = _output_folder(request, run, engine, engine.context)
    skipped = frozenset({folder / OUTPUT_FOLDER, output})
    return RunRecord(
        run=run,
        container="",
        host=engine.host,
        image=parts.image.name,
        digest=parts.image.digest,
        command=default_command(request),
        folder=str(folder),
        output=str(output),
        mode=request.mode,
        gpu=str(parts.gpu) if parts.gpu else "",
        code=code_state(folder, skipped, engine.context),
        data=parts.data,
        secrets=request.secrets,
        queue=request.queue,
        terminal=request.terminal,
        created=datetime.now(tz=UTC).isoformat(timespec="seconds").removesuffix("+00:00"),
    )


def _spec(
    request: RunRequest, record: RunRecord, parts: RunParts, machine: RunMachine, engine: Engine
) -> RunSpec:
    locks = machine.locks(name for name, _ in parts.gpus) if parts.gpus else ""
    conditions = StartConditions(
        run=str(record.run), secrets=bool(parts.hidden), gpus=parts.gpus, queue=request.queue
    )
    mounts = run_mounts(Path(record.folder), Path(record.output), parts.data)
    user = _user_for(request.mode, parts.image, machine.user(engine), engine.context)
    return RunSpec(
        run=record.run,
        image=parts.image.name,
        digest=parts.image.digest,
        command=stoppable(record.command),
        entrypoint=start_entrypoint(conditions, parts.image.entrypoint),
        mounts=(*mounts, *_start_mounts(conditions, locks)),
        ports=parts.setup.ports,
        variables={
            **_identity(record.run, parts.image, engine.context),
            **({} if stoppable(record.command) == record.command else {SIGNAL_GROUP: "1"}),
            **parts.setup.variables,
            **request.variables,
        },
        labels=run_labels(record),
        gpu=parts.gpu,
        user=user,
        security=_security(engine),
        stop_seconds=request.stop_seconds,
        terminal=request.terminal,
    )


def _identity(run: RunName, image: LocatedImage, context: Context) -> dict[str, str]:
    """Return the variables by which `dlimg-info` in the container names the run and its image."""
    variables = {
        "DLIMG_RUN": str(run),
        "DLIMG_REFERENCE": image.name,
        "DLIMG_DIGEST": image.digest,
        "DLIMG_CONTENT_KEY": image.key,
        "DLIMG_EVIDENCE": evidence_line(image.digest, context),
    }
    return {name: value for name, value in variables.items() if value}


def default_command(request: RunRequest) -> tuple[str, ...]:
    """Return the command of a request, or that of its mode. Raises BadInput without either."""
    if request.command:
        return request.command
    if request.mode != "command":
        return (request.mode,)
    if request.terminal:
        return ("bash",)
    hint = "e.g. `dlimg run -- python FILE.py`; a single script needs none"
    raise BadInput("there is no command to run", where=str(request.folder), hint=hint)


def stoppable(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command with a trap in a line for the shell.

    At SIGTERM a shell without a trap ends at once, and the container with all its programs.
    """
    if command[:2] != ("sh", "-c") or len(command) <= len(("sh", "-c")):
        return command
    return ("sh", "-c", f"trap 'exit 143' TERM\n{command[2]}", *command[3:])


def _output_folder(request: RunRequest, run: RunName, engine: Engine, context: Context) -> Path:
    """Return the new, empty output folder of the run, or the one that the user names.

    Raises BadInput for a folder that a run writes to at this moment.
    """
    if not request.output:
        parent = request.folder.resolve() / OUTPUT_FOLDER
        folder = _create_folder(parent / str(run.number))
        if not (parent / ".gitignore").exists():
            (parent / ".gitignore").write_text("*\n", encoding="utf-8")
        return folder
    folder = _create_folder(local_path(request.output))
    for status in statuses(engine, context):
        other = Path(status.record.output)
        is_shared = folder == other or folder in other.parents or other in folder.parents
        if is_shared and status.state in {"running", "starting", "waiting"}:
            message = f"{status.record.run} writes to {other} at this moment"
            raise BadInput(message, where="--output", hint="name another folder, or leave it out")
    return folder


def _create_folder(folder: Path) -> Path:
    """Create the folder if it is missing, and return it. Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the output folder cannot be made: {error.strerror}"
        hint = "name another by --output DIR"
        raise BadInput(message, where=str(folder), hint=hint) from error
    return folder


def run_mounts(folder: Path, output: Path, data: Sequence[RunData]) -> Iterator[Mount]:
    """Yield the mounts of the code, the output and the data."""
    yield Mount(kind="bind", source=str(folder), target=CODE)
    yield Mount(kind="bind", source=str(output), target=OUTPUT)
    for entry in data:
        for target in data_targets(entry.name):
            yield Mount(kind=entry.kind, source=entry.source, target=target, read_only=True)


def _start_mounts(conditions: StartConditions, locks: str) -> Iterator[Mount]:
    if conditions.secrets or conditions.queue:
        yield Mount(kind="tmpfs", source="", target=MEMORY)
    if locks:
        yield Mount(kind="bind", source=locks, target=LOCKS)


def run_labels(record: RunRecord) -> dict[str, str]:
    """Return the labels of a run's container: what `docker inspect` shows of the run."""
    labels = {
        "io.dlimg.run.command": shlex.join(record.command),
        "io.dlimg.run.image": f"{record.image}@{record.digest}",
        "io.dlimg.run.code": str(record.code),
        "io.dlimg.run.folder": record.folder,
        "io.dlimg.run.output": record.output,
        "io.dlimg.run.data": " ".join(f"{data.name}={data.source}" for data in record.data),
        "io.dlimg.run.created": record.created,
        "io.dlimg.run.mode": record.mode,
        "io.dlimg.run.gpu": record.gpu,
        "io.dlimg.run.secrets": " ".join(record.secrets),
        "io.dlimg.run.queue": "yes" if record.queue else "",
        FROM_LABEL: this_origin(),
    }
    return {name: value for name, value in labels.items() if value}


def _security(engine: Engine) -> tuple[str, ...]:
    """Return the options without which SELinux would keep the container out of folders."""
    has_selinux = any("name=selinux" in option for option in security_options(engine))
    return ("label=disable",) if has_selinux else ()


def _user_for(mode: Mode, image: LocatedImage, user: str, context: Context) -> str:
    """Return the user of a run; for sshd it must be one of the image's users."""
    number = user.partition(":")[0]
    if has_ssh(mode) and number not in {"", "0", image.user.partition(":")[0]}:
        context.log(f"note: sshd knows no user {number}: files belong to {image.user} there")
        return ""
    return user
