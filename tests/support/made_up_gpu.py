"""A made-up GPU of NVIDIA's: the driver finds it here, and an engine gives it to containers.

The engine knows the device by another vendor's name of the same length, as other tests on it must
not take it for a GPU of NVIDIA's. A socket before the engine translates the name.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.engine.client import Engine
from tests.support.made_up_driver import MANAGEMENT, made_up_driver

NVIDIA: Final = b"nvidia.com/gpu"
CDI: Final = Path("/var/run/cdi")
DRIVER: Final = "580.95.05"
# What nvidia-smi prints of the GPU; the options that dlimg and readers use.
SMI: Final = """\
#!/bin/sh
case "$*" in
*compute_cap*) echo '{capability}, {driver}, {name}' ;;
-L) echo 'GPU 0: {name} (UUID: GPU-00000000-0000-0000-0000-000000000000)' ;;
*) echo '{name}, {driver}, 15360 MiB' ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpGpu:
    """The variables with which `dlimg` finds the GPU, and the socket of an engine that gives it."""

    variables: Mapping[str, str]
    socket: Path
    smi: Path


def write_smi(
    folder: Path, name: str = "Tesla T4", capability: str = "7.5", driver: str = DRIVER
) -> Path:
    """Write a stand-in for nvidia-smi, which shows this GPU."""
    smi = folder / "nvidia-smi"
    smi.write_text(SMI.format(name=name, capability=capability, driver=driver))
    smi.chmod(0o755)
    return smi


def pip_files(folder: Path) -> dict[Path, str]:
    """Files with which pip in a container reaches the package index, and their paths there."""
    bundle = os.environ.get("SSL_CERT_FILE")
    if not bundle:
        return {}
    settings = folder / "pip.conf"
    settings.write_text("[global]\ncert = /etc/host-ca.crt\n")
    return {Path(bundle).resolve(): "/etc/host-ca.crt", settings: "/etc/pip.conf"}


@contextlib.contextmanager
def made_up_gpu(
    engine: Engine,
    folder: Path,
    name: str = "Tesla T4",
    capability: str = "7.5",
    *,
    driver: str = DRIVER,
) -> Iterator[MadeUpGpu]:
    """A GPU for the time of the block; containers that get it get `pip_files`, too."""
    kind = f"t{secrets.token_hex(4)}x/gpu"
    smi = write_smi(folder, name, capability, driver)
    files = {smi: "/usr/bin/nvidia-smi", **pip_files(folder)}
    mounts = [
        {"hostPath": str(file), "containerPath": path, "options": ["ro", "bind"]}
        for file, path in files.items()
    ]
    edits = {"env": ["MADE_UP_GPU=0"], "mounts": mounts}
    devices = [{"name": number, "containerEdits": edits} for number in ("0", "all")]
    specification = {"cdiVersion": "0.6.0", "kind": kind, "devices": devices}
    file = CDI / f"{kind.partition('/')[0]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(specification))
    # A short path: sockets have one.
    place = Path(f"/tmp/dlimg-{secrets.token_hex(4)}")  # noqa: S108
    place.mkdir(mode=0o700)
    try:
        _wait_for_device(engine, f"{kind}=all")
        libraries = made_up_driver(folder / "driver", MANAGEMENT)
        variables = {
            "LD_LIBRARY_PATH": str(libraries),
            "GPUS": f"{name}:{capability}",
            "DRIVER": driver,
            "DOCKER_HOST": f"unix://{place}/docker.sock",
        }
        with _translated(engine, place / "docker.sock", kind.encode()):
            yield MadeUpGpu(variables=variables, socket=place / "docker.sock", smi=smi)
    finally:
        file.unlink()
        shutil.rmtree(place)


def _wait_for_device(engine: Engine, name: str) -> None:
    deadline = time.monotonic() + 30
    while all(device["ID"] != name for device in engine.sdk.info().get("DiscoveredDevices") or ()):
        assert time.monotonic() < deadline, name
        time.sleep(0.1)


@contextlib.contextmanager
def _translated(engine: Engine, path: Path, kind: bytes) -> Iterator[None]:
    """A socket at which the engine answers, with NVIDIA's name in the place of this kind's."""
    ends: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        thread = threading.Thread(target=_serve, args=(door, engine.host, kind, ends))
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()
            for end in ends:
                end.close()


def _serve(door: socket.socket, host: str, kind: bytes, ends: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = door.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(host.removeprefix("unix://"))
            ends += [near, far]
            for source, sink, names in ((near, far, (NVIDIA, kind)), (far, near, (kind, NVIDIA))):
                threading.Thread(target=_pump, args=(source, sink, names), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, names: tuple[bytes, bytes]) -> None:
    """Send what comes on, with the first name replaced, also where it comes in two parts."""
    old, rest = names[0], b""
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            text = (rest + part).replace(*names)
            size = next(size for size in range(len(old) - 1, -1, -1) if text.endswith(old[:size]))
            rest = text[len(text) - size :]
            sink.sendall(text[: len(text) - size])
    with contextlib.suppress(OSError):
        sink.sendall(rest)
        sink.shutdown(socket.SHUT_WR)
