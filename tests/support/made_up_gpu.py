"""A made-up GPU of NVIDIA's: the driver finds it here, and an engine gives it to containers.

The engine knows the device by another vendor's name of the same length, as other tests on it must
not take it for a GPU of NVIDIA's; and their runs must not wait for its locks. A socket before the
engine translates the name and the folder of locks.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dlimg.engine.client import Engine
from dlimg.run.start_script import QUEUE_LOCK, SHARED_LOCK
from tests.support.made_up_driver import MANAGEMENT, made_up_driver

NVIDIA: Final = "nvidia.com/gpu"
LOCKS: Final = "/run/lock/dlimg-gpus"
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


def cdi_specification(kind: str, files: Mapping[Path, str]) -> Mapping[str, Any]:
    """The specification of a device that gives these files, at these paths, to containers."""
    mounts = [
        {"hostPath": str(file), "containerPath": path, "options": ["ro", "bind"]}
        for file, path in files.items()
    ]
    edits = {"env": ["MADE_UP_GPU=0"], "mounts": mounts}
    devices = [{"name": number, "containerEdits": edits} for number in ("0", "all")]
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": devices}


@contextlib.contextmanager
def made_up_gpu(engine: Engine, folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables with which `dlimg` finds a GPU, and an engine that gives it, in the block.

    Containers that get it get `pip_files`, too.
    """
    kind = f"t{secrets.token_hex(4)}x/gpu"
    files = {write_smi(folder): "/usr/bin/nvidia-smi", **pip_files(folder)}
    file = CDI / f"{kind.partition('/')[0]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(cdi_specification(kind, files)))
    # A short path: sockets have one.
    place = Path(f"/tmp/dlimg-{secrets.token_hex(4)}")  # noqa: S108
    place.mkdir(mode=0o700)
    locks = _lock_folder()
    try:
        _wait_for_device(engine, f"{kind}=all")
        libraries = made_up_driver(folder / "driver", MANAGEMENT)
        variables = {
            "LD_LIBRARY_PATH": str(libraries),
            "GPUS": "Tesla T4:7.5",
            "DRIVER": DRIVER,
            "DOCKER_HOST": f"unix://{place}/docker.sock",
        }
        names = {NVIDIA: kind, LOCKS: str(locks)}
        with _translated(engine, place / "docker.sock", names):
            yield variables
    finally:
        file.unlink()
        shutil.rmtree(place)
        shutil.rmtree(locks)


def _lock_folder() -> Path:
    """A new folder of locks, whose path is as long as the usual one's."""
    folder = Path(f"{LOCKS.removesuffix('gpus')}{secrets.token_hex(2)}")
    folder.mkdir(parents=True)
    folder.chmod(0o1777)
    for name in (QUEUE_LOCK, SHARED_LOCK, "gpu-0.lock"):
        (folder / name).touch(mode=0o644)
    return folder


def _wait_for_device(engine: Engine, name: str) -> None:
    deadline = time.monotonic() + 30
    while all(device["ID"] != name for device in engine.sdk.info().get("DiscoveredDevices") or ()):
        assert time.monotonic() < deadline, name
        time.sleep(0.1)


@contextlib.contextmanager
def _translated(engine: Engine, path: Path, names: Mapping[str, str]) -> Iterator[None]:
    """A socket at which the engine answers; what it calls by the second name has the first."""
    ends: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        thread = threading.Thread(target=_serve, args=(door, engine.host, names, ends))
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()
            for end in ends:
                end.close()


def _serve(
    door: socket.socket, host: str, names: Mapping[str, str], ends: list[socket.socket]
) -> None:
    forth = [(near.encode(), far.encode()) for near, far in names.items()]
    back = [(far, near) for near, far in forth]
    with contextlib.suppress(OSError):
        while True:
            near, _ = door.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(host.removeprefix("unix://"))
            ends += [near, far]
            for source, sink, pairs in ((near, far, forth), (far, near, back)):
                threading.Thread(target=_pump, args=(source, sink, pairs), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, pairs: Sequence[tuple[bytes, bytes]]) -> None:
    """Send what comes on, with each first name replaced, also where it comes in two parts."""
    rest = b""
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            text = rest + part
            for old, new in pairs:
                text = text.replace(old, new)
            size = max(_started(text, old) for old, _ in pairs)
            rest = text[len(text) - size :]
            sink.sendall(text[: len(text) - size])
    with contextlib.suppress(OSError):
        sink.sendall(rest)
        sink.shutdown(socket.SHUT_WR)


def _started(text: bytes, name: bytes) -> int:
    """How many bytes at the end of a text are the start of a name."""
    return next(size for size in range(len(name) - 1, -1, -1) if text.endswith(name[:size]))
