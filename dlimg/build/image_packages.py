"""The packages of an image in an engine, and of a Dockerfile that has to be built to know them."""

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

import docker
from docker.models.containers import Container

from dlimg.build.packages import known_packages, packages_source, record_of
from dlimg.build.wheels import lay_out
from dlimg.engine.client import Engine
from dlimg.engine.turns import alone
from dlimg.layers.compiling import LABEL
from dlimg.layers.packages import BUILD, CURRENT, PYTHONS, STATUS, packages
from dlimg.layers.store import layer_store
from dlimg.layers.system import Tools, passing_image
from dlimg.model import Planned
from dlimg.whole import write_whole


def build_for_packages(
    planned: Planned, tools: Tools, find_links: Sequence[Path]
) -> tuple[str, ...]:
    """The packages of the whole image, from the record, or from an image that is built now.

    BuildKit keeps its steps, so that the build under the image's own name soon follows. Raises
    Negative when it does not build.
    """
    environment = tools.engine.environment
    record = record_of(planned, environment)
    # Another dlimg, with another state folder, may read the same packages in the same engine.
    name = f"dlimg-packages:{packages_source(planned)[:12]}-{token_hex(4)}"
    with (
        alone(record.with_suffix(".turn"), doing="building the same image", say=tools.say),
        tempfile.TemporaryDirectory(prefix="dlimg-packages-") as folder,
    ):
        found = known_packages(planned, layer_store(environment), environment)
        if found is None:
            wheels = lay_out(planned.image.lock, find_links, Path(folder, "wheels"))
            with passing_image(planned, "", tools, Path(folder), name=name, wheels=wheels):
                found = packages_in_image(tools.engine, name)
            with contextlib.suppress(OSError):
                write_whole(record, json.dumps(found, indent=0))
    return found


def packages_in_image(engine: Engine, image: str) -> tuple[str, ...]:
    """The packages of an image, read from a container that is never started."""
    container = engine.sdk.containers.create(image, ["true"], labels={LABEL: "packages"})
    try:
        status, _ = _read(container, STATUS)
        _, python = _read(container, CURRENT)
        build, _ = _read(container, f"{PYTHONS}/{python}/{BUILD}") if python else ("", "")
    finally:
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)
    return packages(status, python, build)


def _read(container: Container, path: str) -> tuple[str, str]:
    """The text of a file, and where a link leads; both are empty for what is something else."""
    try:
        chunks, _ = container.get_archive(f"/{path}")
    except docker.errors.NotFound:
        return "", ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        member = archive.next()
        if member is None or not (member.isfile() or member.issym()):
            return "", ""
        if member.issym():
            return "", member.linkname
        file = archive.extractfile(member)
        return (file.read().decode(errors="replace") if file else ""), ""
