"""What an image came to, written down, and compared with what it comes to another time. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from dlimg.errors import BadInput
from dlimg.store.image_manifest import AssembledImage


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLayer:
    """A layer: what it is in words, its digest as it is kept, and that of its tar."""

    words: str
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
    words = [one["created_by"] for one in json.loads(image.config)["history"]]
    return BuildRecord(
        key=key,
        digest=image.digest,
        layers=tuple(
            RecordedLayer(words=text, digest=one.digest, diff_id=one.diff_id, size=one.size)
            for text, one in zip(words, image.layers, strict=True)
        ),
    )


def format_records(records: Mapping[str, BuildRecord]) -> str:
    """Records by cell as a file has them."""
    return json.dumps({cell: asdict(one) for cell, one in records.items()}, indent=2) + "\n"


def parse_records(text: str, *, where: str) -> Mapping[str, BuildRecord]:
    """The records of a file; raises BadInput for one that `records_text` did not write."""
    try:
        content = json.loads(text)
        return {str(cell): _parse_record(one) for cell, one in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        hint = "write one with `dlimg build --record FILE`"
        raise BadInput("not a record of images", where=where, hint=hint) from None


def describe_difference(recorded: BuildRecord, found: BuildRecord) -> str:
    """What came out differently, the lowest layer first; nothing when nothing did."""
    if recorded.digest == found.digest:
        return ""
    if recorded.key != found.key:
        return f"its lock, Dockerfile, base or packages are others: {_describe_layers(recorded, found)}"
    return _describe_layers(recorded, found)


def _describe_layers(recorded: BuildRecord, found: BuildRecord) -> str:
    for number, (old, new) in enumerate(zip_longest(recorded.layers, found.layers), 1):
        if old is None:
            return f"layer {number}, {new.words}, was not there"
        if new is None:
            return f"layer {number}, {old.words}, is not there any more"
        if old.words != new.words:
            return f"layer {number} was {old.words}, and is {new.words}"
        if old.diff_id != new.diff_id:
            return f"layer {number}, {old.words}, has other files: {new.digest}, not {old.digest}"
        if old.digest != new.digest:
            return f"layer {number}, {old.words}, is compressed to {new.digest}, not {old.digest}"
    return "all layers are the same, but labels, settings or words are not"


def _parse_record(content: Mapping[str, Any]) -> BuildRecord:
    layers = tuple(RecordedLayer(**one) for one in content["layers"])
    return BuildRecord(key=str(content["key"]), digest=str(content["digest"]), layers=layers)
