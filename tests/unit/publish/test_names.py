"""Names move only to bytes that were tested here, all of which are at the registry."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.evidence import MEDIA_TYPE, write_evidence
from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure, NotRun
from dlimg.host.git_revision import Revision
from dlimg.model import CheckStatus, Host
from dlimg.publish.attach import LOCK_TYPE
from dlimg.publish.tags import UNTESTED_SUFFIX
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.referrers import EMPTY, list_referrers
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import save_image
from dlimg.store.store import Store
from tests.support import samples
from tests.support.fake_registry import OCI_INDEX, Answer, FakeRegistry, running, sha256
from tests.support.publishing import (
    CHECK,
    KEY,
    Pulling,
    Testing,
    built_of,
    evidence_of,
    layer_bytes,
    published,
    stored_image,
)

NAME = "team/jax"
LAYERS = tuple(layer_bytes(content) for content in (b"one", b"two", b"three"))
CUDA = "cuda13.2"


def tag_of(suffix: str = "") -> str:
    return f"{samples.image(samples.cell('jax')).tag}-{KEY[:12]}{suffix}"


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


def changed(image: AssembledImage, change: Callable[[dict[str, Any]], None]) -> AssembledImage:
    """Other bytes under the labels that the image has."""
    content = json.loads(image.config)
    change(content)
    config = json.dumps(content).encode()
    named = json.loads(image.manifest)
    named["config"] |= {"digest": sha256(config), "size": len(config)}
    manifest = json.dumps(named).encode()
    return replace(image, config=config, manifest=manifest, digest=sha256(manifest))


def another(image: AssembledImage) -> AssembledImage:
    return changed(image, lambda content: content["config"].update(Env=["A=another"]))


def put(fake: FakeRegistry, image: AssembledImage, *tags: str) -> None:
    for content in (image.config, *LAYERS):
        fake.put_blob(NAME, content)
    fake.put_manifest(NAME, image.manifest, *tags, kind=image.media_type)


def tags(fake: FakeRegistry) -> dict[str, str]:
    """What each name leads to."""
    return {
        version: sha256(text)
        for (_, version), (_, text) in fake.manifests.items()
        if not version.startswith("sha256")
    }


# A lie: the same labels and other bytes


def test_another_image_with_the_same_labels_that_fails_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    put(fake, another(image), tag_of())
    testing, engine = Testing(status=CheckStatus.FAILED), Pulling()
    with pytest.raises(Negative, match="no tag is moved to it: checks failed: a") as raised:
        published(fake, store, home, image, testing=testing, engine=engine.engine())
    assert "delete that tag at the registry" in str(raised.value)
    assert engine.pulled == testing.tested == [another(image).digest]
    assert engine.there == set()
    assert tags(fake) == {tag_of(): another(image).digest}
    assert fake.writes == []


def test_tags_move_to_an_existing_image_that_passes(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    other = another(image)
    put(fake, other, tag_of())
    logged: list[str] = []
    testing, engine = Testing(), Pulling()
    published_image = published(
        fake, store, home, image, testing=testing, engine=engine.engine(), log=logged.append
    )
    assert (published_image.digest, published_image.is_other) == (other.digest, True)
    assert testing.tested == [other.digest]
    assert set(tags(fake).values()) == {other.digest}
    assert len(tags(fake)) == 3
    assert (NAME, sha256(image.config)) not in fake.blobs
    assert f"{image.digest}, which was built here and is not pushed" in logged[0]
    assert attached_to(fake, home, other.digest) == [LOCK_TYPE, MEDIA_TYPE]
    assert attached_to(fake, home, image.digest) == []


def test_an_existing_image_with_evidence_is_not_pulled_again(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    other = another(image)
    put(fake, other, tag_of())
    known = replace(evidence_of(built_of(other)), day="2026-11-01")
    testing = Testing(known={other.digest: known})
    logged: list[str] = []
    published_image = published(fake, store, home, image, testing=testing, log=logged.append)
    assert (published_image.digest, testing.tested) == (other.digest, [])
    assert any("was tested on this machine on 2026-11-01" in line for line in logged)


@pytest.mark.parametrize("status", [CheckStatus.FAILED, CheckStatus.NOT_RUN])
def test_an_existing_image_that_failed_before_is_tested_again(
    fake: FakeRegistry, store: Store, home: dict[str, str], status: CheckStatus
) -> None:
    image = stored_image(store, *LAYERS)
    other = another(image)
    put(fake, other, tag_of())
    testing = Testing(known={other.digest: evidence_of(built_of(other), status)})
    engine = Pulling().engine()
    assert published(fake, store, home, image, testing=testing, engine=engine).is_other
    assert testing.tested == [other.digest]


def test_another_image_without_an_engine_to_test_it_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    put(fake, another(image), tag_of())
    with pytest.raises(NotRun, match="there is no engine to pull it with") as raised:
        published(fake, store, home, image)
    assert raised.value.exit_code == 3
    assert tags(fake) == {tag_of(): another(image).digest}


def test_another_image_whose_checks_were_not_run_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    put(fake, another(image), tag_of())
    testing = Testing(status=CheckStatus.NOT_RUN)
    with pytest.raises(NotRun, match="checks were not run: a"):
        published(fake, store, home, image, testing=testing, engine=Pulling().engine())
    assert tags(fake) == {tag_of(): another(image).digest}


def relabelled(name: str, text: str) -> Callable[[AssembledImage], AssembledImage]:
    return lambda image: changed(
        image, lambda content: content["config"]["Labels"].update({name: text})
    )


@pytest.mark.parametrize(
    "change", [relabelled("io.dlimg.key", "2" * 64), relabelled("io.dlimg.gpu-tested", "no")]
)
def test_an_image_with_other_labels_is_refused_untested(
    fake: FakeRegistry,
    store: Store,
    home: dict[str, str],
    change: Callable[[AssembledImage], AssembledImage],
) -> None:
    image = stored_image(store, *LAYERS)
    put(fake, change(image), tag_of())
    testing, engine = Testing(), Pulling()
    with pytest.raises(
        Negative, match=r"is immutable and is .* already, which is no image with the content key"
    ):
        published(fake, store, home, image, testing=testing, engine=engine.engine())
    assert engine.pulled == []
    assert tags(fake) == {tag_of(): change(image).digest}


def test_an_index_under_an_immutable_name_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    put(fake, image)
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"digest": image.digest, "size": len(image.manifest), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    fake.put_manifest(NAME, index, tag_of(), kind=OCI_INDEX)
    with pytest.raises(Negative, match="no image with the content key"):
        published(fake, store, home, image, engine=Pulling().engine())
    assert set(tags(fake)) == {tag_of()}


def test_lost_blobs_of_an_existing_image_are_pushed_from_the_store(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    other = another(image)
    save_image(store, other)
    put(fake, other, tag_of())
    for content in (other.config, LAYERS[1]):
        del fake.blobs[NAME, sha256(content)]
    assert published(fake, store, home, image, engine=Pulling().engine()).is_other
    assert fake.blobs[NAME, sha256(LAYERS[1])] == LAYERS[1]


def test_an_incomplete_existing_image_is_refused(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    other = another(image)
    put(fake, other, tag_of())
    del fake.blobs[NAME, sha256(other.config)]
    engine = Pulling()
    with pytest.raises(Negative, match=f"the registry lacks {sha256(other.config)}"):
        published(fake, store, home, image, engine=engine.engine())
    assert engine.pulled == []
    assert set(tags(fake)) == {tag_of()}


@pytest.mark.parametrize("accelerator", ["cpu", CUDA])
def test_an_existing_untested_image_keeps_its_label(
    fake: FakeRegistry, store: Store, home: dict[str, str], accelerator: str
) -> None:
    """Under the name of what saw no GPU another image is tested likewise, label and all."""
    suffix = UNTESTED_SUFFIX if accelerator == CUDA else ""
    image = stored_image(store, *LAYERS, accelerator=accelerator)
    first = published(fake, store, home, image, accelerator=accelerator)
    assert first.reference.endswith(tag_of(suffix))
    there = fake.manifests[NAME, first.digest][1]
    config = json.loads(there)["config"]["digest"]
    ours = replace(image, manifest=there, config=fake.blobs[NAME, config], digest=first.digest)
    other = another(ours)
    put(fake, other, *tags(fake))
    testing, engine = Testing(), Pulling()
    published_image = published(
        fake,
        store,
        home,
        image,
        accelerator=accelerator,
        testing=testing,
        engine=engine.engine(),
    )
    assert (published_image.digest, testing.tested) == (other.digest, [other.digest])
    assert published_image.standing == first.standing


# What is lost at the registry


def test_publishing_again_writes_nothing(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    logged: list[str] = []
    first = published(fake, store, home, image, log=logged.append)
    assert any("(2 attached now, 0 already there)" in line for line in logged)
    assert any("latest is now sha256:" in line for line in logged)
    fake.read_only = True
    fake.asked.clear()
    logged.clear()
    assert published(fake, store, home, image, log=logged.append) == first
    assert fake.writes == []
    assert any("already, with all its blobs" in line for line in logged)
    assert any("(0 attached now, 2 already there)" in line for line in logged)
    assert any("latest is sha256:" in line for line in logged)


@pytest.mark.parametrize("api", [True, False])
def test_another_commit_publishes_nothing_new(
    fake: FakeRegistry, store: Store, home: dict[str, str], *, api: bool
) -> None:
    fake.referrers_api = api
    image = stored_image(store, *LAYERS)
    first = Revision(commit="a" * 40, dirty=True)
    digest = published(fake, store, home, image, revision=first).digest
    fake.read_only = True
    published(fake, store, home, image, revision=Revision(commit="b" * 40))
    published(fake, store, home, image)
    with open_registry(fake.host, Context.of(home, print)) as registry:
        referrers = list_referrers(Repository(registry=registry, name=NAME), digest)
    for referrer in referrers:
        assert referrer.annotations["org.opencontainers.image.revision"] == "a" * 40
        assert referrer.annotations["io.dlimg.dirty"] == "yes"
    assert len(referrers) == 2


CONTENTS: Mapping[str, Callable[[AssembledImage, FakeRegistry], str]] = {
    "a layer": lambda _image, _small: sha256(LAYERS[1]),
    "the config": lambda image, _small: sha256(image.config),
    "the evidence": lambda _image, fake: document(fake, MEDIA_TYPE),
    "the lock": lambda _image, fake: document(fake, LOCK_TYPE),
    "an empty config": lambda _image, _small: sha256(EMPTY),
}


def document(fake: FakeRegistry, kind: str) -> str:
    """The digest of the document of this type."""
    contents = [json.loads(text) for _, text in fake.manifests.values()]
    (result,) = {
        content["layers"][0]["digest"]
        for content in contents
        if content.get("artifactType") == kind
    }
    return str(result)


@pytest.mark.parametrize(
    ("lost", "how"), [*((lost, "gone") for lost in CONTENTS), ("a layer", "cut off")]
)
def test_lost_blobs_are_sent_again(
    fake: FakeRegistry, store: Store, home: dict[str, str], lost: str, how: str
) -> None:
    image = stored_image(store, *LAYERS)
    first = published(fake, store, home, image)
    digest = CONTENTS[lost](image, fake)
    content = fake.blobs.pop((NAME, digest))
    if how == "cut off":
        fake.blobs[NAME, digest] = content[:-1]
    assert published(fake, store, home, image) == first
    assert fake.blobs[NAME, digest] == content


@pytest.mark.parametrize("lost", CONTENTS)
def test_no_tag_moves_while_blobs_are_missing(
    fake: FakeRegistry, store: Store, home: dict[str, str], lost: str
) -> None:
    image = stored_image(store, *LAYERS)
    published(fake, store, home, image)
    digest = CONTENTS[lost](image, fake)
    del fake.blobs[NAME, digest], fake.manifests[NAME, "latest"]
    fake.loses = {digest}
    with pytest.raises(NetworkFailure, match=f"not in full: {digest}"):
        published(fake, store, home, image)
    assert "latest" not in tags(fake)


def test_a_blob_with_a_wrong_length_is_sent_again(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    path = f"HEAD /v2/{NAME}/blobs/{sha256(LAYERS[2])}"
    fake.odd[path] = [Answer(headers={"Content-Length": "4"}) for _ in range(9)]
    with pytest.raises(NetworkFailure, match=f"{sha256(LAYERS[2])} \\(10,240 bytes\\)"):
        published(fake, store, home, image)
    assert tags(fake) == {}


@pytest.mark.parametrize("name", ["latest", "full", "immutable", "digest"])
def test_a_lost_manifest_is_pushed_again(
    fake: FakeRegistry, store: Store, home: dict[str, str], name: str
) -> None:
    image = stored_image(store, *LAYERS)
    first = published(fake, store, home, image)
    full = samples.image(samples.cell("jax")).tag
    names = {"latest": "latest", "full": full, "immutable": tag_of(), "digest": image.digest}
    tag = names[name]
    kept = fake.manifests.pop((NAME, tag))
    assert published(fake, store, home, image) == first
    assert fake.manifests[NAME, tag] == kept


def test_a_listed_artifact_that_is_lost_is_attached_again(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    fake.referrers_api = False  # the list is a document of its own, and says so still
    image = stored_image(store, *LAYERS)
    first = published(fake, store, home, image)
    artifacts = [
        key
        for key, (_, text) in fake.manifests.items()
        if json.loads(text).get("artifactType") == MEDIA_TYPE
    ]
    kept = [fake.manifests.pop(key) for key in artifacts]
    assert published(fake, store, home, image) == first
    assert [fake.manifests[key] for key in artifacts] == kept


def test_an_artifact_that_holds_another_document_does_not_count(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    """A document of the same device and day, with another text."""
    image = stored_image(store, *LAYERS)
    published(fake, store, home, image)
    key, (kind, text) = next(
        (key, value)
        for key, value in fake.manifests.items()
        if json.loads(value[1]).get("artifactType") == MEDIA_TYPE
    )
    digest = document(fake, MEDIA_TYPE)
    manifest = json.loads(text)
    manifest["layers"][0]["digest"] = fake.put_blob(NAME, b"another")
    del fake.manifests[key], fake.blobs[NAME, digest]
    fake.put_manifest(NAME, manifest, kind=kind)
    published(fake, store, home, image)
    assert (NAME, digest) in fake.blobs
    assert key in fake.manifests


def test_a_read_only_registry_that_lacks_something_says_so(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    published(fake, store, home, image)
    del fake.blobs[NAME, sha256(LAYERS[0])]
    fake.read_only = True
    with pytest.raises(NetworkFailure, match="405"):
        published(fake, store, home, image)


def test_documents_are_attached_where_referrers_cannot_be_listed(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    first = published(fake, store, home, image)
    fake.odd[f"/v2/{NAME}/referrers/{first.digest}"] = [Answer(status=403)]
    assert published(fake, store, home, image) == first


def test_evidence_of_former_checks_publishes_nothing(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    image = stored_image(store, *LAYERS)
    testing = Testing(checks=(CHECK, replace(CHECK, name="new")))
    with pytest.raises(NotRun, match="no verdict of the current new"):
        published(fake, store, home, image, testing=testing)
    assert fake.asked == []


def test_other_users_own_checks_are_not_published(
    fake: FakeRegistry, store: Store, home: dict[str, str]
) -> None:
    """Their own checks are not published by somebody who never gave them."""
    image = stored_image(store, *LAYERS)
    mine = evidence_of(built_of(image))
    own = replace(mine.verdicts[0], check="their_own")
    write_evidence(
        Path(home["HOME"]) / "evidence",
        replace(mine, verdicts=(*mine.verdicts, own), host=Host(cores=7)),
        log=pytest.fail,
    )
    published(fake, store, home, image)
    content = json.loads(fake.blobs[NAME, document(fake, MEDIA_TYPE)])
    assert [verdict["check"] for verdict in content["verdicts"]] == ["a"]
    assert content["host"]["cores"] == 7


def attached_to(fake: FakeRegistry, home: dict[str, str], digest: str) -> list[str]:
    with open_registry(fake.host, Context.of(home, print)) as registry:
        referrers = list_referrers(Repository(registry=registry, name=NAME), digest)
    return [referrer.artifact_type for referrer in referrers]
