"""Records of builds, which `build --record` writes and `build --verify` compares."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from dlimg.errors import BadInput
from dlimg.store.image_manifest import AssembledImage


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLayer:
    """A layer: its history text, its digest as compressed, and the digest of its tar."""

    history: str
    digest: str
    diff_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """An image: its content key, its manifest's digest, and its layers, lowest first."""

    key: str
    digest: str
    layers: tuple[RecordedLayer, ...]


def build_record(key: str, image: AssembledImage) -> BuildRecord:
    """Return the record of an image with this content key."""
    histories = [step["created_by"] for step in json.loads(image.config)["history"]]
    return BuildRecord(
        key=key,
        digest=image.digest,
        layers=tuple(
            RecordedLayer(
                history=history, digest=layer.digest, diff_id=layer.diff_id, size=layer.size
            )
            for history, layer in zip(histories, image.layers, strict=True)
        ),
    )


def format_records(records: Mapping[str, BuildRecord]) -> str:
    """Return the text of a record file; `records` are by cell id."""
    return json.dumps({cell: asdict(record) for cell, record in records.items()}, indent=2) + "\n"


def parse_records(text: str, *, where: str) -> Mapping[str, BuildRecord]:
    """Return the records of a file by cell id; raises BadInput for any other file."""
    try:
        content = json.loads(text)
        return {str(cell): _parse_record(values) for cell, values in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "write one with `dlimg build --record FILE`"
        raise BadInput("the file is not a build record", where=where, hint=hint) from None


def describe_difference(recorded: BuildRecord, built: BuildRecord) -> str:
    """Return what differs, the lowest layer first; an empty text if nothing does."""
    if recorded.digest == built.digest:
        return ""
    layers = _describe_layers(recorded, built)
    if recorded.key != built.key:
        return f"its lock, Dockerfile, base or packages have changed: {layers}"
    return layers


def _describe_layers(recorded: BuildRecord, built: BuildRecord) -> str:
    for number, (old, new) in enumerate(zip_longest(recorded.layers, built.layers), 1):
        if old is None:
            return f"layer {number}, {new.history}, is new"
        if new is None:
            return f"layer {number}, {old.history}, is missing"
        if old.history != new.history:
            return f"layer {number} was {old.history}, and is {new.history}"
        if old.diff_id != new.diff_id:
            return f"layer {number}, {old.history}, has other files: {new.digest}, not {old.digest}"
        if old.digest != new.digest:
            return f"layer {number}, {old.history}, is compressed to {new.digest}, not {old.digest}"
    return "all layers are the same, but labels, settings or history are not"


def _parse_record(content: Mapping[str, Any]) -> BuildRecord:
    layers = tuple(_parse_layer(values) for values in content["layers"])
    return BuildRecord(key=str(content["key"]), digest=str(content["digest"]), layers=layers)


def _parse_layer(values: Mapping[str, Any]) -> RecordedLayer:
    # `words` is the old name of `history`, read for one release.
    history = values["history"] if "history" in values else values["words"]
    return RecordedLayer(
        history=history, digest=values["digest"], diff_id=values["diff_id"], size=values["size"]
    )
