"""The plain side of `layers_cost.py`: the same wheels by `RUN pip install` in a Dockerfile.

Its images use the same system image as dlimg's, so that neither side pays for apt; its settings of
pip, which name files of the image to be, do not hold. The wheels are on disk for both; pip gets
them from a server on the loopback.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from dlimg.engine.client import Engine
from dlimg.host.process import run_checked
from dlimg.model import Image, Wheel

DOCKERFILE = """\
FROM {system}
COPY {pip} requirements.txt /tmp/
RUN env --unset=PIP_CONSTRAINT PIP_CONFIG_FILE=/dev/null \\
    /opt/env/bin/python /tmp/{pip}/pip install --no-index --no-cache-dir \\
    --find-links {address} --requirement /tmp/requirements.txt
"""


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve_wheels(folder: Path) -> Iterator[str]:
    """Serve a page that lists the folder's wheels; yield its address."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def build(
    engine: Engine, image: Image, name: str, *, system: str, wheels: Path, folder: Path
) -> None:
    """Build the image under this name, without a build cache."""
    (pip,) = [wheel for wheel in image.lock.wheels if wheel.name == "pip"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / pip.file).write_bytes((wheels / pip.file).read_bytes())
    (folder / "requirements.txt").write_text(_pinned(image.lock.wheels))
    with serve_wheels(wheels) as address:
        text = DOCKERFILE.format(system=system, pip=pip.file, address=address)
        (folder / "Dockerfile").write_text(text)
        run_checked(
            [
                *(str(engine.docker), "build", "--quiet", "--no-cache", "--network", "host"),
                *("--provenance=false", "--tag", name, str(folder)),
            ],
            env=engine.environment,
        )


def push(engine: Engine, name: str) -> None:
    run_checked([str(engine.docker), "push", "--quiet", name], env=engine.environment)


def remove(engine: Engine, name: str) -> None:
    """Remove the image and the build cache from the engine."""
    run_checked([str(engine.docker), "image", "rm", "--force", name], env=engine.environment)
    run_checked(
        [str(engine.docker), "builder", "prune", "--all", "--force"],
        env=engine.environment,
    )


def pull(engine: Engine, name: str) -> None:
    run_checked([str(engine.docker), "pull", "--quiet", name], env=engine.environment)


def start(engine: Engine, name: str, framework: str) -> None:
    """Import the framework in a container without a GPU."""
    argv = [str(engine.docker), "run", "--rm", "--network", "none", "--entrypoint", ""]
    run_checked(
        [*argv, name, "/opt/env/bin/python", "-c", f"import {framework}"], env=engine.environment
    )


def layers_at(name: str) -> dict[str, int]:
    """Return the bytes of an image's layers in a registry on the loopback, by digest."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    accept = (
        "application/vnd.oci.image.manifest.v1+json, "
        "application/vnd.docker.distribution.manifest.v2+json"
    )
    response = requests.get(
        f"http://{host}/v2/{repository}/manifests/{tag}", headers={"Accept": accept}, timeout=10
    )
    response.raise_for_status()
    return {layer["digest"]: layer["size"] for layer in response.json()["layers"]}


def _pinned(wheels: Sequence[Wheel]) -> str:
    return "".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels)
