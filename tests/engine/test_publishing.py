"""Publishing to a real registry: the order, refusals, and where the tags lead."""

import gzip
import hashlib
import io
import os
import shlex
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from dlimg.checks.evidence import MEDIA_TYPE, write_evidence
from dlimg.checks.image_inputs import read_inputs, read_reference_data
from dlimg.checks.inputs import make_inputs_from_config
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.errors import Negative, NetworkFailure, NotRun
from dlimg.model import Base, BuiltImage, CheckStatus, Evidence, PlannedImage, Verdict
from dlimg.pipeline.inspect import inspect
from dlimg.publish import promote
from dlimg.publish.attach import LOCK_TYPE, AttachSettings
from dlimg.publish.policy import NOT_TESTED_ON_GPU, CheckRunner
from dlimg.publish.promote import PublishedImage, PublishRequest, publish
from dlimg.publish.push_source import ImageSources
from dlimg.publish.tags import read_config, require_manifest
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import put_manifest, read_manifest
from dlimg.registry.referrers import list_referrers
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import ImageLayer, LayerRank, assemble_image
from dlimg.store.images import save_image
from dlimg.store.keys import Layer
from dlimg.store.store import Store
from tests.support import samples, small_images
from tests.support.image_folders import files_in
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

HERE = Path(__file__).parent / "registry"
CUDA = "cuda13.2"
NOWHERE = Path("/proc/nowhere")


@pytest.fixture(scope="session")
def docker_compose_command(engine: Engine, tools_image: str) -> str:
    variables = {**engine.environment, "DLIMG_TEST_REGISTRY": tools_image}
    settings = [f"{name}={text}" for name, text in variables.items()]
    return shlex.join(["env", "-i", *settings, str(engine.docker), "compose"])


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(HERE / "docker-compose.yml")


@pytest.fixture(scope="session")
def docker_setup() -> list[str]:
    return ["up --detach --wait"]


@pytest.fixture(scope="session")
def registry(docker_services: Any) -> str:
    """The address of a running registry, as the engine sees it."""
    address = f"127.0.0.1:{docker_services.port_for('registry', 5000)}"

    def answers() -> bool:
        try:
            return requests.get(f"http://{address}/v2/", timeout=2).ok
        except requests.RequestException:
            return False

    docker_services.wait_until_responsive(check=answers, timeout=30, pause=0.2)
    return address


def small_image(base: Base, accelerator: str = "cpu", aliases: tuple[str, ...] = ()) -> Any:
    text = "FROM debian:trixie-slim\nRUN echo content > /content\nENV A=1\n"
    plan = small_images.planned(base, text, accelerator=accelerator)
    return replace(plan, image=replace(plan.image, aliases=aliases))


@pytest.fixture
def built(engine: Engine, base: Base) -> Iterator[BuiltImage]:
    one = small_image(base)
    alias = f"{one.image.tag}-alias"
    with small_images.image(
        replace(one, image=replace(one.image, aliases=(alias,))), engine
    ) as result:
        yield result


@pytest.fixture
def cuda_built(engine: Engine, base: Base) -> Iterator[BuiltImage]:
    with small_images.image(small_image(base, CUDA), engine) as result:
        yield result


def evidence(built: BuiltImage, *statuses: CheckStatus, device: str = "none") -> Evidence:
    """The first status is that of a plain check, the others of checks that need a GPU."""
    return Evidence(
        digest=built.digest,
        cell=built.planned.image.cell.id,
        device=device,
        day="2026-11-21",
        dlimg="0.1",
        engine="28",
        verdicts=tuple(
            Verdict(
                check=f"check_{number}",
                sha256="1",
                status=status,
                reason="",
                seconds=1.0,
                needs=frozenset({"gpu"} if number else ()),
            )
            for number, status in enumerate(statuses)
        ),
    )


def publish_to(  # noqa: PLR0913  # what a test cares about
    registry: str,
    engine: Engine,
    built: BuiltImage,
    found: Evidence,
    *,
    allow_untested_gpu: bool = False,
    logged: list[str] | None = None,
    test: Callable[[BuiltImage], Evidence] | None = None,
    state: Path = NOWHERE,
) -> PublishedImage:
    log = logged.append if logged is not None else print
    request = request_to(
        registry, None, allow_untested_gpu=allow_untested_gpu, test=test, state=state, log=log
    )
    return publish(built, found, sources(engine), request=request)


def request_to(
    registry: str,
    attach: AttachSettings | None,
    *,
    allow_untested_gpu: bool = False,
    test: Callable[[BuiltImage], Evidence] | None = None,
    state: Path = NOWHERE,
    log: Callable[[str], None] = print,
) -> PublishRequest:
    def refused(other: BuiltImage) -> Evidence:
        raise AssertionError(other.digest)

    runner = CheckRunner(
        checks=lambda _: (), test=test or refused, known=lambda _built, _config: None
    )
    return PublishRequest(
        to=f"{registry}/team",
        allow_untested_gpu=allow_untested_gpu,
        attach=attach,
        context=Context.of(os.environ, log),
        runner=runner,
        state=state,
    )


def sources(engine: Engine) -> ImageSources:
    """Return the engine with an empty store."""
    return ImageSources(store=Store(path=Path("/nowhere")), engine=engine, siblings=(), log=print)


def names(registry: str, built: BuiltImage) -> tuple[str, str]:
    """The immutable name and the moving one."""
    planned = built.planned
    repository = f"{registry}/team/{planned.image.cell.family}"
    tag = planned.image.tag
    return f"{repository}:{tag}-{planned.key[:12]}", f"{repository}:{tag}"


def pull(engine: Engine, reference: str) -> None:
    repository, _, tag = reference.rpartition(":")
    engine.sdk.images.pull(repository, tag)


def manifest_digest(name: str) -> str:
    """Return the registry's digest of this name, or an empty text."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    url = f"http://{host}/v2/{repository}/manifests/{tag}"
    kinds = (
        "application/vnd.oci.image.manifest.v1+json, "
        "application/vnd.docker.distribution.manifest.v2+json"
    )
    answer = requests.head(url, headers={"Accept": kinds}, timeout=10)
    assert answer.status_code in (200, 404)
    return answer.headers["Docker-Content-Digest"] if answer.ok else ""


def test_every_tag_leads_to_the_tested_digest(
    engine: Engine, registry: str, built: BuiltImage
) -> None:
    published_image = publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    immutable, moving = names(registry, built)
    assert published_image.reference == immutable
    assert published_image.standing == "tested"
    assert published_image.moved == (moving, f"{moving}-alias")
    assert published_image.digest.startswith("sha256:")
    assert {manifest_digest(name) for name in (immutable, *published_image.moved)} == {
        published_image.digest
    }
    assert not [name for name in engine.sdk.images.get(built.digest).tags if registry in name]
    pull(engine, immutable)
    assert engine.sdk.images.get(immutable).id == built.digest
    engine.sdk.images.remove(immutable)


def test_publishing_twice_changes_nothing(engine: Engine, registry: str, built: BuiltImage) -> None:
    passed = evidence(built, CheckStatus.PASSED)
    first = publish_to(registry, engine, built, passed)
    assert publish_to(registry, engine, built, passed) == first


@pytest.mark.parametrize(
    "statuses",
    first_values(
        [(CheckStatus.PASSED, CheckStatus.FAILED), (), (CheckStatus.FAILED,)], 1, pytest.mark.slow
    ),
)
def test_a_failed_or_untested_image_reaches_no_registry(
    engine: Engine, registry: str, built: BuiltImage, statuses: tuple[CheckStatus, ...]
) -> None:
    with pytest.raises(Negative):
        publish_to(registry, engine, built, evidence(built, *statuses))
    assert [manifest_digest(name) for name in names(registry, built)] == ["", ""]


def test_another_image_under_the_tested_name_is_refused(
    engine: Engine, base: Base, registry: str, built: BuiltImage
) -> None:
    # Somebody builds over the name between test and publish.
    repository, _, tag = built.planned.reference.rpartition(":")
    engine.sdk.images.get(base.reference.removeprefix("docker-image://")).tag(repository, tag)
    with pytest.raises(Negative, match="was tested"):
        publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    assert [manifest_digest(name) for name in names(registry, built)] == ["", ""]


def test_a_taken_immutable_name_is_refused_and_nothing_moves(
    engine: Engine, base: Base, registry: str, built: BuiltImage
) -> None:
    immutable, moving = names(registry, built)
    repository, _, tag = immutable.rpartition(":")
    engine.sdk.images.get(base.reference.removeprefix("docker-image://")).tag(repository, tag)
    engine.sdk.images.push(repository, tag=tag)
    engine.sdk.images.remove(immutable)
    before = manifest_digest(immutable)
    assert before
    with pytest.raises(Negative, match="no image with the content key"):
        publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    assert manifest_digest(immutable) == before
    assert manifest_digest(moving) == ""


def built_again(engine: Engine, built: BuiltImage, content: str = "newer") -> BuiltImage:
    """Build the image again with other bytes under the same content key."""
    text = f"FROM debian:trixie-slim\nRUN echo {content} > /content\n"
    image = replace(built.planned.image, dockerfile=text)
    engine.sdk.images.remove(built.planned.reference)
    (again,) = small_images.built_all([replace(built.planned, image=image)], engine)
    assert isinstance(again, BuiltImage)
    assert again.digest != built.digest
    return again


def is_content(engine: Engine, other: BuiltImage, content: str) -> Evidence:
    """Return evidence of a check that really ran in the image."""
    output = engine.sdk.containers.run(other.digest, ["cat", "/content"], remove=True)
    passed = output.decode().strip() == content
    return evidence(other, CheckStatus.PASSED if passed else CheckStatus.FAILED)


def test_an_existing_image_with_the_same_key_is_pulled_and_tested(
    engine: Engine, base: Base, registry: str, built: BuiltImage
) -> None:
    first = publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    again = built_again(engine, built)
    assert not small_images.has_image(engine, built.digest)
    passed = evidence(again, CheckStatus.PASSED)
    tested: list[str] = []

    def test(other: BuiltImage) -> Evidence:
        tested.append(other.digest)
        return is_content(engine, other, "content")

    logged: list[str] = []
    published_image = publish_to(registry, engine, again, passed, logged=logged, test=test)
    assert published_image == replace(first, is_other=True)
    assert tested == [built.digest]
    assert f"is {first.digest} already, another image with the same content key" in logged[0]
    # A name that leads elsewhere is brought back to what was published.
    immutable, moving = names(registry, built)
    repository, _, tag = moving.rpartition(":")
    engine.sdk.images.get(base.reference.removeprefix("docker-image://")).tag(repository, tag)
    engine.sdk.images.push(repository, tag=tag)
    engine.sdk.images.remove(moving)
    assert manifest_digest(moving) != first.digest
    publish_to(registry, engine, again, passed, test=test)
    assert manifest_digest(moving) == manifest_digest(immutable) == first.digest
    assert not small_images.has_image(engine, f"{repository}@{first.digest}")
    assert not small_images.has_image(engine, built.digest)


def test_an_existing_image_that_fails_is_refused(
    engine: Engine, registry: str, built: BuiltImage
) -> None:
    """The same labels, and other bytes than those that were tested."""
    lie = built_again(engine, built, "lie")
    immutable, moving = names(registry, built)
    repository, _, tag = immutable.rpartition(":")
    image = engine.sdk.images.get(lie.digest)
    image.tag(repository, tag)
    engine.sdk.images.push(repository, tag=tag)
    engine.sdk.images.remove(immutable)
    good = built_again(engine, lie, "content")
    assert engine.sdk.images.get(good.digest).labels == image.labels

    def test(other: BuiltImage) -> Evidence:
        return is_content(engine, other, "content")

    passed = evidence(good, CheckStatus.PASSED)
    with pytest.raises(Negative, match="no tag is moved to it: checks failed"):
        publish_to(registry, engine, good, passed, test=test)
    assert manifest_digest(immutable) == lie.digest
    assert manifest_digest(moving) == ""
    assert not small_images.has_image(engine, f"{repository}@{lie.digest}")
    assert not small_images.has_image(engine, lie.digest)


def test_inputs_of_checks_are_equal_from_registry_and_engine(
    engine: Engine, registry: str, built: BuiltImage
) -> None:
    """Evidence of an image that is not in the engine is found by its config at the registry."""
    published_image = publish_to(registry, engine, built, evidence(built, CheckStatus.PASSED))
    with open_registry(registry, Context.of(os.environ, print)) as there:
        place = Repository(registry=there, name=f"team/{built.planned.image.cell.family}")
        config = read_config(place, require_manifest(place, published_image.digest))
    images = Path(__file__).parents[2] / "images"
    reference = read_reference_data(built.planned, engine, files_in(images))
    assert make_inputs_from_config(built.planned, config, reference) == read_inputs(
        built, engine, files_in(images)
    )
    other = {**config, "config": {**config["config"], "Env": ["A=2"]}}
    assert make_inputs_from_config(built.planned, other, reference) != read_inputs(
        built, engine, files_in(images)
    )


STORAGE = "/var/lib/registry/docker/registry/v2/blobs/sha256"


def lose(engine: Engine, registry: str, digest: str) -> None:
    """Delete this blob from the storage of the running registry."""
    (container,) = (
        container
        for container in engine.sdk.containers.list()
        if any(
            f":{port['HostPort']}" in registry
            for ports in container.ports.values()
            for port in ports or ()
        )
    )
    name = digest.removeprefix("sha256:")
    code, output = container.exec_run(["rm", "-r", f"{STORAGE}/{name[:2]}/{name}"])
    assert code == 0, output


def manifest_of(registry: str, built: BuiltImage, digest: str) -> Mapping[str, Any]:
    with open_registry(registry, Context.of(os.environ, print)) as there:
        place = Repository(registry=there, name=f"team/{built.planned.image.cell.family}")
        result = read_manifest(place, digest)
    assert result is not None
    return result.content


@pytest.mark.parametrize("part", first_values(["layer", "config"], 1, pytest.mark.slow))
def test_a_lost_blob_is_sent_again(
    engine: Engine, registry: str, built: BuiltImage, part: str
) -> None:
    passed = evidence(built, CheckStatus.PASSED)
    first = publish_to(registry, engine, built, passed)
    manifest = manifest_of(registry, built, first.digest)
    lost = (manifest["layers"][-1] if part == "layer" else manifest["config"])["digest"]
    lose(engine, registry, lost)
    logged: list[str] = []
    assert publish_to(registry, engine, built, passed, logged=logged) == first
    assert "the registry lacks 1 of its blobs" in logged[0]
    url = f"http://{registry}/v2/team/{built.planned.image.cell.family}/blobs/{lost}"
    answer = requests.get(url, timeout=10)
    assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == lost
    logged.clear()
    assert publish_to(registry, engine, built, passed, logged=logged) == first
    assert "already, with all its blobs" in logged[0]


def test_an_untested_cuda_image_needs_an_option(
    engine: Engine, registry: str, cuda_built: BuiltImage
) -> None:
    with pytest.raises(NotRun, match="not tested on a GPU"):
        publish_to(registry, engine, cuda_built, evidence(cuda_built, CheckStatus.PASSED))
    assert [manifest_digest(name) for name in names(registry, cuda_built)] == ["", ""]


def test_an_image_without_a_gpu_test_is_labelled(
    engine: Engine, registry: str, cuda_built: BuiltImage
) -> None:
    lacking = evidence(cuda_built, CheckStatus.PASSED, CheckStatus.NOT_RUN)
    logged: list[str] = []
    first = publish_to(
        registry, engine, cuda_built, lacking, allow_untested_gpu=True, logged=logged
    )
    assert publish_to(registry, engine, cuda_built, lacking, allow_untested_gpu=True) == first
    immutable, moving = names(registry, cuda_built)
    assert first.standing == NOT_TESTED_ON_GPU
    assert first.reference == f"{immutable}-not-gpu-tested"
    assert first.digest != cuda_built.digest
    assert NOT_TESTED_ON_GPU in logged[0]
    assert manifest_digest(immutable) == ""
    assert manifest_digest(moving) == first.digest
    pull(engine, first.reference)
    pulled = engine.sdk.images.get(first.reference)
    tested = engine.sdk.images.get(cuda_built.digest)
    assert pulled.labels == {
        **tested.labels,
        "io.dlimg.gpu-tested": "no",
        "io.dlimg.tested-digest": cuda_built.digest,
    }
    assert pulled.attrs["RootFS"] == tested.attrs["RootFS"]
    engine.sdk.images.remove(first.reference)
    assert not small_images.has_image(engine, f"{cuda_built.planned.reference}-not-gpu-tested")


def test_a_gpu_tested_image_takes_the_names_and_keeps_them(
    engine: Engine, registry: str, cuda_built: BuiltImage
) -> None:
    lacking = evidence(cuda_built, CheckStatus.PASSED, CheckStatus.NOT_RUN)
    full = evidence(cuda_built, CheckStatus.PASSED, CheckStatus.PASSED, device="nvidia.com/gpu=all")
    immutable, moving = names(registry, cuda_built)
    publish_to(registry, engine, cuda_built, lacking, allow_untested_gpu=True)
    tested = publish_to(registry, engine, cuda_built, full)
    assert tested.standing == "tested"
    assert manifest_digest(immutable) == manifest_digest(moving) == tested.digest
    with pytest.raises(Negative, match="was tested on a GPU"):
        publish_to(registry, engine, cuda_built, lacking, allow_untested_gpu=True)
    assert manifest_digest(moving) == tested.digest


def test_a_registry_that_does_not_answer_is_a_network_failure(
    engine: Engine, built: BuiltImage
) -> None:
    with pytest.raises(NetworkFailure, match="cannot be reached") as raised:
        publish_to("127.0.0.1:9", engine, built, evidence(built, CheckStatus.PASSED))
    assert raised.value.exit_code == 5


def attached_to(registry: str, built: BuiltImage, digest: str) -> list[tuple[str, str]]:
    """Return type and device of each document attached to this digest."""
    with open_registry(registry, Context.of(os.environ, print)) as there:
        repository = Repository(registry=there, name=f"team/{built.planned.image.cell.family}")
        return [
            (referrer.artifact_type, referrer.annotations.get("io.dlimg.device", ""))
            for referrer in list_referrers(repository, digest)
        ]


@pytest.mark.slow
def test_evidence_of_each_device_is_attached_once(
    engine: Engine, registry: str, built: BuiltImage, tmp_path: Path
) -> None:
    passed = evidence(built, CheckStatus.PASSED)
    write_evidence(tmp_path, evidence(built, CheckStatus.PASSED, device="gpu=0"), log=print)
    logged: list[str] = []
    attach = AttachSettings(evidence=tmp_path)
    request = request_to(registry, attach, log=logged.append)
    first = publish(built, passed, sources(engine), request=request)
    expected = [(LOCK_TYPE, ""), (MEDIA_TYPE, "gpu=0"), (MEDIA_TYPE, "none")]
    assert attached_to(registry, built, first.digest) == expected
    assert publish(built, passed, sources(engine), request=request) == first
    assert attached_to(registry, built, first.digest) == expected
    attached = [line for line in logged if "evidence by device" in line]
    assert "evidence by device: gpu=0, none (3 attached now, 0 already there)" in attached[0]
    assert "(0 attached now, 3 already there)" in attached[1]


@pytest.mark.slow
def test_evidence_of_a_labelled_image_names_the_tested_digest(
    engine: Engine, registry: str, cuda_built: BuiltImage, tmp_path: Path
) -> None:
    lacking = evidence(cuda_built, CheckStatus.PASSED, CheckStatus.NOT_RUN)
    attach = AttachSettings(evidence=tmp_path)
    request = request_to(registry, attach, allow_untested_gpu=True)
    published_image = publish(cuda_built, lacking, sources(engine), request=request)
    assert published_image.digest != cuda_built.digest
    assert attached_to(registry, cuda_built, published_image.digest) == [
        (LOCK_TYPE, ""),
        (MEDIA_TYPE, "none"),
    ]
    # What BuildKit has labelled is proved to be the tested one, by the registry alone.
    alone = {"DOCKER_HOST": f"unix://{tmp_path}/none", "HOME": str(tmp_path)}
    seen = inspect(published_image.reference, Context.of(alone, print))
    assert seen.content.tested_digest == cuda_built.digest
    assert [proof.evidence for proof in seen.proofs] == [lacking]
    # And by the engine, which has both.
    here = {**engine.environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    repository, _, tag = published_image.reference.rpartition(":")
    engine.sdk.images.pull(repository, tag=tag)
    try:
        assert (
            inspect(published_image.reference, Context.of(here, print)).content.tested_digest
            == cuda_built.digest
        )
    finally:
        engine.sdk.images.remove(published_image.reference)


def test_no_tag_moves_to_an_image_whose_evidence_cannot_be_attached(
    engine: Engine,
    registry: str,
    built: BuiltImage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(
        _built: BuiltImage, _evidence: Evidence, reference: str, *_: object, **__: object
    ) -> None:
        assert manifest_digest(names(registry, built)[0]) in reference
        raise NetworkFailure("the registry takes no such thing", hint="ask somebody")

    monkeypatch.setattr(promote, "attach_documents", refuse)
    request = request_to(registry, AttachSettings(evidence=tmp_path))
    with pytest.raises(NetworkFailure, match="its evidence is not attached") as raised:
        publish(built, evidence(built, CheckStatus.PASSED), sources(engine), request=request)
    assert "ask somebody; --no-evidence publishes without" in str(raised.value)
    immutable, moving = names(registry, built)
    assert manifest_digest(immutable)
    assert manifest_digest(moving) == ""


def test_evidence_is_attached_to_the_image_that_it_is_about(
    engine: Engine, registry: str, built: BuiltImage, tmp_path: Path
) -> None:
    """An existing image gets its own evidence, not that of the image built here."""
    attach = AttachSettings(evidence=tmp_path)
    request = request_to(
        registry, attach, test=lambda other: evidence(other, CheckStatus.PASSED, device="gpu=0")
    )
    first = publish(built, evidence(built, CheckStatus.PASSED), sources(engine), request=request)
    again = built_again(engine, built)
    other = evidence(again, CheckStatus.PASSED, device="gpu=1")
    assert publish(again, other, sources(engine), request=request).digest == first.digest
    expected = [(LOCK_TYPE, ""), (MEDIA_TYPE, "gpu=0"), (MEDIA_TYPE, "none")]
    assert sorted(attached_to(registry, built, first.digest)) == sorted(expected)


def test_a_published_image_is_inspected_with_and_without_the_engine(
    engine: Engine, registry: str, built: BuiltImage, tmp_path: Path
) -> None:
    attach = AttachSettings(evidence=tmp_path)
    request = request_to(registry, attach)
    passed = evidence(built, CheckStatus.PASSED)
    published_image = publish(built, passed, sources(engine), request=request)
    alone = {"DOCKER_HOST": f"unix://{tmp_path}/none", "HOME": str(tmp_path)}
    far = inspect(published_image.moved[0], Context.of(alone, print))
    assert (far.content.source, far.content.digest) == ("registry", published_image.digest)
    assert [proof.evidence for proof in far.proofs] == [passed]
    assert far.content.compressed
    here = {**engine.environment, "XDG_STATE_HOME": str(tmp_path)}
    near = inspect(built.planned.reference, Context.of(here, print))
    assert (near.content.source, near.content.digest) == ("engine", built.digest)
    assert near.proofs == ()
    assert near.content.size
    for one in ("user", "workdir", "entrypoint", "command", "labels", "steps", "platform"):
        assert getattr(near.content, one) == getattr(far.content, one), one
    assert [layer.step for layer in near.content.layers] == [
        layer.step for layer in far.content.layers
    ]
    assert inspect(built.digest, Context.of(here, print)).content.labels == near.content.labels


@pytest.mark.slow
def test_a_pulled_image_is_inspected_with_its_documents(
    engine: Engine, base: Base, registry: str, built: BuiltImage, tmp_path: Path
) -> None:
    attach = AttachSettings(evidence=tmp_path)
    request = request_to(registry, attach)
    passed = evidence(built, CheckStatus.PASSED)
    published_image = publish(built, passed, sources(engine), request=request)
    name = published_image.moved[0]
    repository, _, tag = name.rpartition(":")
    here = {**engine.environment, "XDG_STATE_HOME": str(tmp_path)}
    engine.sdk.images.pull(repository, tag=tag)
    try:
        seen = inspect(name, Context.of(here, print))
        assert seen.content.source == "engine"
        assert [proof.where for proof in seen.proofs] == [("at the registry",)]
        assert seen.remarks == ()
        engine.sdk.images.get(base.reference.removeprefix("docker-image://")).tag(repository, "x")
        engine.sdk.images.push(repository, tag="x")
        other = manifest_digest(f"{repository}:x")
        with open_registry(registry, Context.of(os.environ, print)) as there:
            place = Repository(registry=there, name=repository.partition("/")[2])
            manifest = read_manifest(place, other)
            assert manifest is not None
            put_manifest(place, tag, manifest.text, manifest.media_type)
        (remark,) = inspect(name, Context.of(here, print)).remarks
        assert f"another image under this name: {other}" in remark
    finally:
        engine.sdk.images.remove(name)
        engine.sdk.images.remove(f"{repository}:x")


def in_store(store: Store, planned: PlannedImage, *texts: bytes) -> BuiltImage:
    """An image in the store alone, with a layer for each text."""
    layers = []
    for text in texts:
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as archive:
            member = tarfile.TarInfo(f"file-{hashlib.sha256(text).hexdigest()[:8]}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        content = gzip.compress(tar.getvalue(), mtime=0)
        layer = Layer(
            digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
            size=len(content),
            diff_id=f"sha256:{hashlib.sha256(tar.getvalue()).hexdigest()}",
            unpacked=len(tar.getvalue()),
        )
        store.blobs.mkdir(parents=True, exist_ok=True)
        store.blob(layer).write_bytes(content)
        layers.append(ImageLayer(layer=layer, rank=LayerRank.FRAMEWORK, history="wheel: some"))
    image = assemble_image(planned, layers, ImageConfig(cmd=("/file",)))
    save_image(store, image)
    return BuiltImage(planned=planned, digest=image.digest, size=1, seconds=1.0, cached=False)


def test_assembled_images_are_pushed_without_the_engine_and_share_layers(
    engine: Engine, registry: str, tmp_path: Path
) -> None:
    store = Store(path=tmp_path)
    shared = [os.urandom(2_000_000), os.urandom(3_000_000)]
    logged: list[str] = []
    from_store = ImageSources(
        store=store, engine=None, siblings=("team/store", "team/store-2"), log=logged.append
    )
    request = request_to(registry, None, log=logged.append)
    published = []
    for family, own, expected in (
        ("store", b"a", "4 uploaded (5 MB), 0 mounted, 0 already there"),
        ("store", b"b", "2 uploaded (0 MB), 0 mounted, 2 already there"),
        ("store-2", b"a", "1 uploaded (0 MB), 3 mounted, 0 already there"),
    ):
        planned = samples.planned(samples.image(samples.cell(family)), key=own.hex() * 32)
        built = in_store(store, planned, *shared, own)
        passed = evidence(built, CheckStatus.PASSED)
        published_image = publish(built, passed, from_store, request=request)
        assert published_image.digest == built.digest == manifest_digest(published_image.reference)
        assert f"{registry}/team/{family}: {expected}" in logged
        assert manifest_digest(published_image.moved[0]) == built.digest
        published.append(published_image)
    last = published[-1]
    pull(engine, last.reference)
    assert engine.sdk.images.get(last.reference).id == last.digest
    engine.sdk.images.remove(last.reference)
