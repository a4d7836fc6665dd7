"""The label that Dev Containers, Codespaces and DevPod read."""

import json
from dataclasses import replace

import pytest

from dlimg.additions import Additions
from dlimg.model import Cell, Flavour
from dlimg.render.devcontainer import devcontainer_metadata
from tests.support import samples

CACHE = {"source": "dlimg-cache-${devcontainerId}", "type": "volume"}
PORTS = Additions(ports=("6006/tcp", "53/udp"))


@pytest.mark.parametrize(
    ("cell", "more"),
    [
        (samples.cell(), {}),
        (samples.cell(accelerator="cuda13.2"), {"hostRequirements": {"gpu": "optional"}}),
        (
            samples.cell(flavour=Flavour.WORKSPACE),
            {
                "forwardPorts": [2222, 8888],
                "portsAttributes": {
                    "2222": {"label": "ssh", "onAutoForward": "silent"},
                    "8888": {"label": "Jupyter", "onAutoForward": "silent"},
                },
            },
        ),
        (
            replace(samples.cell(), additions=PORTS),
            {
                "forwardPorts": [6006],
                "portsAttributes": {"6006": {"label": "port 6006", "onAutoForward": "silent"}},
            },
        ),
    ],
    ids=["cpu", "cuda", "workspace", "ports"],
)
def test_the_metadata_has_user_gpu_and_ports(cell: Cell, more: dict[str, object]) -> None:
    assert json.loads(devcontainer_metadata(cell)) == [
        {
            "remoteUser": "user",
            "updateRemoteUserUID": True,
            "mounts": [{**CACHE, "target": "/home/user/.cache"}],
            **more,
        }
    ]


def test_another_user_is_named() -> None:
    cell = samples.cell()
    other = replace(cell, user=replace(cell.user, name="jovyan", home="/home/jovyan"))
    (metadata,) = json.loads(devcontainer_metadata(other))
    assert metadata["remoteUser"] == "jovyan"
    assert metadata["mounts"][0]["target"] == "/home/jovyan/.cache"
