"""Layers of a system, recompressed from gzip."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest
from zstandard import ZstdDecompressor

from dlimg.assembly.system import recompress_layers, recompress_system
from dlimg.assembly.wheel_to_layer import LayerContext
from dlimg.errors import Negative
from dlimg.layer.compress import WrittenLayer, inflate_file
from dlimg.model import BaseSource, Wheel
from dlimg.render.image_config import ImageConfig
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.store.systems import SystemLayers, system_layer_key
from tests.support import samples

PLAIN = os.urandom(700_000) + bytes(5 << 20) + b"end"
# Several members, as pigz writes them, and one that is empty.
CONTENT = b"".join(gzip.compress(part, mtime=0) for part in (PLAIN[:800_000], b"", PLAIN[800_000:]))


def no_wheel(_: Wheel) -> Path:
    raise AssertionError


@pytest.fixture
def context(tmp_path: Path) -> LayerContext:
    store = Store(path=tmp_path / "layers")
    return LayerContext(store=store, locate=no_wheel, log=print, compression="zstd3")


def system(store: Store, content: bytes = CONTENT) -> Layer:
    written = WrittenLayer(
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        size=len(content),
        diff_id=f"sha256:{hashlib.sha256(PLAIN).hexdigest()}",
        unpacked=len(PLAIN),
    )

    def write(file: object) -> WrittenLayer:
        file.write(content)  # type: ignore[attr-defined]
        return written

    key = LayerKey(kind="system", source=written.digest.removeprefix("sha256:"))
    return make_layer(store, key, write, print)


def test_a_recompressed_layer_has_the_same_content(context: LayerContext) -> None:
    first = system(context.store)
    (layer,) = recompress_layers([first], context)
    raw = context.store.blob(layer).read_bytes()
    assert ZstdDecompressor().stream_reader(raw, read_across_frames=True).read() == PLAIN
    assert (layer.diff_id, layer.unpacked) == (first.diff_id, first.unpacked)
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert find_layer(context.store, system_layer_key(first.diff_id, "zstd3")) == layer
    context.store.blob(first).unlink()
    assert recompress_layers([first], context) == (layer,)


@pytest.mark.parametrize(
    ("source", "compressions"),
    [
        (BaseSource.BOOTSTRAP, ["zstd3", "zstd3"]),
        # They are those of an image that others have, too.
        (BaseSource.REGISTRY, ["gzip", "zstd3"]),
    ],
)
def test_layers_of_a_base_from_a_registry_stay_as_they_are(
    context: LayerContext, source: BaseSource, compressions: list[str]
) -> None:
    layer = system(context.store)
    whole = SystemLayers(
        layers=(layer, layer), config=ImageConfig(), interpreter="", packages=("a=1",)
    )
    planned = samples.planned(on=samples.base(source=source))
    result = recompress_system(whole, planned, context)
    assert [layer.compression for layer in result.layers] == compressions
    assert [layer.diff_id for layer in result.layers] == [layer.diff_id, layer.diff_id]
    assert (result.config, result.packages) == (whole.config, whole.packages)


def test_gzip_layers_are_not_recompressed(context: LayerContext) -> None:
    first = system(context.store)
    same = LayerContext(store=context.store, locate=no_wheel, log=print)
    assert recompress_layers([first], same) == (first,)


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1], CONTENT[:-9], b"junk", b"", gzip.compress(b"other", mtime=0), CONTENT + b"junk"],
)
def test_a_damaged_layer_is_reported(context: LayerContext, content: bytes) -> None:
    first = system(context.store, content)
    with pytest.raises(Negative, match="is damaged") as caught:
        recompress_layers([first], context)
    assert "store verify" in caught.value.problems[0].hint
    assert list(context.store.making.iterdir()) == []


def test_recompression_reads_small_blocks(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    chunks = list(inflate_file(path))
    assert b"".join(chunks) == PLAIN
    assert max(map(len, chunks)) <= 1 << 20
