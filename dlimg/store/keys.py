"""Layers and their keys: the inputs that a layer is made from, as values and as JSON."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Final, Self

from dlimg.layer.compress import FORMAT
from dlimg.model import GZIP

_KEY: Final = re.compile(
    r"(?P<kind>[a-z]+)-(?P<source>[0-9a-f]{64})(?:-py(?P<python>3\.\d+))?-(?P<compression>[a-z0-9]+)"
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_SIZE: Final = 1 << 63  # no file is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer: digest and bytes of the compressed file, diff id and bytes of its tar."""

    digest: str
    size: int
    diff_id: str
    unpacked: int
    compression: str = GZIP

    @property
    def media_type(self) -> str:
        """The layer's media type in an OCI manifest."""
        method = self.compression.rstrip("0123456789")
        return f"application/vnd.oci.image.layer.v1.tar+{method}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKey:
    """The inputs of a layer: `source` is their sha256, `python` set if the layer depends on it.

    `compression` is `gzip`, or `zstd` with its level, such as `zstd3`.
    """

    kind: str
    source: str
    python: str = ""
    compression: str = GZIP

    def __str__(self) -> str:
        python = f"-py{self.python}" if self.python else ""
        return f"{self.kind}-{self.source}{python}-{self.compression}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the key of a file name, or None for any other text."""
        match = _KEY.fullmatch(text)
        return cls(**match.groupdict(default="")) if match else None


def hash_texts(texts: Iterable[str]) -> str:
    """Return one sha256 of several texts in this order, with any content."""
    return sha256(json.dumps(list(texts)).encode()).hexdigest()


def format_entry(key: LayerKey, layer: Layer, description: str = "") -> str:
    """Return the index entry of a layer; `description` says what it is, such as `torch 2.15.0`."""
    values = {"format": FORMAT, **asdict(key), **asdict(layer), "description": description}
    return json.dumps(values, indent=2) + "\n"


def parse_entry(text: str, key: LayerKey) -> Layer | None:
    """Return the layer of an index entry, or None for an invalid one or one of another key."""
    try:
        values = json.loads(text)
        layer = Layer(**{field.name: values[field.name] for field in fields(Layer)})
        has_this_key = {"format": FORMAT, **asdict(key)}.items() <= values.items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return layer if has_this_key and _is_valid(layer) else None


def entry_description(text: str) -> str:
    """Return the description in an index entry, or an empty text."""
    try:
        values = json.loads(text)
        # `words` is the old name of the field, read for one release.
        description = values.get("description", values.get("words", ""))
    except (ValueError, AttributeError, RecursionError):
        return ""
    return description if isinstance(description, str) else ""


def _is_valid(layer: Layer) -> bool:
    digests = all(_DIGEST.fullmatch(str(text)) for text in (layer.digest, layer.diff_id))
    sizes: tuple[object, ...] = (layer.size, layer.unpacked)
    return digests and all(isinstance(size, int) and 0 <= size < _MAX_SIZE for size in sizes)
