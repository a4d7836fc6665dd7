"""All formats that a run can be written in, by name. Pure."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from dlimg.errors import BadInput
from dlimg.run_formats.cloud_init import cloud_init_text
from dlimg.run_formats.compose import compose_text
from dlimg.run_formats.devcontainer import devcontainer_text
from dlimg.run_formats.engines import apptainer_text, docker_text, podman_text
from dlimg.run_formats.kubernetes import kubeflow_text, kubernetes_text
from dlimg.run_formats.model import Format, PrintedRun
from dlimg.run_formats.services import dstack_text, skypilot_text

_WRITERS: Final[Mapping[Format, Callable[[PrintedRun], str]]] = MappingProxyType(
    {
        "docker": docker_text,
        "podman": podman_text,
        "compose": compose_text,
        "kubernetes": kubernetes_text,
        "kubeflow": kubeflow_text,
        "devcontainer": devcontainer_text,
        "apptainer": apptainer_text,
        "skypilot": skypilot_text,
        "dstack": dstack_text,
        "cloud-init": cloud_init_text,
    }
)
FORMATS: Final = tuple(_WRITERS)

# No command has a null character in an argument; surrogates stand for bytes that are no UTF-8.
_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")


def write_run(run: PrintedRun, format_: Format) -> str:
    """Return the run in a format. Raises BadInput for a run that the format cannot express."""
    texts = [*run.spec.command, *run.spec.variables.values()]
    texts += [text for mount in run.spec.mounts for text in (mount.source, mount.target)]
    for text in texts:
        if _UNWRITABLE.search(text):
            shown = text.encode(errors="backslashreplace").decode()
            raise BadInput(f"{shown!r} has a null character, or is no UTF-8", hint="rename it")
    return _WRITERS[format_](run)
