"""The distribution packages in planned images, which are a part of their content keys.

A Dockerfile that can be assembled installs packages only in its stage `system`, so the store's
record of that system has them. Any other Dockerfile must be built before they are known; the
result is kept in the state folder, in `packages/<packages key>.json`.
"""

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

from dlimg.assembly.compile_python import LABEL
from dlimg.assembly.system import SystemBuildTools, temporary_image
from dlimg.atomic_write import atomic_write, read_now
from dlimg.builders.build_failure import PACKAGES_DIFFER, PACKAGES_DIFFER_HINT
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.file_lock import file_lock
from dlimg.lock.local_wheels import place_local_wheels
from dlimg.model import EPOCH, PlannedImage
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


def packages_key(planned: PlannedImage) -> str:
    """Return the key of the record of packages: a hash of the system, or of the Dockerfile."""
    if not planned.image.layers_obstacle:
        return system_source(planned)
    image = planned.image
    texts = [image.cell.oci_platform, str(EPOCH), planned.base.identity, image.dockerfile]
    return hash_texts(texts)


def known_packages(planned: PlannedImage, store: Store, context: Context) -> tuple[str, ...] | None:
    """Return the packages in the image, or None when no build here has recorded them."""
    if planned.image.layers_obstacle:
        return _read_record(packages_file(planned, context))
    system = load_system(store, system_source(planned))
    return system.packages if system else None


def packages_file(planned: PlannedImage, context: Context) -> Path:
    """Return the path of the record of a whole Dockerfile's packages."""
    return context.state / "packages" / f"{packages_key(planned)}.json"


def check_packages(planned: PlannedImage, packages: Sequence[str]) -> None:
    """Raise Negative when an image has other packages than its content key says."""
    if packages_digest(packages) != planned.packages:
        raise _packages_differ(planned, "")


def forget_packages(
    planned: PlannedImage, packages: Sequence[str], store: Store, context: Context
) -> Negative:
    """Forget the record behind an image's key; return the error for its actual packages.

    The next build computes another key.
    """
    before = known_packages(planned, store, context)
    if planned.image.layers_obstacle:
        with contextlib.suppress(OSError):
            packages_file(planned, context).unlink(missing_ok=True)
    else:
        forget_system(store, system_source(planned))
    return _packages_differ(planned, "" if before is None else package_changes(before, packages))


def _packages_differ(planned: PlannedImage, changes: str) -> Negative:
    message = f"{PACKAGES_DIFFER}: {changes}" if changes else PACKAGES_DIFFER
    return Negative(message, where=planned.image.cell.id, hint=PACKAGES_DIFFER_HINT)


def _read_record(record: Path) -> tuple[str, ...] | None:
    try:
        packages = json.loads(read_now(record))
    except (OSError, ValueError, RecursionError):
        return None
    is_valid = isinstance(packages, list) and all(isinstance(line, str) for line in packages)
    return tuple(packages) if is_valid else None


def build_for_packages(
    planned: PlannedImage, tools: SystemBuildTools, find_links: Sequence[Path]
) -> tuple[str, ...]:
    """Return the packages in a whole image, from the record or after building it.

    BuildKit's cache makes the later build under the image's own name quick. Raises Negative when
    the image does not build.
    """
    context = tools.engine.context
    record = packages_file(planned, context)
    # A dlimg with another state folder may build the same image in this engine at the same time.
    name = f"dlimg-packages:{packages_key(planned)[:12]}-{token_hex(4)}"
    with (
        file_lock(record.with_suffix(".turn"), doing="building the same image", log=tools.log),
        tempfile.TemporaryDirectory(prefix="dlimg-packages-") as folder,
    ):
        packages = known_packages(planned, layer_store(context), context)
        if packages is None:
            wheels = place_local_wheels(planned.image.lock, find_links, Path(folder, "wheels"))
            with temporary_image(planned, "", tools, Path(folder), name=name, wheels=wheels):
                packages = packages_in_image(tools.engine, name)
            with contextlib.suppress(OSError):
                atomic_write(record, json.dumps(packages, indent=0))
    return packages


def packages_in_image(engine: Engine, image: str) -> tuple[str, ...]:
    """Read the packages in an image from a container that is never started."""
    container = engine.sdk.containers.create(image, ["true"], labels={LABEL: "packages"})
    try:
        status, _ = _read_member(container, DPKG_STATUS)
        _, python = _read_member(container, CURRENT_PYTHON)
        build_file = f"{UV_PYTHONS}/{python}/{PYTHON_BUILD}"
        build, _ = _read_member(container, build_file) if python else ("", "")
    finally:
        with contextlib.suppress(docker.errors.APIError):
            container.remove(force=True, v=True)
    return format_packages(status, python, build)


def _read_member(container: Container, path: str) -> tuple[str, str]:
    """Return the text of a file, or the target of a link; both empty for anything else."""
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
