"""Images of the store as an OCI layout: a folder that skopeo, podman and others read."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.errors import BadInput, Negative
from dlimg.store.image_manifest import INDEX_TYPE, MANIFEST_TYPE, REFERENCE, AssembledImage
from dlimg.store.store import Store

# The whole name that `docker load` gives; `REFERENCE` is the name within the layout.
_DOCKER_NAME: Final = "io.containerd.image.name"
_LAYOUT: Final = "oci-layout"
_INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """An image on its way out: its `name` in the layout, and `reference`, what engines call it."""

    name: str
    reference: str
    image: AssembledImage


def check_export_folder(folder: Path) -> None:
    """Nothing; BadInput for a folder that `export` would refuse."""
    _read_index(folder)


def export_layout(folder: Path, images: Sequence[ExportedImage], store: Store) -> int:
    """The bytes of the blobs that the layout has now and had not before.

    Blobs are links into the store where the file system allows it, else copies. A layout that is
    there is added to; an image of the same name gives way. The index is written last. Raises
    BadInput for a folder with other things, Negative when it cannot be written.
    """
    entries = _read_index(folder)
    try:
        blobs = folder / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        size = sum(_export_blobs(one.image, blobs, store) for one in images)
        atomic_write(folder / _LAYOUT, _json({"imageLayoutVersion": "1.0.0"}))
        names = {one.name for one in images}
        entries = [one for one in entries if _entry_name(one) not in names]
        entries += [_index_entry(one) for one in images]
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
        atomic_write(folder / _INDEX, _json(index))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Negative(f"the layout cannot be written: {reason}", where=str(folder)) from error
    return size


def _read_index(folder: Path) -> list[dict[str, Any]]:
    """What the layout in this folder holds; nothing where there is no folder, or an empty one."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return []
    try:
        entries: list[dict[str, Any]] = json.loads((folder / _INDEX).read_bytes())["manifests"]
        names = [_entry_name(one) for one in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "name a new or an empty folder"
        raise BadInput("it holds other things than images", where=str(folder), hint=hint) from None
    return entries if all(isinstance(name, str) for name in names) else []


def _entry_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("annotations", {}).get(REFERENCE, ""))


def _index_entry(one: ExportedImage) -> dict[str, Any]:
    host = one.reference.partition("/")[0]
    is_whole = any(mark in host for mark in ".:") or host == "localhost"
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": one.image.digest,
        "size": len(one.image.manifest),
        "platform": {"architecture": "amd64", "os": "linux"},
        "annotations": {
            REFERENCE: one.name,
            _DOCKER_NAME: one.reference if is_whole else f"docker.io/{one.reference}",
        },
    }


def _export_blobs(image: AssembledImage, blobs: Path, store: Store) -> int:
    size = sum(
        _link_or_copy(store.blob(layer), blobs / _hex(layer.digest), layer.size)
        for layer in image.layers
    )
    for digest, content in ((image.config_digest, image.config), (image.digest, image.manifest)):
        target = blobs / _hex(digest)
        if not target.exists():
            atomic_write(target, content.decode())
            size += len(content)
    return size


def _link_or_copy(source: Path, target: Path, size: int) -> int:
    if target.exists() and target.stat().st_size == size:
        return 0
    target.unlink(missing_ok=True)
    # A link costs nothing, but works only within one file system and for files of our own.
    with contextlib.suppress(OSError):
        os.link(source, target)
        return size
    half = target.with_suffix(".half")
    shutil.copyfile(source, half)
    half.replace(target)
    return size


def _json(content: object) -> str:
    return json.dumps(content, sort_keys=True, indent=2) + "\n"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
