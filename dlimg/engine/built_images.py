"""Which images dlimg has made on this machine: their labels alone do not say it.

Whatever is built on an image inherits its labels. So each image that was made leaves an empty
file whose name is the whole record: what was to be made, and the digest that came out.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from dlimg.host.local_state import state_folder


def remember(environment: Mapping[str, str], key: str, digest: str) -> None:
    """The image with this digest came out when this key was made."""
    record = _folder(environment) / _name(key, digest)
    # Without a record the image is made again, mostly from the build cache, and nothing is lost.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.touch()


def was_built_here(environment: Mapping[str, str], key: str, digest: str) -> bool:
    """Whether this very image came out when this key was made here."""
    try:
        return (_folder(environment) / _name(key, digest)).is_file()
    except OSError:
        return False


def _folder(environment: Mapping[str, str]) -> Path:
    return state_folder(environment) / "built"


def _name(key: str, digest: str) -> str:
    return f"{key.removeprefix('sha256:')}-{digest.removeprefix('sha256:')}"
