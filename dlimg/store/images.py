"""Records of assembled images in the store: manifests, configs and the ranks of their layers.

    images/<hex>.json   one image, under its manifest's digest and under its config's

A record that is damaged, or of another format, counts as missing: the image is then published
from the engine, or built again.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write, read_now
from dlimg.store.image_manifest import AssembledImage, LayerRank
from dlimg.store.keys import Layer
from dlimg.store.store import Store

_FORMAT: Final = 1


def save_image(store: Store, image: AssembledImage) -> None:
    """Record the image. A full disk is no error: the engine's image is published then."""
    layers = [
        {**asdict(layer), **({"rank": rank} if rank else {})}
        for layer, rank in zip_longest(image.layers, image.ranks)
    ]
    record = {
        "format": _FORMAT,
        "manifest": image.manifest.decode(),
        "config": image.config.decode(),
        "layers": layers,
    }
    text = json.dumps(record, indent=2, ensure_ascii=False)
    with contextlib.suppress(OSError):
        for digest in (image.digest, image.config_digest):
            atomic_write(_record_path(store, digest), text)


def load_image(store: Store, digest: str) -> AssembledImage | None:
    """Return the image with this manifest or config digest, or None.

    Its layers may have been removed: see `has_all_layers`.
    """
    try:
        image = _parse_record(json.loads(read_now(_record_path(store, digest))))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return image if image and digest in {image.digest, image.config_digest} else None


def saved_images(store: Store) -> Iterator[AssembledImage]:
    """Yield every recorded image once, the latest last."""
    for path in _record_paths(store):
        digest = f"sha256:{path.stem}"
        image = load_image(store, digest)
        if image and image.digest == digest:
            yield image


def has_all_layers(store: Store, image: AssembledImage) -> bool:
    """Return whether all layers of the image are in the store, judged by their sizes."""
    try:
        return all(store.blob(layer).stat().st_size == layer.size for layer in image.layers)
    except OSError:
        return False


def remove_broken_records(store: Store) -> int:
    """Remove invalid records and those of images without their layers; return the freed bytes."""
    freed = 0
    for path in _record_paths(store):
        image = load_image(store, f"sha256:{path.stem}")
        if image is None or not has_all_layers(store, image):
            with contextlib.suppress(OSError):
                freed += path.stat().st_size
                path.unlink()
    return freed


def _parse_record(record: Mapping[str, Any]) -> AssembledImage | None:
    """Return the record's image, or None if manifest, config and layers do not agree."""
    manifest, config = record["manifest"].encode(), record["config"].encode()
    layers = tuple(
        Layer(**{field.name: values[field.name] for field in fields(Layer)})
        for values in record["layers"]
    )
    image = AssembledImage(
        manifest=manifest,
        config=config,
        digest=_digest(manifest),
        layers=layers,
        ranks=_parse_ranks(record["layers"]),
    )
    parsed = json.loads(manifest)
    descriptors = [(layer["digest"], layer["size"]) for layer in parsed["layers"]]
    labels = json.loads(config)["config"].get("Labels", {})
    is_valid = (
        record["format"] == _FORMAT
        and parsed["config"]["digest"] == image.config_digest
        and descriptors == [(layer.digest, layer.size) for layer in layers]
        and all(isinstance(text, str) for text in labels.values())
    )
    return image if is_valid else None


def _parse_ranks(layers: Sequence[Mapping[str, Any]]) -> tuple[LayerRank, ...]:
    """Return the ranks of a record's layers; an older dlimg's record has none."""
    if all("rank" in values for values in layers):
        return tuple(LayerRank(values["rank"]) for values in layers)
    return ()


def _record_paths(store: Store) -> list[Path]:
    return sorted((store.path / "images").glob("*.json"), key=_modified)


def _modified(record: Path) -> tuple[int, str]:
    """Sort key by the time of writing; 0 for a record removed meanwhile."""
    try:
        return record.stat().st_mtime_ns, record.name
    except OSError:
        return 0, record.name


def _record_path(store: Store, digest: str) -> Path:
    return store.path / "images" / f"{digest.removeprefix('sha256:')}.json"


def _digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"
