"""Build records: written, read and compared."""

from dataclasses import replace
from typing import Any

import pytest

from dlimg.errors import BadInput
from dlimg.render.image_config import ImageConfig
from dlimg.store.build_record import (
    BuildRecord,
    build_record,
    describe_difference,
    format_records,
    parse_records,
)
from dlimg.store.image_manifest import ImageLayer, LayerRank, assemble_image
from dlimg.store.keys import Layer
from tests.support import samples


def layer(number: int) -> Layer:
    return Layer(
        digest=f"sha256:{number:064}", size=number, diff_id=f"sha256:{number:063}d", unpacked=9
    )


@pytest.fixture
def record() -> BuildRecord:
    parts = [
        ImageLayer(layer=layer(number), rank=LayerRank.FRAMEWORK, history=f"wheel: w{number}")
        for number in (1, 2, 3)
    ]
    return build_record("key", assemble_image(samples.planned(), parts, ImageConfig()))


def test_a_record_is_read_as_it_was_written(record: BuildRecord) -> None:
    assert parse_records(format_records({"cell": record}), where="f") == {"cell": record}
    assert [layer.history for layer in record.layers] == ["wheel: w1", "wheel: w2", "wheel: w3"]


def test_records_of_an_older_dlimg_are_read(record: BuildRecord) -> None:
    text = format_records({"cell": record}).replace('"history"', '"words"')
    assert parse_records(text, where="f") == {"cell": record}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"c": 1}', '{"c": {"key": "k", "digest": "d", "layers": [{}]}}', "[" * 9999],
)
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a build record"):
        parse_records(text, where="f")


def test_the_lowest_difference_is_named(record: BuildRecord) -> None:
    def changed(number: int, **values: Any) -> BuildRecord:
        layers = list(record.layers)
        layers[number] = replace(layers[number], **values)
        return replace(record, digest="sha256:2", layers=tuple(layers))

    assert describe_difference(record, record) == ""
    assert describe_difference(record, changed(1, diff_id="d", digest="e")).startswith(
        "layer 2, wheel: w2, has other files: e, not sha256:0"
    )
    assert "layer 3, wheel: w3, is compressed to e" in describe_difference(
        record, changed(2, digest="e")
    )
    assert describe_difference(record, changed(0, history="x")) == "layer 1 was wheel: w1, and is x"
    fewer = replace(record, digest="sha256:2", layers=record.layers[:2])
    assert describe_difference(record, fewer) == "layer 3, wheel: w3, is missing"
    assert describe_difference(fewer, record) == "layer 3, wheel: w3, is new"
    labels = replace(record, digest="sha256:2")
    assert "labels, settings or history" in describe_difference(record, labels)
    assert describe_difference(record, replace(labels, key="k")).startswith(
        "its lock, Dockerfile, base"
    )
