"""A run as a command line of Docker, Podman or Apptainer. Pure."""

import csv
import io
import shlex
from collections.abc import Iterator

from dlimg.run.model import GpuAccess, Mount, PortMapping
from dlimg.run_formats.model import NVIDIA_CDI, PrintedRun, bytes_short, comment, refuse

# Options quoted for a shell, one text for each line of the command.
Lines = Iterator[str]


def docker_text(run: PrintedRun) -> str:
    """Return `docker run`, with the folder for output made before it."""
    notes = []
    if run.secrets:
        names = " and ".join(run.secrets)
        notes.append(f"{names}: taken from this shell, and shown by `docker inspect`; the formats")
        notes.append("podman and compose keep secrets out of the container's configuration.")
    lines = [
        "docker run --rm --init",
        *_terminal(run),
        *docker_options(run),
        *(f"--env {name}" for name in run.secrets),
        *_command(run),
    ]
    return comment(*notes) + _make_output(run) + joined_lines(lines)


def docker_options(run: PrintedRun) -> list[str]:
    """Return the options of `docker run`, without its secrets: GPUs, limits, user, folders."""
    return [
        *_docker_gpu(run.spec.gpu),
        *_limits(run),
        *_user(run),
        *_ports(run),
        *_mounts(run),
        *_variables(run),
    ]


def podman_text(run: PrintedRun) -> str:
    """Return `podman run`; each secret is stored first, out of the container's configuration."""
    # Podman before 5 cannot replace a secret.
    secrets = [
        f"podman secret rm {name} 2>/dev/null || true\npodman secret create --env {name} {name}\n"
        for name in run.secrets
    ]
    devices = run.spec.gpu.devices or (NVIDIA_CDI,)
    lines = [
        "podman run --rm --init",
        *_terminal(run),
        *(f"--device {shlex.quote(name)}" for name in devices if run.spec.gpu),
        # With SELinux, folders of a home and a GPU's devices are out of reach otherwise.
        "--security-opt label=disable",
        *_limits(run),
        *(["--userns keep-id"] if run.spec.user and not run.spec.user.startswith("0:") else []),
        *_user(run),
        *_ports(run),
        *_mounts(run),
        *_variables(run),
        *(f"--secret {name},type=env,target={name}" for name in run.secrets),
        *_command(run),
    ]
    return _make_output(run) + "".join(secrets) + joined_lines(lines)


def apptainer_text(run: PrintedRun) -> str:
    """Return `apptainer run`: as the caller, on the host's network.

    Without a work folder, /tmp and the home would share 64 MB of memory; without `--no-eval`, a
    shell would read words and variables once more.
    """
    spec = run.spec
    if any(mount.kind == "volume" for mount in spec.mounts):
        raise refuse("it has no volumes", "apptainer", "name a folder as data")
    notes, options = [], []
    if spec.ports:
        notes.append("Apptainer publishes no ports: servers listen on the host's own addresses.")
    if run.mode in {"jupyter", "both"}:
        options = ["--ServerApp.ip=127.0.0.1"]
    variables = [
        f"APPTAINERENV_{name}={shlex.quote(text)}" for name, text in spec.variables.items()
    ]
    lines = [
        *variables,
        *(f'APPTAINERENV_{name}="${name}"' for name in run.secrets),
        'apptainer run --contain --cleanenv --no-eval --workdir "$work"',
        *(["--nv"] if spec.gpu else []),
        f"--pwd {shlex.quote(spec.working_folder)}",
        *_mounts(run, target="destination", read_only="ro"),
        f"docker://{shlex.quote(spec.image)}",
        *([shlex.join((*spec.command, *options))] if spec.command else []),
    ]
    work = "work=$(mktemp -d); trap 'rm -rf \"$work\"' EXIT HUP INT TERM\n"
    return comment(*notes) + _make_output(run) + work + joined_lines(lines)


def joined_lines(lines: list[str], indent: int = 2) -> str:
    """Return one command on several lines."""
    return f" \\\n{' ' * indent}".join(lines) + "\n"


def _make_output(run: PrintedRun) -> str:
    """Return the line that makes the folder for output, which an engine would make as root."""
    return f"mkdir -p {shlex.quote(run.output)}\n" if run.output else ""


def _terminal(run: PrintedRun) -> Lines:
    if run.spec.terminal:
        yield "--interactive --tty"


def _docker_gpu(gpu: GpuAccess) -> Lines:
    match gpu.kind:
        case "cdi":
            yield from (f"--device {shlex.quote(name)}" for name in gpu.devices)
        case "runtime" | "gpus":
            yield "--gpus all"
        case "none":
            return


def _limits(run: PrintedRun) -> Lines:
    yield f"--shm-size {bytes_short(run.spec.shm_bytes)}"
    yield f"--stop-timeout {run.spec.stop_seconds}"


def _user(run: PrintedRun) -> Lines:
    if run.spec.user:
        yield f"--user {shlex.quote(run.spec.user)}"
    yield f"--workdir {shlex.quote(run.spec.working_folder)}"


def _ports(run: PrintedRun) -> Lines:
    yield from (f"--publish {published(port)}" for port in run.spec.ports)


def published(port: PortMapping) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address
    return f"{address}:{port.host or ''}:{port.container}"


def _mounts(run: PrintedRun, target: str = "target", read_only: str = "readonly") -> Lines:
    for mount in run.spec.mounts:
        yield f"--mount {shlex.quote(mount_text(mount, target, read_only))}"


def mount_text(mount: Mount, target: str = "target", read_only: str = "readonly") -> str:
    """Return a mount as CSV, which engines read: commas and quotes in paths are kept."""
    fields = [f"type={mount.kind}"]
    fields += [f"source={mount.source}"] if mount.source else []
    fields += [f"{target}={mount.target}"]
    fields += [read_only] if mount.read_only else []
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _variables(run: PrintedRun) -> Lines:
    for option, values in (("--env", run.spec.variables), ("--label", run.spec.labels)):
        yield from (f"{option} {shlex.quote(f'{name}={text}')}" for name, text in values.items())


def _command(run: PrintedRun) -> Lines:
    program, *arguments = run.spec.entrypoint or ("",)
    if program:
        yield f"--entrypoint {shlex.quote(program)}"
    yield shlex.quote(run.spec.image)
    if arguments or run.spec.command:
        yield shlex.join((*arguments, *run.spec.command))
