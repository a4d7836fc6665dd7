"""The check scripts as a container gets them: laid out as under `images/`, for nobody to change.

Scripts reach what they share by their place (`../../common/checks`), so the layout is kept.
"""

import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from dlimg.checks.completion import RUNNER
from dlimg.checks.container_kinds import kind_of
from dlimg.checks.discover import modules, place
from dlimg.checks.inputs import CheckInputs
from dlimg.model import Check

ROOT: Final = "/tmp/dlimg"  # noqa: S108 -- in a container of our own
WORK: Final = f"{ROOT}/work"


def placed(
    check: Check, images: Path, found: Mapping[str, bytes], facts: CheckInputs | None = None
) -> Check:
    """The check with its path in the container, and a sha256 over all that it depends on, too.

    That is the files it may import (their names begin with `_`), what it is told about its
    image, the kind of container, and what runs it.
    """
    where = place(Path(check.path), images, found)
    digest = hashlib.sha256(f"{check.sha256}\0{kind_of(check)}\0{RUNNER}".encode())
    parts = {**modules(where, found), **(_as_bytes(facts) if facts else {})}
    for name, content in sorted(parts.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode())
        digest.update(content)
    return replace(check, path=f"{ROOT}/{where}", sha256=digest.hexdigest())


def _as_bytes(facts: CheckInputs) -> dict[str, bytes]:
    told = {f"${name}": text.encode() for name, text in facts.environment.items()}
    return {**told, **facts.files}


def archive(found: Mapping[str, bytes], top: str = "/") -> bytes:
    """A tar for this folder of a container: the scripts, and a folder for whatever they write."""
    buffer = io.BytesIO()
    parents = {str(folder) for path in found for folder in PurePosixPath(ROOT, path).parents}
    folders = sorted(folder for folder in parents if folder.startswith(ROOT) and folder != top)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (*((one, 0o755) for one in folders), (WORK, 0o1777)):
            entry = _entry(folder, top, mode)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for path, content in found.items():
            entry = _entry(f"{ROOT}/{path}", top, 0o444)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, top: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(PurePosixPath(path).relative_to(top).as_posix())
    entry.mode = mode
    return entry
