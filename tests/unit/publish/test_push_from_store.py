"""From the store to a registry, without an engine: what is sent, what is not, in which order."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.checks.evidence import MEDIA_TYPE
from dlimg.context import Context
from dlimg.errors import DlimgError, Negative, NetworkFailure, NoEngine
from dlimg.publish import push
from dlimg.publish.attach import LOCK_TYPE
from dlimg.publish.push import PushSummary, push_image
from dlimg.publish.tags import UNTESTED_SUFFIX
from dlimg.registry import blobs
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.referrers import list_referrers
from dlimg.store.store import Store
from tests.support import samples
from tests.support.fake_registry import Answer, FakeRegistry, running, sha256
from tests.support.publishing import layer_bytes, published, stored_image

SHARED = [layer_bytes(bytes([number]) * (4_000_000 + number)) for number in range(3)]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "PAUSE", 0.001)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "layers")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}


@pytest.fixture
def team(fake: FakeRegistry, home: dict[str, str]) -> Iterator[Repository]:
    with open_registry(fake.host, Context.of(home, print)) as registry:
        yield Repository(registry=registry, name="team/jax")


def test_a_second_flavour_sends_only_what_is_new(
    fake: FakeRegistry, store: Store, team: Repository
) -> None:
    first = stored_image(store, *SHARED, b"first")
    result = push_image(team, "1", first, store, log=print)
    everything = sum(map(len, SHARED)) + 5 + len(first.config)
    assert result == PushSummary(present=0, mounted=0, uploaded=5, sent=everything)
    assert fake.received == everything
    assert fake.manifests["team/jax", "1"][1] == first.manifest
    second = stored_image(store, *SHARED, b"second", flavour="compile")
    result = push_image(team, "2", second, store, log=print)
    assert result == PushSummary(present=3, mounted=0, uploaded=2, sent=6 + len(second.config))
    assert fake.received == everything + result.sent
    assert push_image(team, "2", second, store, log=print).sent == 0
    assert fake.received == everything + result.sent


def test_shared_layers_are_mounted_from_a_sibling(
    fake: FakeRegistry, store: Store, team: Repository
) -> None:
    push_image(team, "1", stored_image(store, *SHARED, b"jax"), store, log=print)
    before = fake.received
    torch = stored_image(store, *SHARED, b"torch", family="pytorch")
    to = replace(team, name="team/pytorch")
    siblings = ("team/nothing", "team/jax")
    result = push_image(to, "1", torch, store, siblings=siblings, log=print)
    assert result == PushSummary(present=0, mounted=3, uploaded=2, sent=5 + len(torch.config))
    assert fake.received == before + result.sent


def test_an_unreadable_sibling_is_asked_once(
    fake: FakeRegistry, store: Store, team: Repository
) -> None:
    image = stored_image(store, b"a", b"b", b"c")
    fake.put_blob("team/open", b"b")
    for content in (b"a", b"b", b"c", image.config):
        path = f"HEAD /v2/team/closed/blobs/{sha256(content)}"
        fake.odd[path] = [Answer(status=403)] * 9
    result = push_image(team, "1", image, store, siblings=("team/closed", "team/open"), log=print)
    assert (result.mounted, result.uploaded) == (1, 3)
    asked = [path for path in fake.paths("HEAD") if "closed" in path]
    assert len(asked) <= push.AT_ONCE


def test_progress_of_a_push_is_reported(
    fake: FakeRegistry, store: Store, team: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LOG_SECONDS", 0.05)
    fake.upload_seconds = 0.3
    logged: list[str] = []
    image = stored_image(store, *SHARED)
    push_image(team, "1", image, store, log=logged.append)
    assert logged[0] == f"{team} lacks 4 of 4 blobs, 12 MB"
    assert any("of 12 MB" in line for line in logged[1:])


@pytest.mark.parametrize("damage", ["lost", "other"])
def test_a_damaged_layer_is_reported(store: Store, team: Repository, damage: str) -> None:
    image = stored_image(store, *SHARED, b"content")
    blob = store.blob(image.layers[-1])
    if damage == "lost":
        blob.unlink()
    else:
        blob.write_bytes(b"c0ntent")
    with pytest.raises(Negative, match="cannot be sent") as raised:
        push_image(team, "1", image, store, log=print)
    assert "dlimg store verify" in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (Answer(status=401), "wants a login", "docker login"),
        (Answer(status=403, body=b'{"errors":[{"code":"DENIED"}]}'), "403 .*DENIED", "with access"),
        (Answer(status=429, headers={"Retry-After": "99"}), "429", "log in, or wait"),
        (Answer(status=500), "500", "run it again later"),
        (Answer(status=413), "413", "client_max_body_size"),
        (
            Answer(status=201, headers={"Docker-Content-Digest": sha256(b"")}),
            "was sent, the registry stored",
            "",
        ),
    ],
)
def test_the_refusal_of_a_push_is_reported(  # a row says all
    fake: FakeRegistry, store: Store, team: Repository, answer: Answer, message: str, hint: str
) -> None:
    image = stored_image(store, b"content")
    fake.odd.update({f"PUT /v2/team/jax/blobs/uploads/{one}": [answer] * 9 for one in (1, 2)})
    with pytest.raises(NetworkFailure, match=message) as raised:
        push_image(team, "1", image, store, log=print)
    assert hint in str(raised.value)
    assert ("team/jax", "1") not in fake.manifests


@pytest.mark.parametrize(
    ("status", "compression", "has_hint"),
    [(400, "zstd3", True), (415, "zstd3", True), (400, "gzip", False), (403, "zstd3", False)],
)
def test_a_registry_that_refuses_zstd_is_answered_with_the_option_to_take(
    fake: FakeRegistry,
    store: Store,
    team: Repository,
    status: int,
    compression: str,
    has_hint: bool,  # noqa: FBT001 - a row says all
) -> None:
    image = stored_image(store, b"content")
    layers = tuple(replace(layer, compression=compression) for layer in image.layers)
    refused = Answer(status=status, body=b'{"errors":[{"code":"MANIFEST_INVALID"}]}')
    fake.odd["PUT /v2/team/jax/manifests/1"] = [refused] * 9
    with pytest.raises(NetworkFailure, match=f"{status} .*MANIFEST_INVALID") as raised:
        push_image(team, "1", replace(image, layers=layers), store, log=print)
    assert ("`--compression gzip`" in str(raised.value)) is has_hint


def test_a_failed_upload_stops_the_others(
    fake: FakeRegistry, store: Store, team: Repository
) -> None:
    image = stored_image(store, *[bytes([number]) * 9 for number in range(40)])
    fake.odd.update(
        {f"PUT /v2/team/jax/blobs/uploads/{one}": [Answer(status=403)] for one in range(1, 42)}
    )
    with pytest.raises(NetworkFailure, match="403"):
        push_image(team, "1", image, store, log=print)
    assert len(fake.paths("PUT")) < 41


def test_every_tag_leads_to_the_tested_digest(
    fake: FakeRegistry, store: Store, home: dict[str, str], team: Repository
) -> None:
    image = stored_image(store, *SHARED)
    published_image = published(fake, store, home, image)
    assert published_image.digest == image.digest
    names = [
        name.rpartition(":")[2] for name in (published_image.reference, *published_image.moved)
    ]
    assert names[-1] == "latest"
    assert {sha256(fake.manifests["team/jax", name][1]) for name in names} == {image.digest}
    kinds = [referrer.artifact_type for referrer in list_referrers(team, image.digest)]
    assert kinds == [LOCK_TYPE, MEDIA_TYPE]
    puts = [path.rpartition("/")[2] for path in fake.paths("PUT") if "/manifests/" in path]
    assert [puts.index(name) for name in names] == sorted(puts.index(name) for name in names)
    assert puts[0] == names[0]
    assert all(digest.startswith("sha256:") for digest in puts[1:3])  # the evidence, before names
    fake.asked.clear()
    assert published(fake, store, home, image) == published_image
    assert fake.writes == []


def test_an_image_without_a_gpu_test_is_labelled(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *SHARED, accelerator="cuda13.2")
    logged: list[str] = []
    published_image = published(fake, store, home, image, accelerator="cuda13.2", log=logged.append)
    assert published_image.reference.endswith(UNTESTED_SUFFIX)
    manifest = json.loads(fake.manifests["team/jax", published_image.digest][1])
    assert manifest["layers"] == json.loads(image.manifest)["layers"]
    config = json.loads(fake.blobs["team/jax", manifest["config"]["digest"]])
    tested = json.loads(image.config)
    marks = {"io.dlimg.gpu-tested": "no", "io.dlimg.tested-digest": image.digest}
    assert config["config"].pop("Labels") == tested["config"].pop("Labels") | marks
    last = config["history"].pop()
    assert last["empty_layer"] is True
    assert last["created_by"].startswith("LABEL io.dlimg.gpu-tested=no")
    assert config == tested
    assert published(fake, store, home, image, accelerator="cuda13.2") == published_image


def test_a_denied_missing_repository_is_pushed_to(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *SHARED)
    tag = f"{samples.image().tag}-111111111111"
    for verb in ("HEAD", "GET"):
        fake.odd[f"{verb} /v2/team/jax/manifests/{tag}"] = [Answer(status=403)]
    assert published(fake, store, home, image).digest == image.digest


def test_an_interrupt_stops_all_uploads(
    fake: FakeRegistry, store: Store, team: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "LOG_SECONDS", 0.05)
    image = stored_image(store, *SHARED, *[bytes([number]) * 9 for number in range(40)])
    first = "PUT /v2/team/jax/blobs/uploads/1"
    fake.odd[first] = [Answer(seconds=0.4, status=201)]

    def interrupted(text: str) -> None:
        if " of " in text and "lacks" not in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push_image(team, "1", image, store, log=interrupted)
    assert ("team/jax", "1") not in fake.manifests


def test_an_image_that_the_store_no_longer_has_needs_the_engine(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *SHARED)
    store.blob(image.layers[0]).unlink()
    with pytest.raises(NoEngine, match="the store does not have the image any more"):
        published(fake, store, home, image)


def test_a_changed_manifest_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *SHARED)
    tag = f"{samples.image().tag}-111111111111"
    other = json.dumps({"config": {"digest": sha256(b"x"), "size": 1}}).encode()
    lie = {"Docker-Content-Digest": f"sha256:{hashlib.sha256(other).hexdigest()}"}
    fake.odd[f"GET /v2/team/jax/manifests/{tag}"] = [
        Answer(status=404),
        Answer(body=other, headers=lie),
    ]
    with pytest.raises(DlimgError, match="at the registry after the push"):
        published(fake, store, home, image)
    assert ("team/jax", "latest") not in fake.manifests
