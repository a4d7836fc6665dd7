"""Images remembered in the store: their manifests and configs, so that they can go elsewhere.

    images/<hex>.json   one image; a manifest's digest names it, and so does its config's

A record is small and says nothing that its layers do not bear out. One that is damaged, or of
another dlimg, is as good as none: whoever asks goes the way without it.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write, read_now
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.keys import Layer
from dlimg.store.store import Store

_FORMAT: Final = 1


def save_image(store: Store, image: AssembledImage) -> None:
    """Remember the image; where that cannot be written down, it is published by the engine."""
    record = {
        "format": _FORMAT,
        "manifest": image.manifest.decode(),
        "config": image.config.decode(),
        "layers": [asdict(layer) for layer in image.layers],
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    with contextlib.suppress(OSError):
        for digest in (image.digest, image.config_digest):
            atomic_write(_record_path(store, digest), text)


def load_image(store: Store, digest: str) -> AssembledImage | None:
    """The image of this digest, be it the manifest's or the config's; nothing where none is.

    Its layers may be gone meanwhile: `is_whole` says.
    """
    try:
        image = _parse_record(json.loads(read_now(_record_path(store, digest))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return image if image and digest in {image.digest, image.config_digest} else None


def saved_images(store: Store) -> Iterator[AssembledImage]:
    """Every image that the store remembers, once each, those of the latest build last."""
    for path in _record_paths(store):
        digest = f"sha256:{path.stem}"
        image = load_image(store, digest)
        if image and image.digest == digest:
            yield image


def forget(store: Store, image: AssembledImage) -> None:
    """Remember the image no more; another of the same config keeps its own manifest."""
    for digest in (image.digest, image.config_digest):
        _record_path(store, digest).unlink(missing_ok=True)


def has_all_layers(store: Store, image: AssembledImage) -> bool:
    """Whether the bytes of all its layers are in the store, by their sizes."""
    try:
        return all(store.blob(layer).stat().st_size == layer.size for layer in image.layers)
    except OSError:
        return False


def remove_broken_records(store: Store) -> int:
    """Bytes that came free: records of images whose layers are gone, and of no image."""
    freed = 0
    for path in _record_paths(store):
        image = load_image(store, f"sha256:{path.stem}")
        if image is None or not has_all_layers(store, image):
            with contextlib.suppress(OSError):
                freed += path.stat().st_size
                path.unlink()
    return freed


def _parse_record(record: Mapping[str, Any]) -> AssembledImage | None:
    """The image of a record; nothing when its manifest, config or labels speak of another."""
    manifest, config = record["manifest"].encode(), record["config"].encode()
    layers = tuple(
        Layer(**{field.name: one[field.name] for field in fields(Layer)})
        for one in record["layers"]
    )
    image = AssembledImage(
        manifest=manifest, config=config, digest=_digest(manifest), layers=layers
    )
    said = json.loads(manifest)
    named = [(one["digest"], one["size"]) for one in said["layers"]]
    is_said = named == [(layer.digest, layer.size) for layer in layers]
    labels = json.loads(config)["config"].get("Labels", {})
    is_ours = record["format"] == _FORMAT and said["config"]["digest"] == image.config_digest
    is_told = all(isinstance(text, str) for text in labels.values())
    return image if is_said and is_ours and is_told else None


def _record_paths(store: Store) -> list[Path]:
    return sorted((store.path / "images").glob("*.json"), key=_modified)


def _modified(record: Path) -> tuple[int, str]:
    """When it was written; one that went meanwhile is of no age."""
    try:
        return record.stat().st_mtime_ns, record.name
    except OSError:
        return 0, record.name


def _record_path(store: Store, digest: str) -> Path:
    return store.path / "images" / f"{digest.removeprefix('sha256:')}.json"


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
