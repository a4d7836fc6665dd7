"""Manifests at a registry, matched with images of an engine that knows only their configs.

Docker's classic image store keeps no manifests: an image's id there is the digest of its config,
which names the uncompressed layers, while a manifest names the compressed ones. A manifest with
the right config is trusted when this machine has pushed it, or has read all its layers and found
those that the config names.
"""

import contextlib
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from zstandard import ZstdError

from dlimg.atomic_write import atomic_write, read_now
from dlimg.layer.compress import inflate, inflate_zstd
from dlimg.publish.tags import read_config
from dlimg.registry.blobs import read_blob_blocks
from dlimg.registry.http import Repository
from dlimg.registry.manifests import Descriptor, Manifest, parse_descriptor, parse_descriptors

FOLDER: Final = "manifests"


def record_manifest(state: Path, manifest: str, config: str) -> None:
    """Record that the manifest of this digest has the layers of this config.

    Where the record cannot be written, the layers are read again the next time.
    """
    with contextlib.suppress(OSError):
        atomic_write(_path(state, manifest), f"{config}\n")


def is_recorded(state: Path, manifest: Manifest) -> bool:
    """Return whether this machine knows that the manifest's layers are those of its config."""
    config = parse_descriptor(manifest.content.get("config"))
    if config is None:
        return False
    try:
        return read_now(_path(state, manifest.digest)).strip() == config.digest
    except (OSError, UnicodeDecodeError):
        return False


def layers_match_config(repository: Repository, manifest: Manifest) -> bool:
    """Read all layers and return whether they are, uncompressed, those of the config.

    Raises `NetworkFailure` when a layer cannot be read, or has another digest.
    """
    rootfs = read_config(repository, manifest).get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    entries = manifest.content.get("layers")
    layers = parse_descriptors(entries)
    if not isinstance(diff_ids, list) or not isinstance(entries, list):
        return False
    if not len(layers) == len(entries) == len(diff_ids):
        return False
    return all(
        _uncompressed_digest(repository, layer) == diff_id
        for layer, diff_id in zip(layers, diff_ids, strict=True)
    )


def _uncompressed_digest(repository: Repository, layer: Descriptor) -> str:
    """Return the digest of the layer's tar, or an empty text if it cannot be decompressed."""
    blocks = read_blob_blocks(repository, layer.digest)
    digest = hashlib.sha256()
    try:
        for block in _content(blocks, layer.media_type):
            digest.update(block)
    except (zlib.error, EOFError, ZstdError):
        return ""
    return f"sha256:{digest.hexdigest()}"


def _content(blocks: Iterable[bytes], media_type: str) -> Iterable[bytes]:
    """Return the content of a layer's blob, whose compression ends its media type."""
    if media_type.endswith("gzip"):
        return inflate(blocks)
    return inflate_zstd(blocks) if media_type.endswith("zstd") else blocks


def _path(state: Path, manifest: str) -> Path:
    return state / FOLDER / manifest.removeprefix("sha256:")
