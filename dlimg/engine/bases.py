"""Bases: the root file system of an operating system, from a registry or from its packages."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from docker.errors import APIError, ImageNotFound

from dlimg.context import Context
from dlimg.debian import bootstrap
from dlimg.debian.chroot import PATH
from dlimg.engine import client, ownership
from dlimg.engine.client import Engine
from dlimg.engine.private_home import home_of
from dlimg.errors import NetworkFailure, NoEngine
from dlimg.host.file_lock import file_lock
from dlimg.model import Base, BaseSource, OperatingSystem

BaseChoice = Literal["auto", "registry", "bootstrap"]
REPOSITORY: Final = "dlimg-base"
OS_LABEL: Final = "io.dlimg.base-os"  # `io.dlimg.base` on an image is its base's identity
IDENTITY_LABEL: Final = "io.dlimg.base-identity"
RECIPE_LABEL: Final = "io.dlimg.base-recipe"
REGISTRY_SECONDS: Final = 5


@client.engine_errors()
def find_base(
    engine: Engine,
    os_: OperatingSystem,
    *,
    choice: BaseChoice,
    pins: Mapping[str, str],
    log: Callable[[str], None],
) -> Base:
    """Return the base to build on; `pins` are registry digests by operating system name.

    `auto` takes the registry when it answers, or else bootstraps, and logs which. Raises
    `NetworkFailure` when the registry was chosen and does not answer, `NoEngine` when a
    bootstrap is not possible here.
    """
    if choice == "bootstrap":
        return _find_or_bootstrap(engine, os_, log)
    try:
        digest = registry_digest(engine, os_.image, pins.get(os_.name, ""))
    except NetworkFailure as failure:
        if choice == "registry":
            raise
        log(f"{failure.problems[0].message}: {os_.name} comes from the distribution's packages")
        return _find_or_bootstrap(engine, os_, log)
    log(f"{os_.name} comes from the registry: {os_.image}@{digest}")
    return Base(
        os=os_.name,
        source=BaseSource.REGISTRY,
        identity=digest,
        reference=f"docker-image://{os_.image}@{digest}",
    )


def registry_digest(engine: Engine, image: str, pinned: str = "") -> str:
    """Return the pinned digest if it is available, or the tag's current digest without a pin.

    Raises `NetworkFailure` when the registry does not answer within a few seconds.
    """
    name = f"{image}@{pinned}" if pinned else image
    if pinned and _has(engine, name):
        return pinned
    # The engine asks with its own mirrors and proxies, because it will pull the image.
    sdk = client.open_sdk(engine.context, seconds=REGISTRY_SECONDS)
    try:
        distribution = sdk.api.inspect_distribution(name)  # type: ignore[no-untyped-call]
    except client.UNREACHABLE as error:
        raise NetworkFailure(
            f"{name} is not available from its registry ({_short(error)})",
            hint="check the connection to the registry, or use `--base bootstrap`",
        ) from error
    finally:
        sdk.close()
    return str(distribution["Descriptor"]["digest"])


def _find_or_bootstrap(engine: Engine, os_: OperatingSystem, log: Callable[[str], None]) -> Base:
    """Return the base that was bootstrapped earlier with this recipe, or a new one."""
    identity = _known_identity(engine, os_)
    if identity:
        return bootstrapped_base(os_, identity)
    tools = tools_folder(engine.context)
    lock = tools.with_name(f"base-{os_.name}.lock")
    with (
        file_lock(lock, doing=f"bootstrapping {os_.name}", log=log),
        tempfile.TemporaryDirectory() as folder,
    ):
        identity = _known_identity(engine, os_)  # another dlimg may have made it meanwhile
        if not identity:
            client.check_buildx(engine)  # before the minutes of work
            tar = Path(folder, "base.tar")
            identity = bootstrap.make_rootfs(os_, tar, tools=tools, log=log)
            _import(engine, os_, tar, identity)
    return bootstrapped_base(os_, identity)


def _known_identity(engine: Engine, os_: OperatingSystem) -> str:
    """Return the identity of the engine's newest base with this recipe, or an empty text."""
    wanted = {OS_LABEL: os_.name, RECIPE_LABEL: bootstrap.recipe_digest(os_)}
    # Not by a filter on labels: the engine would read the labels of all its images.
    rows = client.list_images(engine, {"reference": REPOSITORY})
    matching = [row for row in rows if wanted.items() <= (row.get("Labels") or {}).items()]
    newest = max(matching, key=lambda row: int(row["Created"]), default=None)
    return str(newest["Labels"][IDENTITY_LABEL]) if newest else ""


def _import(engine: Engine, os_: OperatingSystem, tar: Path, identity: str) -> None:
    """Import the root file system into the engine, under its name and with its labels."""
    changes = [f'LABEL {name}="{value}"' for name, value in base_labels(os_, identity).items()]
    tag = _tag(os_, identity)
    response = engine.sdk.api.import_image_from_file(
        str(tar),
        repository=REPOSITORY,
        tag=tag,
        changes=[*changes, f"ENV PATH={PATH}", 'CMD ["bash"]'],
    )
    try:
        image = engine.sdk.images.get(f"{REPOSITORY}:{tag}")
    except ImageNotFound as error:
        raise NoEngine(f"the engine did not import the base of {os_.name}: {response}") from error
    ownership.record_build(engine.context, identity, str(image.id))


def base_labels(os_: OperatingSystem, identity: str) -> dict[str, str]:
    """Return the labels of a bootstrapped base."""
    return {
        OS_LABEL: os_.name,
        IDENTITY_LABEL: identity,
        RECIPE_LABEL: bootstrap.recipe_digest(os_),
    }


def bootstrapped_base(os_: OperatingSystem, identity: str) -> Base:
    """Return the bootstrapped base with this identity."""
    return Base(
        os=os_.name,
        source=BaseSource.BOOTSTRAP,
        identity=identity,
        reference=f"docker-image://{REPOSITORY}:{_tag(os_, identity)}",
    )


def _tag(os_: OperatingSystem, identity: str) -> str:
    return f"{os_.name}-{identity.removeprefix('sha256:')[:12]}"


def tools_folder(context: Context) -> Path:
    """Return the folder of downloaded programs: in the private engine's home, or the cache."""
    if os.geteuid() == 0:
        return home_of(context).path / "tools"
    return context.cache / "tools"


def _has(engine: Engine, name: str) -> bool:
    try:
        engine.sdk.images.get(name)
    except ImageNotFound:
        return False
    return True


def _short(error: Exception) -> str:
    if isinstance(error, APIError):
        return str(error.explanation or error).strip()
    return client.error_reason(error)
