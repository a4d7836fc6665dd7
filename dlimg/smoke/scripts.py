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

from dlimg.model import Check

ROOT: Final = "/tmp/dlimg"  # noqa: S108 -- in a container of our own
WORK: Final = f"{ROOT}/work"
COMMON: Final = "common"


def scripts(images: Path, family: str) -> dict[str, bytes]:
    """Every script, common or the family's, by its path under `images`."""
    return {
        path.relative_to(images).as_posix(): path.read_bytes()
        for folder in (COMMON, family)
        for path in sorted((images / folder / "checks").glob("*.py"))
    }


def placed(check: Check, images: Path, found: Mapping[str, bytes]) -> Check:
    """The check with its path in the container, and a sha256 over all that it may import, too.

    A script may import the files whose names begin with `_`.
    """
    path = Path(check.path)
    place = (path.relative_to(images) if path.is_relative_to(images) else path).as_posix()
    digest = hashlib.sha256(check.sha256.encode())
    for name, content in sorted(found.items()):
        if PurePosixPath(name).name.startswith("_"):
            digest.update(f"\0{name}\0{len(content)}\0".encode())
            digest.update(content)
    return replace(check, path=f"{ROOT}/{place}", sha256=digest.hexdigest())


def archive(found: Mapping[str, bytes]) -> bytes:
    """A tar for the container's root: the scripts, and a folder for whatever they write."""
    buffer = io.BytesIO()
    parents = {str(folder) for path in found for folder in PurePosixPath(ROOT, path).parents}
    folders = sorted(folder for folder in parents if folder.startswith(ROOT))
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (*((one, 0o755) for one in folders), (WORK, 0o1777)):
            entry = _entry(folder, mode)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for path, content in found.items():
            entry = _entry(f"{ROOT}/{path}", 0o444)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode = mode
    return entry
