"""A manifest is the image of its config when its layers hold what that says, or was noted so."""

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import pytest
from zstandard import ZstdCompressor

from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.publish.existing_image import pulled_image
from dlimg.publish.manifest_identity import is_recorded, layers_match_config, record_manifest
from dlimg.publish.tags import require_manifest
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Manifest
from tests.support.fake_registry import OCI_MANIFEST, FakeRegistry, running, sha256
from tests.support.publishing import Pulling

NAME = "team/jax"
GZIP, TAR = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def team(fake: FakeRegistry, tmp_path: Path) -> Iterator[Repository]:
    with open_registry(
        fake.host, Context.of({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}, print)
    ) as registry:
        yield Repository(registry=registry, name=NAME)


def put(
    fake: FakeRegistry,
    repository: Repository,
    layers: Sequence[tuple[str, bytes]],
    rootfs: object,
) -> Manifest:
    """An image with these layers, whose config says this of what they hold."""
    config = json.dumps({"rootfs": rootfs}).encode()
    named: list[Any] = [
        {"mediaType": kind, "digest": fake.put_blob(NAME, content), "size": len(content)}
        for kind, content in layers
    ]
    content = {
        "mediaType": OCI_MANIFEST,
        "config": {"digest": fake.put_blob(NAME, config), "size": len(config)},
        "layers": named,
    }
    return require_manifest(repository, fake.put_manifest(NAME, content))


def diff_ids(*contents: bytes) -> dict[str, object]:
    return {"type": "layers", "diff_ids": [sha256(content) for content in contents]}


ZSTD = f"{TAR}+zstd"
zstd = ZstdCompressor().compress
TWO = [(GZIP, gzip.compress(b"one") + gzip.compress(b" more")), (TAR, b"two")]


@pytest.mark.parametrize(
    ("layers", "rootfs", "holds"),
    [
        (TWO, diff_ids(b"one more", b"two"), True),
        ([], diff_ids(), True),
        (TWO, diff_ids(b"one", b"two"), False),
        (TWO, diff_ids(b"two", b"one more"), False),
        (TWO, diff_ids(b"one more"), False),
        (TWO[:1], diff_ids(b"one more", b"two"), False),
        ([(GZIP, b"no gzip")], diff_ids(b"no gzip"), False),
        ([(GZIP, gzip.compress(b"one")[:-3])], diff_ids(b"one"), False),
        ([(ZSTD, zstd(b"one") + zstd(b" more"))], diff_ids(b"one more"), True),
        ([(ZSTD, zstd(b"one") + zstd(b" more"))], diff_ids(b"one"), False),
        ([(ZSTD, zstd(b"one") + zstd(b" more")[:-3])], diff_ids(b"one more"), False),
        ([(ZSTD, zstd(bytes(9_000_000)))], diff_ids(bytes(9_000_000)), True),
        ([(ZSTD, b"x")], diff_ids(b"y"), False),
        (TWO, {"diff_ids": "x"}, False),
        (TWO, None, False),
    ],
)
def test_layers_are_compared_with_the_config(
    fake: FakeRegistry,
    team: Repository,
    layers: Sequence[tuple[str, bytes]],
    rootfs: object,
    *,
    holds: bool,
) -> None:
    assert layers_match_config(team, put(fake, team, layers, rootfs)) is holds


def test_a_layer_with_a_wrong_digest_is_refused(fake: FakeRegistry, team: Repository) -> None:
    manifest = put(fake, team, TWO, diff_ids(b"one more", b"two"))
    fake.blobs[NAME, sha256(b"two")] = b"tw0"
    with pytest.raises(NetworkFailure, match="sends other bytes"):
        layers_match_config(team, manifest)


def test_a_record_is_about_one_manifest(
    fake: FakeRegistry, team: Repository, tmp_path: Path
) -> None:
    manifest = put(fake, team, TWO, diff_ids(b"one more", b"two"))
    another = put(fake, team, TWO[:1], diff_ids(b"one more", b"two"))
    config = manifest.content["config"]["digest"]
    assert not is_recorded(tmp_path, manifest)
    record_manifest(tmp_path, manifest.digest, config)
    assert is_recorded(tmp_path, manifest)
    assert not is_recorded(tmp_path, another)
    record_manifest(tmp_path, manifest.digest, sha256(b"another"))
    assert not is_recorded(tmp_path, manifest)
    record_manifest(Path("/proc/nowhere"), manifest.digest, config)  # and nothing is wrong


def test_an_image_that_was_present_is_not_removed(fake: FakeRegistry, team: Repository) -> None:
    manifest = put(fake, team, TWO, diff_ids())
    engine = Pulling()
    reference = f"{team}@{manifest.digest}"
    for there in (set(), {reference}):
        engine.there = set(there)
        with pulled_image(engine.engine(), str(team), manifest) as result:
            assert result == manifest.digest
            assert engine.there == {reference}
        assert engine.there == there


def test_another_image_than_the_pulled_one_is_refused(fake: FakeRegistry, team: Repository) -> None:
    class Wrong(Pulling):
        def pull(self, repository: str, *, tag: str) -> object:
            super().pull(repository, tag=tag)
            return SimpleNamespace(id=sha256(b"another"))

    manifest, engine = put(fake, team, TWO, diff_ids()), Wrong()
    with (
        pytest.raises(Negative, match=r"the engine pulled .* and has sha256:"),
        pulled_image(engine.engine(), str(team), manifest),
    ):
        pytest.fail("it is not tested")
    assert engine.there == set()


def test_an_image_that_the_engine_cannot_pull(fake: FakeRegistry, team: Repository) -> None:
    class Refusing(Pulling):
        def pull(self, repository: str, *, tag: str) -> object:
            raise docker.errors.APIError("no", explanation=f"{repository} {tag[:6]} is not there")

    manifest = put(fake, team, TWO, diff_ids())
    with (
        pytest.raises(NetworkFailure, match=r"cannot pull .*: .* sha256 is not there"),
        pulled_image(Refusing().engine(), str(team), manifest),
    ):
        pytest.fail("it is not tested")
