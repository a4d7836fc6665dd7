"""The packages of planned images that this machine knows, and by them the images' content keys.

A Dockerfile of dlimg's own form installs packages in its stage `system` and nowhere else, so the
store's record of that system has them. Any other Dockerfile has to be built before they are
known; what came out is remembered beside the names of images that were built.

    packages/<source>.json   the packages of a whole Dockerfile on a base, by both
"""

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex

import docker
from docker.models.containers import Container

from dlimg.assembly.compile_python import LABEL
from dlimg.assembly.system import SystemBuildTools, temporary_image
from dlimg.atomic_write import atomic_write, read_now
from dlimg.builders.build_failure import MOVED, MOVED_HINT
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.local_state import file_lock, state_folder
from dlimg.lock.local_wheels import lay_out
from dlimg.model import PlannedImage
from dlimg.render.content_key import ARCHITECTURE, with_key
from dlimg.render.dockerfile import EPOCH
from dlimg.store.keys import hash_texts
from dlimg.store.store import Store, layer_store
from dlimg.store.systems import (
    CURRENT_PYTHON,
    DPKG_STATUS,
    PYTHON_BUILD,
    UV_PYTHONS,
    forget_system,
    format_packages,
    load_system,
    package_changes,
    packages_digest,
    system_source,
)


def with_known_keys(
    planned: Sequence[PlannedImage], store: Store, environment: Mapping[str, str]
) -> tuple[PlannedImage, ...]:
    """The images with their keys, as far as their packages are known here; the rest as it is.

    No engine is asked, and no network.
    """
    digests: dict[str, str] = {}
    found = []
    for one in planned:
        source = packages_key(one)
        if source not in digests:
            packages = known_packages(one, store, environment)
            digests[source] = "" if packages is None else packages_digest(packages)
        found.append(with_key(one, digests[source]) if digests[source] else one)
    return tuple(found)


def packages_key(planned: PlannedImage) -> str:
    """One sha256 for what decides on the packages: the system, or else the whole Dockerfile."""
    if not planned.image.layers_obstacle:
        return system_source(planned)
    return hash_texts([ARCHITECTURE, str(EPOCH), planned.base.identity, planned.image.dockerfile])


def known_packages(
    planned: PlannedImage, store: Store, environment: Mapping[str, str]
) -> tuple[str, ...] | None:
    """The packages of the image, where what decides on them was built here."""
    if planned.image.layers_obstacle:
        return _recorded(packages_file(planned, environment))
    system = load_system(store, system_source(planned))
    return system.packages if system else None


def packages_file(planned: PlannedImage, environment: Mapping[str, str]) -> Path:
    """Where the packages of a whole Dockerfile are remembered."""
    return state_folder(environment) / "packages" / f"{packages_key(planned)}.json"


def check_packages(planned: PlannedImage, found: Sequence[str]) -> None:
    """Nothing; Negative where the system has come out with other packages than the key names."""
    if packages_digest(found) != planned.packages:
        raise _moved(planned, "")


def forget_packages(
    planned: PlannedImage, found: Sequence[str], store: Store, environment: Mapping[str, str]
) -> Negative:
    """What to tell of an image that has these packages, and not those that its key names.

    The record that the key was computed from is forgotten: the next build computes another.
    """
    before = known_packages(planned, store, environment)
    if planned.image.layers_obstacle:
        with contextlib.suppress(OSError):
            packages_file(planned, environment).unlink(missing_ok=True)
    else:
        forget_system(store, system_source(planned))
    return _moved(planned, "" if before is None else package_changes(before, found))


def _moved(planned: PlannedImage, text: str) -> Negative:
    message = f"{MOVED}: {text}" if text else MOVED
    return Negative(message, where=planned.image.cell.id, hint=MOVED_HINT)


def _recorded(record: Path) -> tuple[str, ...] | None:
    try:
        found = json.loads(read_now(record))
    except (OSError, ValueError, RecursionError):
        return None
    is_right = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if is_right else None


def build_for_packages(
    planned: PlannedImage, tools: SystemBuildTools, find_links: Sequence[Path]
) -> tuple[str, ...]:
    """The packages of the whole image, from the record, or from an image that is built now.

    BuildKit keeps its steps, so that the build under the image's own name soon follows. Raises
    Negative when it does not build.
    """
    environment = tools.engine.environment
    record = packages_file(planned, environment)
    # Another dlimg, with another state folder, may read the same packages in the same engine.
    name = f"dlimg-packages:{packages_key(planned)[:12]}-{token_hex(4)}"
    with (
        file_lock(record.with_suffix(".turn"), doing="building the same image", log=tools.log),
        tempfile.TemporaryDirectory(prefix="dlimg-packages-") as folder,
    ):
        found = known_packages(planned, layer_store(environment), environment)
        if found is None:
            wheels = lay_out(planned.image.lock, find_links, Path(folder, "wheels"))
            with temporary_image(planned, "", tools, Path(folder), name=name, wheels=wheels):
                found = packages_in_image(tools.engine, name)
            with contextlib.suppress(OSError):
                atomic_write(record, json.dumps(found, indent=0))
    return found


def packages_in_image(engine: Engine, image: str) -> tuple[str, ...]:
    """The packages of an image, read from a container that is never started."""
    container = engine.sdk.containers.create(image, ["true"], labels={LABEL: "packages"})
    try:
        status, _ = _read(container, DPKG_STATUS)
        _, python = _read(container, CURRENT_PYTHON)
        build, _ = _read(container, f"{UV_PYTHONS}/{python}/{PYTHON_BUILD}") if python else ("", "")
    finally:
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)
    return format_packages(status, python, build)


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
