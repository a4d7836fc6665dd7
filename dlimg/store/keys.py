"""What a layer is made from, and what it is: keys and layers, as values and as text."""

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
    """A layer: its digest and bytes as it is kept, its diff id and bytes as a tar."""

    digest: str
    size: int
    diff_id: str
    unpacked: int
    compression: str = GZIP

    @property
    def media_type(self) -> str:
        """The layer's type in an OCI manifest."""
        method = self.compression.rstrip("0123456789")
        return f"application/vnd.oci.image.layer.v1.tar+{method}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKey:
    """What a layer is made from: `source` is a sha256, `python` set where it shows in the layer.

    `compression` names a method, with its level where it has one: `gzip`, `zstd3`.
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
        """The key of a file's name, or None when this is none."""
        match = _KEY.fullmatch(text)
        return cls(**match.groupdict(default="")) if match else None


def hash_texts(parts: Iterable[str]) -> str:
    """One sha256 for several texts, whatever is in them; their order counts."""
    return sha256(json.dumps(list(parts)).encode()).hexdigest()


def format_entry(key: LayerKey, layer: Layer, words: str = "") -> str:
    """The index entry; it says all that it stands for, so that people can read a store.

    `words` is what the layer is, such as a wheel's name and version.
    """
    values = {"format": FORMAT, **asdict(key), **asdict(layer), "words": words}
    return json.dumps(values, indent=2) + "\n"


def parse_entry(text: str, key: LayerKey) -> Layer | None:
    """The layer of this key's index entry, or None for one that this dlimg did not write for it."""
    try:
        values = json.loads(text)
        layer = Layer(**{field.name: values[field.name] for field in fields(Layer)})
        is_ours = {"format": FORMAT, **asdict(key)}.items() <= values.items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return layer if is_ours and _is_valid(layer) else None


def entry_description(text: str) -> str:
    """What an index entry says that its layer is; nothing where it does not say."""
    try:
        values = json.loads(text)
        words = values.get("words", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return words if isinstance(words, str) else ""


def _is_valid(layer: Layer) -> bool:
    digests = all(_DIGEST.fullmatch(str(text)) for text in (layer.digest, layer.diff_id))
    sizes: tuple[object, ...] = (layer.size, layer.unpacked)
    return digests and all(isinstance(one, int) and 0 <= one < _MAX_SIZE for one in sizes)
