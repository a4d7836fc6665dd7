"""From a request to a run that is written for another tool; no engine is needed."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import BadInput, Problem
from dlimg.model import DEFAULT_USER, OCI_ARCHITECTURES, LocalMachine
from dlimg.pipeline.pick import detect_machine
from dlimg.pipeline.run_image import ImageRequest, choose_image
from dlimg.pipeline.run_project import with_files
from dlimg.pipeline.run_start import (
    OUTPUT_FOLDER,
    check_request,
    data_path,
    default_command,
    local_path,
    run_mounts,
    run_name,
)
from dlimg.pipeline.user_config import FILE, REGISTRY
from dlimg.registry.reference import parse_reference
from dlimg.run.model import (
    NO_GPU,
    DataRequest,
    GpuAccess,
    ImageChoice,
    Mount,
    PortMapping,
    RunData,
    RunName,
    RunRequest,
    RunSpec,
)
from dlimg.run.modes import JUPYTER_PORT, PUBLIC_KEY, SSH_PORT, has_jupyter, has_ssh, public_keys
from dlimg.run.project_file import FILE as PROJECT_FILE
from dlimg.run.secrets import visible_secrets
from dlimg.run_formats.model import Format, PrintedRun
from dlimg.run_formats.write import write_run

# The formats whose tool uses the images and folders of this machine.
_HERE: Final[frozenset[Format]] = frozenset(
    {"docker", "podman", "compose", "devcontainer", "apptainer"}
)


def print_run(request: RunRequest, format_: Format, matrix: str, context: Context) -> str:
    """Return the run in a format; log what the user should know. Raises BadInput and Negative."""
    request = with_files(request)
    check_request(request)
    _refuse_own_options(request, format_)
    mounts = _mounts(request, context)
    _refuse_files(mounts, format_)
    for warning in visible_secrets(request.command, request.variables, context.environment):
        context.log(f"warning: {warning}")
    machine = detect_machine()
    gpu = _gpu(request, machine)
    image_request = ImageRequest(
        env=request.env,
        mode=request.mode,
        gpu=bool(gpu),
        machine=machine if machine.gpus else None,
        architecture=OCI_ARCHITECTURES.get(machine.arch, "amd64") if format_ in _HERE else "amd64",
        folder=request.folder,
    )
    choice = choose_image(image_request, matrix, context)
    if not choice.names:
        raise BadInput(f"{choice.cell} is not locked", hint=f"`dlimg lock {choice.cell}`")
    for note in _notes(choice, format_):
        context.log(f"note: {note}")
    spec = _spec(request, choice.names[0], gpu, _user(format_), context)
    spec = replace(spec, mounts=tuple(mounts))
    run = PrintedRun(
        spec=spec,
        mode=request.mode,
        secrets=request.secrets,
        driver=choice.driver if gpu else "",
    )
    return write_run(run, format_)


def _refuse_own_options(request: RunRequest, format_: Format) -> None:
    """Raise BadInput for options and keys that only dlimg's own runs have."""
    options = {"--queue": request.queue, "--detach": request.detach}
    for option, is_set in options.items():
        if is_set:
            hint = "the other tool has its own way; leave it out"
            raise BadInput(f"{option} does not go with --print {format_}", hint=hint)
    if request.layer:
        message = f"--print {format_}: packages, apt and setup are no part of the image"
        hint = "put them into an image (docs/your-packages.md) and name that one by `image`"
        raise BadInput(message, where=PROJECT_FILE, hint=hint)


def _gpu(request: RunRequest, machine: LocalMachine) -> GpuAccess:
    """Return access to all GPUs in the tool's way, or to the device that the user names."""
    if request.device:
        return GpuAccess(kind="cdi", devices=(request.device,))
    if request.gpu == "gpu" or (request.gpu == "auto" and machine.gpus):
        return GpuAccess(kind="gpus")
    return NO_GPU


def _notes(choice: ImageChoice, format_: Format) -> Iterator[str]:
    yield f"{choice.names[0]} ({choice.reason})"
    if choice.cell and format_ not in _HERE and not parse_reference(choice.names[0]).host:
        problem = Problem(
            message="this image is in no registry, and the other machine cannot pull it",
            hint=f"{REGISTRY} or {FILE} names a registry with it",
        )
        yield str(problem)


def _mounts(request: RunRequest, context: Context) -> list[Mount]:
    folder = request.folder.resolve()
    output = local_path(request.output) if request.output else folder / OUTPUT_FOLDER
    return list(run_mounts(folder, output, [_data(entry, context) for entry in request.data]))


def _refuse_files(mounts: Sequence[Mount], format_: Format) -> None:
    """Raise BadInput for a file as data, where the tool can only copy folders."""
    for mount in mounts:
        if format_ not in _HERE and Path(mount.source).is_file():
            message = f"{mount.source} is a file, and --print {format_} takes folders"
            raise BadInput(message, where="--data", hint="name its folder")


def _user(format_: Format) -> str:
    """Return the caller's ids, or for another machine those of the images' user instead of root."""
    if not hasattr(os, "getuid"):
        return "" if format_ in _HERE else DEFAULT_USER.numbers
    if os.getuid() == 0 and format_ not in _HERE:
        return DEFAULT_USER.numbers
    return f"{os.getuid()}:{os.getgid()}"


def _spec(request: RunRequest, image: str, gpu: GpuAccess, user: str, context: Context) -> RunSpec:
    return RunSpec(
        run=RunName(name=run_name(request), number=1),
        image=image,
        digest="",
        command=default_command(request),
        ports=(*_mode_ports(request), *request.ports),
        variables={**_mode_variables(request, context), **request.variables},
        gpu=gpu,
        user=user,
        stop_seconds=request.stop_seconds,
        terminal=request.terminal,
    )


def _mode_ports(request: RunRequest) -> Iterator[PortMapping]:
    """Yield the ports of the mode, with the same numbers on the other machine."""
    if has_jupyter(request.mode):
        yield PortMapping(container=JUPYTER_PORT, host=JUPYTER_PORT)
    if has_ssh(request.mode):
        yield PortMapping(container=SSH_PORT, host=SSH_PORT)


def _mode_variables(request: RunRequest, context: Context) -> dict[str, str]:
    """Return the variables of the mode. Jupyter makes its token at its start and logs it."""
    if not has_ssh(request.mode):
        return {}
    has_key = PUBLIC_KEY in request.variables or PUBLIC_KEY in request.secrets
    key = {} if has_key else {PUBLIC_KEY: public_keys(context)}
    return {"SSH_PORT": str(SSH_PORT), **key}


def _data(request: DataRequest, context: Context) -> RunData:
    path = data_path(request, context)
    if not path.exists():
        hint = "name a folder, a file or RUN/output; stored and fetched data is in an engine alone"
        raise BadInput(f"there is no data {request.source}", where="--data", hint=hint)
    return RunData(name=request.name, source=str(path.resolve()))
