"""Loading the blobs that an engine lacks, and errors in its response."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from dlimg.builders.load import load_missing_blobs
from dlimg.engine.client import Engine
from dlimg.errors import Negative

MANIFEST = json.dumps({"mediaType": "m"}).encode()


@dataclass
class Sdk:
    """An engine that sends messages while it loads; it is its own `sdk`, `api` and `images`."""

    says: list[dict[str, str]]
    loaded: list[bytes] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    @property
    def sdk(self) -> "Sdk":
        return self

    @property
    def api(self) -> "Sdk":
        return self

    @property
    def images(self) -> "Sdk":
        return self

    def load_image(self, data: Iterator[bytes], *, quiet: bool) -> Iterator[dict[str, str]]:
        assert quiet
        self.loaded.append(b"".join(data))
        yield from self.says

    def remove(self, name: str) -> None:
        self.removed.append(name)


def test_missing_layers_are_loaded_under_a_temporary_name() -> None:
    sdk = Sdk(says=[{"stream": "Loaded image"}])
    load_missing_blobs(cast("Any", sdk), "host/name", MANIFEST, {"sha256:12": b"blob"})
    assert b"blobs/sha256/12" in sdk.loaded[0]
    assert sdk.removed == ["host/name-whole:now"]


def test_an_engine_that_does_not_take_it() -> None:
    engine = cast("Engine", Sdk(says=[{"stream": "x"}, {"error": "unexpected digest"}]))
    with pytest.raises(Negative, match="does not load the image: unexpected digest"):
        load_missing_blobs(engine, "host/name", MANIFEST, {})
