"""The check scripts as a container gets them: side by side in one folder that nobody may write."""

import io
import tarfile
from collections.abc import Mapping
from typing import Final

ROOT: Final = "/tmp/dlimg"  # noqa: S108 -- in a container of our own
CHECKS: Final = f"{ROOT}/checks"
WORK: Final = f"{ROOT}/work"


def archive(scripts: Mapping[str, str]) -> bytes:
    """A tar for the container's root: the scripts, and a folder for whatever they write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in ((ROOT, 0o755), (CHECKS, 0o755), (WORK, 0o1777)):
            entry = _entry(folder, mode)
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
        for name, text in scripts.items():
            content = text.encode()
            entry = _entry(f"{CHECKS}/{name}", 0o444)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(path: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode = mode
    return entry
