"""Layers that hosts and registries refuse: found in made-up images, before anything is sent."""

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zstandard import ZstdCompressor

from dlimg.errors import Negative
from dlimg.publish.layer_lint import (
    FOLDER,
    LARGEST_LAYER,
    PushedLayer,
    find_foreign_owner,
    layer_problems,
    lint_layers,
)
from dlimg.publish.push_source import PushSource
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store
from tests.support.fake_registry import FakeRegistry, running
from tests.support.publishing import layer_bytes, published, stored_image

CELL = "jax-0.12.0.1-cpu-py3.13-debian13"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": gzip.compress,
    "gzip members": lambda tar: gzip.compress(tar[:700]) + gzip.compress(tar[700:]),
    "zstd": ZstdCompressor().compress,
    "zstd frames": lambda tar: (
        ZstdCompressor().compress(tar[:700]) + ZstdCompressor().compress(tar[700:])
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "layers")


def refusal(source: Any, store: Store, state: Path) -> str:
    taken = PushSource(manifest="", config="", labels={}, image=source)
    with pytest.raises(Negative) as caught:
        lint_layers(taken, store, state=state, where=CELL)
    return str(caught.value)


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize(
    ("uid", "gid", "foreign"),
    [
        (0, 0, ""),
        (65_535, 65_535, ""),
        (65_536, 0, "/opt/content belongs to 65536:0"),
        (1000, 65_536, "/opt/content belongs to 1000:65536"),
        (197_108, 197_121, "/opt/content belongs to 197108:197121"),
        (2**32 - 2, 0, "/opt/content belongs to 4294967294:0"),
    ],
)
def test_an_owner_of_a_high_number_is_found(
    pack: Callable[[bytes], bytes], uid: int, gid: int, foreign: str
) -> None:
    packed = pack(layer_bytes(b"x" * 3_000_000, uid=uid, gid=gid))
    blocks = (packed[at : at + 1000] for at in range(0, len(packed), 1000))
    assert find_foreign_owner(blocks) == foreign


def test_an_owner_after_many_files_is_found() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(300):
            entry = tarfile.TarInfo(f"usr/{'d' * 120}/{number}")
            entry.size = number * 7
            entry.uid = 70_000 * (number == 299)
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    assert find_foreign_owner([buffer.getvalue()]).endswith("/299 belongs to 70000:0")


DIGESTS = tuple(f"sha256:{number}" for number in range(100))


@pytest.mark.parametrize(
    ("digests", "layers", "message"),
    [
        (DIGESTS, (), ""),
        (DIGESTS, (PushedLayer(digest="sha256:1", size=LARGEST_LAYER),), ""),
        ((*DIGESTS, "sha256:a"), (), "the image has 101 layers, more than 100"),
        (DIGESTS[:5] + DIGESTS[3:4], (), "the layer sha256:3 is in the image 2 times"),
        (
            DIGESTS,
            (PushedLayer(digest="sha256:1", size=LARGEST_LAYER + 10**8),),
            "the layer sha256:1 has 8.1 GB, more than 8",
        ),
        (
            DIGESTS,
            (PushedLayer(digest="sha256:1", size=1, foreign="/a belongs to 70000:0"),),
            "the layer sha256:1 has owners above 65535: /a belongs to 70000:0",
        ),
    ],
)
def test_rules_of_layers(
    digests: tuple[str, ...], layers: tuple[PushedLayer, ...], message: str
) -> None:
    problems = list(layer_problems(digests, layers, CELL))
    assert [problem.message for problem in problems] == [message] * bool(message)
    assert all(problem.where == CELL and problem.hint for problem in problems)


def test_all_faults_of_an_image_are_told_at_once(store: Store, tmp_path: Path) -> None:
    image = stored_image(store, layer_bytes(b"a", uid=70_000), layer_bytes(b"b", gid=70_000))
    twice = replace(image, layers=(*image.layers, image.layers[0]))
    text = refusal(twice, store, tmp_path)
    assert text.count("owners above 65535") == 2
    assert "is in the image 2 times" in text


def test_a_layer_is_read_once_on_a_machine(store: Store, tmp_path: Path) -> None:
    image = stored_image(store, layer_bytes(b"a"))
    source = PushSource(manifest="", config="", labels={}, image=image)
    lint_layers(source, store, state=tmp_path, where=CELL)
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    store.blob(image.layers[0]).write_bytes(layer_bytes(b"a", uid=70_000))
    lint_layers(source, store, state=tmp_path, where=CELL)


@pytest.mark.parametrize(
    "blob",
    [b"", b"no layer", gzip.compress(layer_bytes(b"a"))[:-20]],
    ids=["empty", "no gzip", "cut off"],  # its bytes hold the time, so they would differ
)
def test_a_damaged_layer_is_refused(blob: bytes, store: Store, tmp_path: Path) -> None:
    image = stored_image(store, layer_bytes(b"a"))
    store.blob(image.layers[0]).write_bytes(blob)
    assert "cannot be read: " in refusal(image, store, tmp_path)
    store.blob(image.layers[0]).unlink()
    assert "dlimg store verify" in refusal(image, store, tmp_path)


class SavedImage:
    """An image of an engine, which saves these blobs under these names."""

    def __init__(self, blobs: dict[str, bytes], diff_ids: tuple[str, ...]) -> None:
        self.blobs = blobs
        self.attrs = {"RootFS": {"Layers": list(diff_ids)}}

    def save(self, chunk_size: int) -> Iterator[bytes]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, blob in self.blobs.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(blob)
                archive.addfile(entry, io.BytesIO(blob))
        yield from (
            buffer.getvalue()[at : at + chunk_size]
            for at in range(0, len(buffer.getvalue()), chunk_size)
        )


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_layers_of_an_engines_image_are_read_as_it_saves_them(
    pack: Callable[[bytes], bytes], store: Store, tmp_path: Path
) -> None:
    blobs = {
        "manifest.json": b"[]",
        "blobs/sha256/aa": pack(layer_bytes(b"x" * 2_000_000)),
        "blobs/sha256/bb": b'{"config": {}}',
        "blobs/sha256/cc": pack(layer_bytes(b"x", uid=70_000)),
    }
    text = refusal(SavedImage(blobs, ("sha256:1", "sha256:2", "sha256:1")), store, tmp_path)
    assert "the layer sha256:cc has owners above 65535: /opt/content belongs to 70000:0" in text
    assert "the layer sha256:1 is in the image 2 times" in text
    assert "sha256:aa" not in text


def test_nothing_of_a_refused_image_is_sent(tmp_path: Path, store: Store) -> None:
    image: AssembledImage = stored_image(store, layer_bytes(b"a", uid=70_000))
    home = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    with running(FakeRegistry()) as fake:
        with pytest.raises(Negative, match="owners above 65535"):
            published(fake, store, home, image)
        assert fake.writes == []
