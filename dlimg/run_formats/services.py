"""A run as a task of SkyPilot or dstack. Pure."""

import shlex
from collections.abc import Iterator
from typing import Any, Final

from dlimg.run.model import CODE, OUTPUT
from dlimg.run_formats.model import PrintedRun, bytes_short, comment, quoted, refuse
from dlimg.run_formats.yaml_text import yaml_text

# SkyPilot takes the cheapest of these; all CUDA images of dlimg's own matrix run on them.
_ACCELERATORS: Final = ("T4", "L4", "A10G", "L40S", "A100", "H100")
_WORK: Final = "~/sky_workdir"
# Links a path of the container to a folder that SkyPilot has copied.
_LINK_FUNCTION: Final = (
    'place() { mkdir -p "${2%/*}"; [ -L "$2" ] || rmdir "$2" 2>/dev/null; ln -sfn "$1" "$2"; }\n'
)
_SHORTEST_NAME: Final = 2


def skypilot_text(run: PrintedRun) -> str:
    """Return a task for `sky launch`; it links the container's paths to the copied folders."""
    spec = run.spec
    for path in (mount.source for mount in spec.mounts):
        for name in (*spec.variables, *run.secrets):
            if f"${name}" in path or f"${{{name}}}" in path:
                hint = "rename the folder or the variable"
                raise refuse(f"{path} would get the value of {name}", "skypilot", hint)
    names = " ".join(f"--secret {name}" for name in run.secrets)
    options = f"--cluster {run.name}{f' {names}' if names else ''}"
    steps = [f"sky launch {options} FILE"]
    for port in spec.ports:
        local = port.host or port.container
        steps.append(f"ssh -N -L {local}:127.0.0.1:{port.container} {run.name}")
    if run.output:
        steps.append(f"rsync -a {run.name}:{OUTPUT}/ {quoted((f'{run.output}/',))}")
    steps.append(f"sky down {run.name}")
    data = _data(run)
    document: dict[str, Any] = {
        "name": run.name,
        "resources": {"image_id": f"docker:{spec.image}", **_accelerators(run)},
        "workdir": run.code,
        "file_mounts": {f"~/dlimg-data/{number}": source for number, source in data.items()},
        "envs": dict(spec.variables),
        "secrets": dict.fromkeys(run.secrets),
        "config": {
            "docker": {
                "run_options": ["--user=0", f"--shm-size={bytes_short(spec.shm_bytes)}"],
            }
        },
        "run": "".join(_script(run, data)),
    }
    return comment(*steps) + yaml_text({name: v for name, v in document.items() if v})


def _accelerators(run: PrintedRun) -> dict[str, Any]:
    if not run.spec.gpu:
        return {}
    return {"accelerators": dict.fromkeys(_ACCELERATORS, run.gpu_count)}


def _data(run: PrintedRun) -> dict[int, str]:
    """Return the sources of data, each once, by number."""
    sources = (m.source for m in run.spec.mounts if m.target not in (CODE, OUTPUT) and m.source)
    return dict(enumerate(dict.fromkeys(sources)))


def _script(run: PrintedRun, data: dict[int, str]) -> Iterator[str]:
    numbers = {source: number for number, source in data.items()}
    yield _LINK_FUNCTION
    for mount in run.spec.mounts:
        if mount.target == CODE:
            yield f"place {_WORK} {CODE}\n"
        elif mount.source in numbers and mount.target != OUTPUT:
            yield f"place ~/dlimg-data/{numbers[mount.source]} {shlex.quote(mount.target)}\n"
    yield f"mkdir -p {OUTPUT}\ncd {shlex.quote(run.spec.working_folder)}\n"
    yield f"{shlex.join(run.full_command)}\n"


def dstack_text(run: PrintedRun) -> str:
    """Return a task for `dstack apply`; data and output are folders of the machine that runs it."""
    spec = run.spec
    steps = [
        "dstack apply --file FILE  (its name ends with .dstack.yml)",
        "Ports are forwarded to this machine while dstack is attached.",
    ]
    if len(spec.mounts) > 1:
        steps.append("Data and output are folders of the fleet's machine, by the same paths.")
    resources: dict[str, Any] = {"shm_size": f"{spec.shm_bytes // 2**20}MB"}
    if spec.gpu:
        resources["gpu"] = {"vendor": "nvidia", "count": run.gpu_count}
    # dstack reads the list of variables line by line.
    in_commands = {name: text for name, text in spec.variables.items() if "\n" in text}
    in_list = {name: text for name, text in spec.variables.items() if name not in in_commands}
    document: dict[str, Any] = {
        "type": "task",
        "name": run.name if len(run.name) >= _SHORTEST_NAME else f"{run.name}-run",
        "image": spec.image,
        "user": spec.user,
        "working_dir": spec.working_folder,
        "files": [{"local_path": run.code, "path": CODE}] if run.code else [],
        "volumes": [
            {"instance_path": mount.source, "path": mount.target}
            for mount in spec.mounts
            if mount.target != CODE and mount.source
        ],
        "env": [*(f"{name}={text}" for name, text in in_list.items()), *run.secrets],
        "commands": [
            *(f"export {name}={shlex.quote(text)}" for name, text in in_commands.items()),
            shlex.join(run.full_command),
        ],
        "ports": [f"{port.host or port.container}:{port.container}" for port in spec.ports],
        "resources": resources,
        "stop_duration": f"{spec.stop_seconds}s",
    }
    return comment(*steps) + yaml_text({name: v for name, v in document.items() if v})
