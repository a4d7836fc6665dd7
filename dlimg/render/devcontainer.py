"""The label `devcontainer.metadata`: how Dev Containers, Codespaces and DevPod use an image."""

import json
from typing import Final

from dlimg.model import Cell
from dlimg.render.image_config import NOTEBOOK_PORT, SSH_PORT, exposed_ports

LABEL: Final = "devcontainer.metadata"
PORTS: Final = {str(NOTEBOOK_PORT): "Jupyter", str(SSH_PORT): "ssh"}


def devcontainer_metadata(cell: Cell) -> str:
    """Return the metadata as JSON: user, GPU, and each port with its name.

    The image's user gets the number of the user outside, so that both may write the sources. A
    machine without a GPU opens a CUDA image, too. Downloaded models stay when it is built again.
    """
    numbers = [port.removesuffix("/tcp") for port in exposed_ports(cell) if port.endswith("/tcp")]
    metadata: dict[str, object] = {"remoteUser": cell.user.name, "updateRemoteUserUID": True}
    if cell.is_cuda:
        metadata["hostRequirements"] = {"gpu": "optional"}
    if numbers:
        metadata["forwardPorts"] = [int(number) for number in numbers]
        metadata["portsAttributes"] = {
            number: {"label": PORTS.get(number, f"port {number}"), "onAutoForward": "silent"}
            for number in numbers
        }
    cache = f"{cell.user.home}/.cache"
    metadata["mounts"] = [
        {"source": "dlimg-cache-${devcontainerId}", "target": cache, "type": "volume"}
    ]
    return json.dumps([metadata], sort_keys=True, separators=(",", ":"))
