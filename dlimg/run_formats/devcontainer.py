"""A run as a devcontainer.json. Pure."""

import json
import re
from typing import Any, Final

from dlimg.run.model import CODE, Mount
from dlimg.run_formats.engines import mount_text
from dlimg.run_formats.model import PrintedRun, bytes_short, refuse

# Tools replace these in any text by values, and there is no way to escape them.
_SUBSTITUTED: Final = re.compile(
    r"\$\{(localEnv|env|containerEnv):|\$\{(local|container)WorkspaceFolder|\$\{devcontainerId\}"
)
_FOLDER: Final = "${localWorkspaceFolder}"


def devcontainer_text(run: PrintedRun) -> str:
    """Return a devcontainer.json: its command starts when an editor attaches."""
    spec = run.spec
    texts = [*spec.command, *spec.variables.values(), *(mount.source for mount in spec.mounts)]
    for text in texts:
        if _SUBSTITUTED.search(text):
            hint = "set it in the code, not in the command line"
            raise refuse(f"{text!r} would be replaced by a value", "devcontainer", hint)
    is_cdi = spec.gpu.kind == "cdi"
    document: dict[str, Any] = {
        "name": run.name,
        "image": spec.image,
        "workspaceMount": _code(run),
        "workspaceFolder": CODE,
        "mounts": [mount_text(mount) for mount in spec.mounts if mount.target != CODE],
        "containerEnv": dict(spec.variables),
        "remoteEnv": {name: f"${{localEnv:{name}}}" for name in run.secrets},
        "secrets": {name: {"description": f"{name} of this run"} for name in run.secrets},
        "updateRemoteUserUID": True,
        "init": True,
        "runArgs": [
            *(f"--device={name}" for name in spec.gpu.devices if is_cdi),
            f"--shm-size={bytes_short(spec.shm_bytes)}",
            f"--stop-timeout={spec.stop_seconds}",
        ],
        "hostRequirements": {"gpu": True} if spec.gpu and not is_cdi else {},
        "forwardPorts": [port.container for port in spec.ports],
        "postAttachCommand": list(run.full_command),
    }
    document = {name: value for name, value in document.items() if value}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _code(run: PrintedRun) -> str:
    """Return the mount of the folder that has the file; as a path if its name needs quotes."""
    mount = run.mount(CODE) or Mount(kind="bind", source=_FOLDER, target=CODE)
    if any(character in mount.source for character in ',"\n\r'):
        return mount_text(mount)
    return mount_text(Mount(kind="bind", source=_FOLDER, target=CODE))
