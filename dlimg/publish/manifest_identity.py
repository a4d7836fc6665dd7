"""Whether a manifest at a registry is a known image, where an engine knows its config alone.

Docker's classic image store keeps no manifests: an image's id there is the digest of its config,
which names the contents of the layers, and not the compressed layers that a manifest names. So a
manifest with the right config is believed when this machine has pushed it, or has read that its
layers hold what the config says.
"""

import contextlib
import hashlib
import zlib
from pathlib import Path
from typing import Final

from dlimg.assembly.system import inflate
from dlimg.atomic_write import atomic_write, read_now
from dlimg.publish.tags import config_of
from dlimg.registry.blobs import read_blob_blocks
from dlimg.registry.http import Repository
from dlimg.registry.manifests import Descriptor, Manifest, parse_descriptor, parse_descriptors

FOLDER: Final = "manifests"


def note_manifest(folder: Path, manifest: str, config: str) -> None:
    """Note that the image of this config is the manifest of this digest.

    Where that cannot be written down, its layers are read the next time.
    """
    with contextlib.suppress(OSError):
        atomic_write(_path(folder, manifest), f"{config}\n")


def is_noted(folder: Path, manifest: Manifest) -> bool:
    """Whether this machine knows that the layers of the manifest are those of its config."""
    config = parse_descriptor(manifest.content.get("config"))
    try:
        return config is not None and read_now(_path(folder, manifest.digest)).strip() == (
            config.digest
        )
    except (OSError, UnicodeDecodeError):
        return False


def holds_what_it_says(repository: Repository, manifest: Manifest) -> bool:
    """Whether the layers hold, once unpacked, what the manifest's config says: all are read.

    Raises `NetworkFailure` when one cannot be read, or is not the one of its digest.
    """
    rootfs = config_of(repository, manifest).get("rootfs")
    said = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    layers = parse_descriptors(manifest.content.get("layers"))
    named = manifest.content.get("layers")
    if not isinstance(said, list) or not isinstance(named, list) or len(layers) != len(named):
        return False
    found = (_unpacked_digest(repository, layer) for layer in layers)
    return len(said) == len(layers) and all(
        digest == wanted for digest, wanted in zip(found, said, strict=True)
    )


def _unpacked_digest(repository: Repository, layer: Descriptor) -> str:
    """The digest of the tar in a layer; empty for one that nobody unpacks."""
    pieces = read_blob_blocks(repository, layer.digest)
    digest = hashlib.sha256()
    try:
        for piece in inflate(pieces) if layer.media_type.endswith("gzip") else pieces:
            digest.update(piece)
    except (zlib.error, EOFError):
        return ""
    return f"sha256:{digest.hexdigest()}"


def _path(folder: Path, manifest: str) -> Path:
    return folder / FOLDER / manifest.removeprefix("sha256:")
