"""Names move only to bytes that were tested here, all of which are at the registry."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.evidence import MEDIA_TYPE, write_evidence
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
from tests.support.fake_registry import OCI_INDEX, Answer, Small, running, sha256
from tests.support.publishing import (
    CHECK,
    KEY,
    Pulling,
    Testing,
    an_image,
    built_of,
    evidence_of,
    published,
)

NAME = "team/jax"
LAYERS = (b"one", b"two", b"three")
CUDA = "cuda13.2"


def tag_of(suffix: str = "") -> str:
    return f"{samples.image(samples.cell('jax')).tag}-{KEY[:12]}{suffix}"


@pytest.fixture
def small() -> Iterator[Small]:
    with running(Small()) as one:
        yield one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "layers")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}


def changed(image: AssembledImage, change: Callable[[dict[str, Any]], None]) -> AssembledImage:
    """Other bytes under the labels that the image has."""
    said = json.loads(image.config)
    change(said)
    config = json.dumps(said).encode()
    named = json.loads(image.manifest)
    named["config"] |= {"digest": sha256(config), "size": len(config)}
    manifest = json.dumps(named).encode()
    return replace(image, config=config, manifest=manifest, digest=sha256(manifest))


def another(image: AssembledImage) -> AssembledImage:
    return changed(image, lambda said: said["config"].update(Env=["A=another"]))


def put(small: Small, image: AssembledImage, *tags: str) -> None:
    for content in (image.config, *LAYERS):
        small.put_blob(NAME, content)
    small.put_manifest(NAME, image.manifest, *tags, kind=image.media_type)


def tags(small: Small) -> dict[str, str]:
    """What each name leads to."""
    return {
        version: sha256(text)
        for (_, version), (_, text) in small.manifests.items()
        if not version.startswith("sha256")
    }


# A lie: the same labels and other bytes


def test_another_image_with_the_same_labels_that_fails_is_refused(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    put(small, another(image), tag_of())
    testing, engine = Testing(status=CheckStatus.FAILED), Pulling()
    with pytest.raises(Negative, match="no tag is moved to it: checks failed: a") as raised:
        published(small, store, home, image, testing=testing, engine=engine.engine())
    assert "delete that tag at the registry" in str(raised.value)
    assert engine.pulled == testing.tested == [another(image).digest]
    assert engine.there == set()
    assert tags(small) == {tag_of(): another(image).digest}
    assert small.writes == []


def test_another_image_that_passes_gets_the_names_and_the_one_built_here_is_not_pushed(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    other = another(image)
    put(small, other, tag_of())
    said: list[str] = []
    testing, engine = Testing(), Pulling()
    found = published(
        small, store, home, image, testing=testing, engine=engine.engine(), said=said.append
    )
    assert (found.digest, found.is_other) == (other.digest, True)
    assert testing.tested == [other.digest]
    assert set(tags(small).values()) == {other.digest}
    assert len(tags(small)) == 3
    assert (NAME, sha256(image.config)) not in small.blobs
    assert f"{image.digest}, which was built here and is not pushed" in said[0]
    assert beside(small, home, other.digest) == [LOCK_TYPE, MEDIA_TYPE]
    assert beside(small, home, image.digest) == []


def test_what_this_machine_has_tested_before_is_not_pulled_again(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    other = another(image)
    put(small, other, tag_of())
    known = replace(evidence_of(built_of(other)), day="2026-11-01")
    testing = Testing(known={other.digest: known})
    said: list[str] = []
    found = published(small, store, home, image, testing=testing, said=said.append)
    assert (found.digest, testing.tested) == (other.digest, [])
    assert any("was tested on this machine on 2026-11-01" in line for line in said)


@pytest.mark.parametrize("status", [CheckStatus.FAILED, CheckStatus.NOT_RUN])
def test_what_failed_here_before_is_tested_again(
    small: Small, store: Store, home: dict[str, str], status: CheckStatus
) -> None:
    image = an_image(store, *LAYERS)
    other = another(image)
    put(small, other, tag_of())
    testing = Testing(known={other.digest: evidence_of(built_of(other), status)})
    engine = Pulling().engine()
    assert published(small, store, home, image, testing=testing, engine=engine).is_other
    assert testing.tested == [other.digest]


def test_another_image_without_an_engine_to_test_it_is_refused(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    put(small, another(image), tag_of())
    with pytest.raises(NotRun, match="there is no engine to pull it with") as raised:
        published(small, store, home, image)
    assert raised.value.exit_code == 3
    assert tags(small) == {tag_of(): another(image).digest}


def test_another_image_whose_checks_were_not_run_is_refused(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    put(small, another(image), tag_of())
    testing = Testing(status=CheckStatus.NOT_RUN)
    with pytest.raises(NotRun, match="checks were not run: a"):
        published(small, store, home, image, testing=testing, engine=Pulling().engine())
    assert tags(small) == {tag_of(): another(image).digest}


def relabelled(name: str, text: str) -> Callable[[AssembledImage], AssembledImage]:
    return lambda image: changed(image, lambda said: said["config"]["Labels"].update({name: text}))


@pytest.mark.parametrize(
    "change", [relabelled("io.dlimg.key", "2" * 64), relabelled("io.dlimg.gpu-tested", "no")]
)
def test_an_image_with_other_labels_is_refused_untested(
    small: Small,
    store: Store,
    home: dict[str, str],
    change: Callable[[AssembledImage], AssembledImage],
) -> None:
    image = an_image(store, *LAYERS)
    put(small, change(image), tag_of())
    testing, engine = Testing(), Pulling()
    with pytest.raises(
        Negative, match=r"is immutable and is .* already, which is no image with the content key"
    ):
        published(small, store, home, image, testing=testing, engine=engine.engine())
    assert engine.pulled == []
    assert tags(small) == {tag_of(): change(image).digest}


def test_an_index_under_an_immutable_name_is_refused(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    put(small, image)
    platform = {"os": "linux", "architecture": "amd64"}
    entry = {"digest": image.digest, "size": len(image.manifest), "platform": platform}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    small.put_manifest(NAME, index, tag_of(), kind=OCI_INDEX)
    with pytest.raises(Negative, match="no image with the content key"):
        published(small, store, home, image, engine=Pulling().engine())
    assert set(tags(small)) == {tag_of()}


def test_another_image_that_the_store_remembers_is_mended_before_it_is_tested(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    other = another(image)
    save_image(store, other)
    put(small, other, tag_of())
    for content in (other.config, LAYERS[1]):
        del small.blobs[NAME, sha256(content)]
    assert published(small, store, home, image, engine=Pulling().engine()).is_other
    assert small.blobs[NAME, sha256(LAYERS[1])] == LAYERS[1]


def test_another_image_that_nobody_can_pull_is_refused_by_what_it_lacks(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    other = another(image)
    put(small, other, tag_of())
    del small.blobs[NAME, sha256(other.config)]
    engine = Pulling()
    with pytest.raises(Negative, match=f"the registry lacks {sha256(other.config)}"):
        published(small, store, home, image, engine=engine.engine())
    assert engine.pulled == []
    assert set(tags(small)) == {tag_of()}


@pytest.mark.parametrize("accelerator", ["cpu", CUDA])
def test_names_stay_with_the_label_that_says_how_it_was_tested(
    small: Small, store: Store, home: dict[str, str], accelerator: str
) -> None:
    """Under the name of what saw no GPU another image is tested likewise, label and all."""
    suffix = UNTESTED_SUFFIX if accelerator == CUDA else ""
    image = an_image(store, *LAYERS, accelerator=accelerator)
    first = published(small, store, home, image, accelerator=accelerator)
    assert first.reference.endswith(tag_of(suffix))
    there = small.manifests[NAME, first.digest][1]
    config = json.loads(there)["config"]["digest"]
    ours = replace(image, manifest=there, config=small.blobs[NAME, config], digest=first.digest)
    other = another(ours)
    put(small, other, *tags(small))
    testing, engine = Testing(), Pulling()
    found = published(
        small,
        store,
        home,
        image,
        accelerator=accelerator,
        testing=testing,
        engine=engine.engine(),
    )
    assert (found.digest, testing.tested) == (other.digest, [other.digest])
    assert found.standing == first.standing


# What is lost at the registry


def test_publishing_again_writes_nothing(small: Small, store: Store, home: dict[str, str]) -> None:
    image = an_image(store, *LAYERS)
    said: list[str] = []
    first = published(small, store, home, image, said=said.append)
    assert any("(2 attached now, 0 already there)" in line for line in said)
    assert any("latest is now sha256:" in line for line in said)
    small.read_only = True
    small.asked.clear()
    said.clear()
    assert published(small, store, home, image, said=said.append) == first
    assert small.writes == []
    assert any("already, with all its blobs" in line for line in said)
    assert any("(0 attached now, 2 already there)" in line for line in said)
    assert any("latest is sha256:" in line for line in said)


@pytest.mark.parametrize("api", [True, False])
def test_another_commit_publishes_nothing_new(
    small: Small, store: Store, home: dict[str, str], *, api: bool
) -> None:
    small.referrers_api = api
    image = an_image(store, *LAYERS)
    first = Revision(commit="a" * 40, dirty=True)
    digest = published(small, store, home, image, revision=first).digest
    small.read_only = True
    published(small, store, home, image, revision=Revision(commit="b" * 40))
    published(small, store, home, image)
    with open_registry(small.host, home) as registry:
        found = list_referrers(Repository(registry=registry, name=NAME), digest)
    for one in found:
        assert one.annotations["org.opencontainers.image.revision"] == "a" * 40
        assert one.annotations["io.dlimg.dirty"] == "yes"
    assert len(found) == 2


CONTENTS: Mapping[str, Callable[[AssembledImage, Small], str]] = {
    "a layer": lambda _image, _small: sha256(LAYERS[1]),
    "the config": lambda image, _small: sha256(image.config),
    "the evidence": lambda _image, small: document(small, MEDIA_TYPE),
    "the lock": lambda _image, small: document(small, LOCK_TYPE),
    "an empty config": lambda _image, _small: sha256(EMPTY),
}


def document(small: Small, kind: str) -> str:
    """The digest of the document of this type."""
    contents = [json.loads(text) for _, text in small.manifests.values()]
    (found,) = {one["layers"][0]["digest"] for one in contents if one.get("artifactType") == kind}
    return str(found)


@pytest.mark.parametrize("lost", CONTENTS)
@pytest.mark.parametrize("how", ["gone", "cut off"])
def test_what_the_registry_has_lost_is_sent_again(
    small: Small, store: Store, home: dict[str, str], lost: str, how: str
) -> None:
    image = an_image(store, *LAYERS)
    first = published(small, store, home, image)
    digest = CONTENTS[lost](image, small)
    content = small.blobs.pop((NAME, digest))
    if how == "cut off":
        small.blobs[NAME, digest] = content[:-1]
    assert published(small, store, home, image) == first
    assert small.blobs[NAME, digest] == content


@pytest.mark.parametrize("lost", CONTENTS)
def test_what_the_registry_loses_at_once_is_named_and_no_name_moves(
    small: Small, store: Store, home: dict[str, str], lost: str
) -> None:
    image = an_image(store, *LAYERS)
    published(small, store, home, image)
    digest = CONTENTS[lost](image, small)
    del small.blobs[NAME, digest], small.manifests[NAME, "latest"]
    small.loses = {digest}
    with pytest.raises(NetworkFailure, match=f"not in full: {digest}"):
        published(small, store, home, image)
    assert "latest" not in tags(small)


def test_a_wrong_length_is_not_believed(small: Small, store: Store, home: dict[str, str]) -> None:
    image = an_image(store, *LAYERS)
    path = f"HEAD /v2/{NAME}/blobs/{sha256(LAYERS[2])}"
    small.odd[path] = [Answer(headers={"Content-Length": "4"}) for _ in range(9)]
    with pytest.raises(NetworkFailure, match=f"{sha256(LAYERS[2])} \\(5 bytes\\)"):
        published(small, store, home, image)
    assert tags(small) == {}


@pytest.mark.parametrize("name", ["latest", "full", "immutable", "digest"])
def test_a_name_whose_manifest_is_lost_is_given_again(
    small: Small, store: Store, home: dict[str, str], name: str
) -> None:
    image = an_image(store, *LAYERS)
    first = published(small, store, home, image)
    full = samples.image(samples.cell("jax")).tag
    names = {"latest": "latest", "full": full, "immutable": tag_of(), "digest": image.digest}
    tag = names[name]
    kept = small.manifests.pop((NAME, tag))
    assert published(small, store, home, image) == first
    assert small.manifests[NAME, tag] == kept


def test_an_artifact_that_is_listed_and_lost_is_laid_again(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    small.referrers_api = False  # the list is a document of its own, and says so still
    image = an_image(store, *LAYERS)
    first = published(small, store, home, image)
    artifacts = [
        key
        for key, (_, text) in small.manifests.items()
        if json.loads(text).get("artifactType") == MEDIA_TYPE
    ]
    kept = [small.manifests.pop(key) for key in artifacts]
    assert published(small, store, home, image) == first
    assert [small.manifests[key] for key in artifacts] == kept


def test_an_artifact_that_holds_another_document_does_not_count(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    """A document of the same device and day, with another text."""
    image = an_image(store, *LAYERS)
    published(small, store, home, image)
    key, (kind, text) = next(
        (key, value)
        for key, value in small.manifests.items()
        if json.loads(value[1]).get("artifactType") == MEDIA_TYPE
    )
    digest = document(small, MEDIA_TYPE)
    manifest = json.loads(text)
    manifest["layers"][0]["digest"] = small.put_blob(NAME, b"another")
    del small.manifests[key], small.blobs[NAME, digest]
    small.put_manifest(NAME, manifest, kind=kind)
    published(small, store, home, image)
    assert (NAME, digest) in small.blobs
    assert key in small.manifests


def test_a_read_only_registry_that_lacks_something_says_so(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    published(small, store, home, image)
    del small.blobs[NAME, sha256(LAYERS[0])]
    small.read_only = True
    with pytest.raises(NetworkFailure, match="405"):
        published(small, store, home, image)


def test_a_registry_that_lists_nothing_is_sent_the_documents_again(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    first = published(small, store, home, image)
    small.odd[f"/v2/{NAME}/referrers/{first.digest}"] = [Answer(status=403)]
    assert published(small, store, home, image) == first


def test_evidence_of_other_checks_than_those_of_today_publishes_nothing(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    image = an_image(store, *LAYERS)
    testing = Testing(checks=(CHECK, replace(CHECK, name="new")))
    with pytest.raises(NotRun, match="no verdict of the current new"):
        published(small, store, home, image, testing=testing)
    assert small.asked == []


def test_the_evidence_of_others_with_more_checks_is_laid_without_those(
    small: Small, store: Store, home: dict[str, str]
) -> None:
    """Their own checks are not published by somebody who never gave them."""
    image = an_image(store, *LAYERS)
    mine = evidence_of(built_of(image))
    own = replace(mine.verdicts[0], check="their_own")
    write_evidence(
        Path(home["HOME"]) / "evidence",
        replace(mine, verdicts=(*mine.verdicts, own), host=Host(cores=7)),
        log=pytest.fail,
    )
    published(small, store, home, image)
    said = json.loads(small.blobs[NAME, document(small, MEDIA_TYPE)])
    assert [one["check"] for one in said["verdicts"]] == ["a"]
    assert said["host"]["cores"] == 7


def beside(small: Small, home: dict[str, str], digest: str) -> list[str]:
    with open_registry(small.host, home) as registry:
        found = list_referrers(Repository(registry=registry, name=NAME), digest)
    return [one.artifact_type for one in found]
