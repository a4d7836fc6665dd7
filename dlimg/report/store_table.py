"""The layers of a store, in words: for tables and as data."""

from collections.abc import Mapping, Sequence
from typing import Final

from dlimg.store.export import ExportedImage
from dlimg.store.keys import LayerKey
from dlimg.store.maintenance import DamagedLayer, StoreEntry
from dlimg.units import bytes_text, counted

HEADINGS: Final = ("layer", "what it is", "Python", "size", "unpacked", "used by", "digest")

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


def held_rows(
    held: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]], names: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """A row for each, under `HEADINGS`, the largest first.

    `names` has words for wheels by their sha256, for those that were kept without any.
    """
    ordered = sorted(held, key=lambda one: (-one.layer.size, str(one.key)))
    return [
        (
            KINDS.get(one.key.kind, one.key.kind) + _method(one.key),
            _short(told(one.key, one.description, names)),
            one.key.python or "any",
            bytes_text(one.layer.size),
            bytes_text(one.layer.unpacked),
            _cells(uses.get(one.key, ())),
            one.layer.digest[:_DIGITS],
        )
        for one in ordered
    ]


def held_json(
    held: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]], names: Mapping[str, str]
) -> list[dict[str, object]]:
    """The same as data, by key."""
    return [
        {
            "kind": one.key.kind,
            "what": told(one.key, one.description, names),
            "source": one.key.source,
            "python": one.key.python,
            "compression": one.key.compression,
            "digest": one.layer.digest,
            "diff_id": one.layer.diff_id,
            "size": one.layer.size,
            "unpacked": one.layer.unpacked,
            "cells": list(uses.get(one.key, ())),
        }
        for one in held
    ]


def damaged_text(one: DamagedLayer, names: Mapping[str, str]) -> str:
    kind = KINDS.get(one.key.kind, one.key.kind)
    return f"{kind} {told(one.key, one.description, names)}".rstrip() + f" ({one.key})"


def told(key: LayerKey, words: str, names: Mapping[str, str]) -> str:
    """What a layer is, as its entry says, or else as the locks do."""
    return words or names.get(key.source, "")


def total_text(held: Sequence[StoreEntry], uses: Mapping[LayerKey, Sequence[str]]) -> str:
    """`214 layers and parts, 12.30 GB; 20 of them (1.20 GB) are used by no cell`."""
    idle = [one for one in held if one.key not in uses]
    size = bytes_text(sum(one.layer.size for one in held))
    text = f"{counted(len(held), 'layer')} with what they are made from, {size}"
    if not idle:
        return f"{text}; cells of the matrix use all of them"
    size = bytes_text(sum(one.layer.size for one in idle))
    return f"{text}; no cell uses {len(idle)} of them ({size}): `dlimg store prune` removes these"


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
