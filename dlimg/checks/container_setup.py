"""Parts of a check's container: its kind, the engine's options, the scripts in it. Pure.

Scripts import shared modules by relative paths (`../../common/checks`), so they keep the folders
that they have under `images/`.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from dlimg.checks.completion import RUNNER
from dlimg.checks.discover import importable_modules, script_path
from dlimg.checks.header import ANY_USER, AS_ROOT, EMPTY_HOME, NETWORK, READ_ONLY
from dlimg.checks.inputs import CheckInputs
from dlimg.checks.verdicts import GPU_CHECK
from dlimg.image_files import ImageFiles
from dlimg.model import DEFAULT_USER, Check, ImageUser

ROOT: Final = "/tmp/dlimg"  # noqa: S108 -- in a container of our own
WORK: Final = f"{ROOT}/work"
# A user without an entry in any image's passwd, and group 0, as OpenShift assigns them.
SOME_USER: Final = "12345:0"
# Compilers write shared objects to /tmp and load them, so it is executable; it counts as memory.
SCRATCH: Final[Mapping[str, str]] = {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=1g"}  # noqa: S108
# An empty volume over the home of the image's user, as clusters mount one.
_HOME: Final = "rw,exec,nosuid,nodev,uid={user.number},gid={user.group},size=1g"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerKind:
    """The properties of a container that checks share; `container` is empty by default."""

    container: str = ""
    has_network: bool = False


def kind_of(check: Check) -> ContainerKind:
    """Return the kind of container that this check needs."""
    return ContainerKind(container=check.container, has_network=NETWORK in check.needs)


def group_by_kind(checks: Sequence[Check]) -> tuple[tuple[ContainerKind, tuple[Check, ...]], ...]:
    """Group the checks by their kind of container, the default kind first.

    The check of the GPU precedes all others: whether earlier verdicts still hold depends on it.
    """
    groups: dict[ContainerKind, list[Check]] = {}
    for check in sorted(
        checks, key=lambda check: (check.name != GPU_CHECK, kind_of(check) != ContainerKind())
    ):
        groups.setdefault(kind_of(check), []).append(check)
    return tuple((kind, tuple(members)) for kind, members in groups.items())


def container_options(kind: ContainerKind, user: ImageUser = DEFAULT_USER) -> Mapping[str, Any]:
    """Return the engine's options for a container of this kind, besides the common ones.

    `user` is the image's.
    """
    options: dict[str, Any] = {}
    if not kind.has_network:
        options["network_mode"] = "none"
    match kind.container:
        case container if container == READ_ONLY:
            options |= {"read_only": True, "tmpfs": dict(SCRATCH)}
        case container if container == ANY_USER:
            options["user"] = SOME_USER
        case container if container == AS_ROOT:
            options["user"] = "0:0"
        case container if container == EMPTY_HOME:
            options["tmpfs"] = {user.home: _HOME.format(user=user)}
        case _:
            pass
    return options


def prepare_check(
    check: Check,
    images: ImageFiles,
    scripts: Mapping[str, bytes],
    inputs: CheckInputs | None = None,
) -> Check:
    """Return the check with its path in the container and a sha256 of all that it depends on.

    That is its script, the modules it may import, its inputs, its kind of container, and the
    program that runs it.
    """
    path = script_path(Path(check.path), images, scripts)
    digest = hashlib.sha256(f"{check.sha256}\0{kind_of(check)}\0{RUNNER}".encode())
    parts = {**importable_modules(path, scripts), **(_parts(inputs) if inputs else {})}
    for name, content in sorted(parts.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return replace(check, path=f"{ROOT}/{path}", sha256=digest.hexdigest())


def _parts(inputs: CheckInputs) -> dict[str, bytes]:
    variables = {f"${name}": value.encode() for name, value in inputs.environment.items()}
    return {**variables, **inputs.files}


def scripts_archive(files: Mapping[str, bytes], top: str = "/") -> bytes:
    """Return a tar to unpack at `top`: these files, read-only, and a writable folder."""
    buffer = io.BytesIO()
    parents = {str(folder) for path in files for folder in PurePosixPath(ROOT, path).parents}
    folders = sorted(folder for folder in parents if folder.startswith(ROOT) and folder != top)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (*((folder, 0o755) for folder in folders), (WORK, 0o1777)):
            entry = _entry(folder, top, mode)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for path, content in files.items():
            entry = _entry(f"{ROOT}/{path}", top, 0o444)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, top: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(PurePosixPath(path).relative_to(top).as_posix())
    entry.mode = mode
    return entry
