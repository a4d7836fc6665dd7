"""Export of assembled images as an OCI image layout, a folder that skopeo and podman read."""

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
from dlimg.store.image_manifest import (
    CONTAINERD_NAME,
    INDEX_TYPE,
    MANIFEST_TYPE,
    REFERENCE,
    AssembledImage,
)
from dlimg.store.store import Store

_LAYOUT: Final = "oci-layout"
_INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedImage:
    """An image to export: its `name` in the layout, and the `reference` that engines give it."""

    name: str
    reference: str
    image: AssembledImage


def check_export_folder(folder: Path) -> None:
    """Raise BadInput for a folder that `export_layout` would refuse."""
    _read_index(folder)


def export_layout(folder: Path, images: Sequence[ExportedImage], store: Store) -> int:
    """Write the images to an OCI layout; return the bytes of the blobs that are new in it.

    Blobs are hard links into the store if the file system allows it, else copies. An existing
    layout is added to, and an image of the same name is replaced. The index is written last.
    Raises BadInput for a folder with other content, Negative when the disk refuses.
    """
    manifests = _read_index(folder)
    try:
        blobs = folder / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        size = sum(_export_blobs(exported.image, blobs, store) for exported in images)
        atomic_write(folder / _LAYOUT, _json({"imageLayoutVersion": "1.0.0"}))
        names = {exported.name for exported in images}
        manifests = [entry for entry in manifests if _entry_name(entry) not in names]
        manifests += [_index_entry(exported) for exported in images]
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
        atomic_write(folder / _INDEX, _json(index))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Negative(f"the layout cannot be written: {reason}", where=str(folder)) from error
    return size


def _read_index(folder: Path) -> list[dict[str, Any]]:
    """Return the index entries of the folder's layout; empty for a new or empty folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return []
    try:
        entries: list[dict[str, Any]] = json.loads((folder / _INDEX).read_bytes())["manifests"]
        names = [_entry_name(entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "name a new or an empty folder"
        raise BadInput("the folder is not an OCI layout", where=str(folder), hint=hint) from None
    return entries if all(isinstance(name, str) for name in names) else []


def _entry_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("annotations", {}).get(REFERENCE, ""))


def _index_entry(exported: ExportedImage) -> dict[str, Any]:
    """Return the index entry; `REFERENCE` is for OCI tools, `CONTAINERD_NAME` for `docker load`."""
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": exported.image.digest,
        "size": len(exported.image.manifest),
        "platform": {
            "architecture": json.loads(exported.image.config)["architecture"],
            "os": "linux",
        },
        "annotations": {
            REFERENCE: exported.name,
            CONTAINERD_NAME: _full_reference(exported.reference),
        },
    }


def _full_reference(reference: str) -> str:
    """Return the reference with its registry, which for Docker's short names is docker.io."""
    host, slash, _ = reference.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        return reference
    return f"docker.io/{reference if slash else f'library/{reference}'}"


def _export_blobs(image: AssembledImage, blobs: Path, store: Store) -> int:
    """Put the image's blobs into the folder; return the bytes of the new ones."""
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
    # A link costs nothing, but works only within one file system and for the user's own files.
    with contextlib.suppress(OSError):
        os.link(source, target)
        return size
    partial = target.with_suffix(".half")
    shutil.copyfile(source, partial)
    partial.replace(target)
    return size


def _json(content: object) -> str:
    return json.dumps(content, sort_keys=True, indent=2) + "\n"


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
