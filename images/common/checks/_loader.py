"""Checks of `/etc/ld.so.cache`, ldconfig's list of libraries in trusted folders."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from _claims import Claims, Image, file, joined_later

CACHE = "etc/ld.so.cache"
SETTINGS = "etc/ld.so.conf"
# Besides those that the settings name.
FOLDERS = ("lib", "usr/lib", "lib64", "usr/lib64", "lib32", "usr/lib32", "libx32", "usr/libx32")
MAGIC = b"glibc-ld.so.cache1.1"
AUXILIARY = "var/cache/ldconfig/aux-cache"
AUXILIARY_MAGIC = b"glibc-ld.so.auxcache-"
HEADER = struct.Struct("<20sII5I")
ROW = struct.Struct("<iIIIQ")
# By these names the NVIDIA container toolkit adds the folders of the driver that it mounts.
INJECTED = re.compile(r"etc/ld\.so\.conf\.d/(00|zz)-(nvcr|compat)-[0-9]+\.conf")


def claims(image: Image) -> Claims:
    """Return claims for the cache, and for settings of a GPU's container toolkit."""
    by_path = {CACHE: file(joined_later(faults, image)), **auxiliary(image)}
    for name in image.names("etc/ld.so.conf.d"):
        path = f"etc/ld.so.conf.d/{name}"
        if INJECTED.fullmatch(path):
            by_path[path] = file(joined_later(injected, image, path), modes=(0o644, 0o600))
    return by_path


def auxiliary(image: Image) -> Claims:
    """Return a claim for ldconfig's own cache: expected only where a driver is mounted."""
    if not any(path.startswith("usr/") for path in image.tree.mounted):
        return {}

    def content() -> str:
        start = (image.top / AUXILIARY).read_bytes()[: len(AUXILIARY_MAGIC)]
        return "" if start == AUXILIARY_MAGIC else "is no cache of ldconfig"

    return {AUXILIARY: file(content, modes=(0o600,))}


def injected(image: Image, path: str) -> Iterator[str]:
    """Yield folders that contain no mount."""
    mount_folders = {str(Path(point).parent) for point in image.tree.mounted} | image.tree.mounted
    for line in image.text(path).split():
        place = image.real(f"{line}/x").removesuffix("/x")
        if not (
            place.startswith("usr/") and place in {image.real(folder) for folder in mount_folders}
        ):
            yield f"names {line}, where nothing is mounted"


def faults(image: Image) -> Iterator[str]:
    """Yield entries of the cache for missing libraries, or outside of the configured folders."""
    trusted = set(folders(image))
    try:
        rows = parse((image.top / CACHE).read_bytes())
    except (ValueError, struct.error) as error:
        yield f"cannot be read: {error}"
        return
    for name, path in rows:
        folder, _, base = path.strip("/").rpartition("/")
        if re.sub(r"/glibc-hwcaps/[^/]+$", "", folder) not in trusted:
            yield f"names {path}, and no setting names that folder"
        elif base != name:
            yield f"names {path} for {name}"
        elif image.real(path) not in image.tree.entries and not is_mounted(image, path):
            yield f"names {path}, which is not there"


def is_mounted(image: Image, path: str) -> bool:
    """Return whether this lies in a mounted folder."""
    parents = {str(parent) for parent in Path(image.real(path)).parents}
    return bool(parents & image.tree.mounted)


def folders(image: Image) -> Iterator[str]:
    """Yield the folders that `ldconfig` reads."""
    yield from FOLDERS
    seen = [SETTINGS]
    seen += [f"{SETTINGS}.d/{name}" for name in image.names(f"{SETTINGS}.d")]
    for path in seen:
        for line in image.text(path).splitlines():
            if line.startswith("/"):
                yield line.strip().strip("/")


def parse(content: bytes) -> list[tuple[str, str]]:
    """Return names and paths of the cache's rows. Raises ValueError for another format."""
    if not content.startswith(MAGIC):
        raise ValueError("it is in another format")
    count = HEADER.unpack_from(content)[1]
    rows = []
    for number in range(count):
        _, name, path, _, _ = ROW.unpack_from(content, HEADER.size + number * ROW.size)
        rows.append((_text(content, name), _text(content, path)))
    return rows


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode(errors="surrogateescape")
