"""The layers of a store as rows, text and data."""

from collections.abc import Mapping, Sequence
from typing import Final

from dlimg.store.export import ExportedImage
from dlimg.store.keys import LayerKey
from dlimg.store.maintenance import DamagedLayer, StoreEntry
from dlimg.units import bytes_text, counted

HEADINGS: Final = ("kind", "content", "Python", "size", "unpacked", "used by", "digest")

# What each kind of key stands for. Parts are no layers of any image: layers are made from them.
KINDS: Final[Mapping[str, str]] = {
    "wheel": "wheel",
    "small": "small wheels",
    "own": "own files",
    "bytecode": "byte code",
    "system": "system",
    "part": "part: own files",
    "sources": "part: Python files",
    "compiled": "byte code",
}
_SHOWN: Final = 3  # names of a list, in a table
_DIGITS: Final = 19  # `sha256:` and twelve digits


def entry_rows(
    entries: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]], names: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """Return a row for each layer under `HEADINGS`, the largest first.

    `names` describes wheels by their sha256, for layers without a description.
    """
    ordered = sorted(entries, key=lambda entry: (-entry.layer.size, str(entry.key)))
    return [
        (
            KINDS.get(entry.key.kind, entry.key.kind) + _method(entry.key),
            _short(description_of(entry.key, entry.description, names)),
            entry.key.python or "any",
            bytes_text(entry.layer.size),
            bytes_text(entry.layer.unpacked),
            _cells(uses.get(entry.key, ())),
            entry.layer.digest[:_DIGITS],
        )
        for entry in ordered
    ]


def entries_json(
    entries: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]], names: Mapping[str, str]
) -> list[dict[str, object]]:
    """Return the layers as stable data, by key."""
    return [
        {
            "kind": entry.key.kind,
            "what": description_of(entry.key, entry.description, names),
            "source": entry.key.source,
            "python": entry.key.python,
            "compression": entry.key.compression,
            "digest": entry.layer.digest,
            "diff_id": entry.layer.diff_id,
            "size": entry.layer.size,
            "unpacked": entry.layer.unpacked,
            "cells": list(uses.get(entry.key, ())),
        }
        for entry in entries
    ]


def damaged_text(layer: DamagedLayer, names: Mapping[str, str]) -> str:
    kind = KINDS.get(layer.key.kind, layer.key.kind)
    return (
        f"{kind} {description_of(layer.key, layer.description, names)}".rstrip() + f" ({layer.key})"
    )


def description_of(key: LayerKey, description: str, names: Mapping[str, str]) -> str:
    """Return the description of a layer: its own, or else the wheel's name from the locks."""
    return description or names.get(key.source, "")


def total_text(entries: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]]) -> str:
    """Return `214 layers ..., 12.30 GB; no cell uses 20 of them (1.20 GB): ...`."""
    unused = [entry for entry in entries if entry.key not in uses]
    size = bytes_text(sum(entry.layer.size for entry in entries))
    text = f"{counted(len(entries), 'layer')} with what they are made from, {size}"
    if not unused:
        return f"{text}; cells of the matrix use all of them"
    size = bytes_text(sum(entry.layer.size for entry in unused))
    return f"{text}; no cell uses {len(unused)} of them ({size}): `dlimg store prune` removes these"


def _method(key: LayerKey) -> str:
    return "" if key.compression == "gzip" else f" ({key.compression})"


def _short(text: str) -> str:
    names = text.split(", ")
    rest = len(names) - _SHOWN
    return f"{', '.join(names[:_SHOWN])} and {rest} more" if rest > 1 else text


def _cells(cells: Sequence[str]) -> str:
    if not cells:
        return "no cell"
    return cells[0] if len(cells) == 1 else f"{len(cells)} cells"


def exported_json(exported: ExportedImage) -> dict[str, object]:
    """Return an exported image as data."""
    return {
        "cell": exported.name,
        "reference": exported.reference,
        "digest": exported.image.digest,
        "layers": [layer.digest for layer in exported.image.layers],
    }
