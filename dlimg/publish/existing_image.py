"""An existing image under an immutable name, other than the one that was built here.

Its labels prove nothing, so this machine tests it, unless it has done so before. If it passes,
the moving tags are moved to it, and the image that was built here is not pushed.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import docker
import requests

from dlimg.engine.client import Engine, error_reason, has_containerd_store
from dlimg.errors import DlimgError, Negative, NetworkFailure, NotRun
from dlimg.model import BuiltImage, Evidence
from dlimg.publish.manifest_identity import is_recorded, layers_match_config, record_manifest
from dlimg.publish.policy import CheckRunner, Standing, check_policy
from dlimg.publish.push import push_blobs
from dlimg.publish.push_source import ImageSources, PushSource
from dlimg.publish.relabel import GPU_TESTED_LABEL
from dlimg.publish.tags import Destination, blobs_of, digests_of, parse_labels, read_config
from dlimg.registry.blobs import missing_blobs
from dlimg.registry.manifests import Manifest, parse_descriptor
from dlimg.render.bake import KEY_LABEL
from dlimg.store.images import load_image

_HINT: Final = (
    "delete that tag at the registry if the image is not needed, or publish to another place"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingImage:
    """The registry's image under the immutable name, and the one that was built here for it.

    `standing` is the built image's.
    """

    destination: Destination
    manifest: Manifest
    built: BuiltImage
    source: PushSource
    standing: Standing
    allow_untested_gpu: bool

    @property
    def text(self) -> str:
        """A text such as `host/team/jax:1-cpu-0123456789ab is sha256:...`, for messages."""
        return f"{self.destination.reference} is {self.manifest.digest}"

    @property
    def cell(self) -> str:
        return self.built.planned.image.cell.id


def verify_existing_image(
    existing: ExistingImage, runner: CheckRunner, sources: ImageSources
) -> tuple[BuiltImage, Evidence]:
    """Return the existing image with evidence as good as that of the image built here.

    Pulls and tests it unless this machine has tested it before. Raises `Negative` when it has
    another content key, is incomplete, or fails; `NotRun` when it cannot be tested here;
    `NetworkFailure` when it cannot be pulled.
    """
    _check_blobs(existing, sources)
    _check_labels(existing)
    log = existing.destination.log
    log(
        f"{existing.text} already, another image with the same content key as "
        f"{existing.source.digest}, which was built here and is not pushed"
    )
    proof = _known_evidence(existing, runner)
    if proof:
        day = proof[1].day
        log(f"{existing.cell}: {existing.manifest.digest} was tested on this machine on {day}")
        return proof
    if sources.engine is None:
        raise NotRun(
            f"{existing.text}, which was not tested on this machine, "
            "and there is no engine to pull it with",
            where=existing.cell,
            hint="publish from a machine with an engine, or to another place",
        )
    log(f"{existing.cell}: pulling and testing {existing.manifest.digest}")
    repository = existing.destination.names.repository
    with pulled_image(sources.engine, repository, existing.manifest) as digest:
        built = replace(existing.built, digest=digest, cached=True)
        evidence = runner.test(built)
        _check_evidence(existing, built, evidence, runner)
        _record(existing, sources.engine)
    return built, evidence


def _check_labels(existing: ExistingImage) -> None:
    """Raise `Negative` for an image without the labels of the built one."""
    labels = parse_labels(read_config(existing.destination.repository, existing.manifest))
    names = (KEY_LABEL, GPU_TESTED_LABEL)
    expected = existing.source.labels
    if any(labels.get(name, "") != expected.get(name, "") for name in names):
        raise Negative(
            f"{existing.destination.reference} is immutable and is {existing.manifest.digest} "
            f"already, which is no image with the content key of {existing.source.digest}",
            where=existing.cell,
            hint=_HINT,
        )


def _check_blobs(existing: ExistingImage, sources: ImageSources) -> None:
    """Push blobs that the registry lost and the store has; raise `Negative` if any stay missing."""
    repository = existing.destination.repository
    missing = missing_blobs(repository, blobs_of(existing.manifest))
    if missing:
        image = load_image(sources.store, existing.manifest.digest)
        configs = {image.config_digest: image.config} if image else {}
        missing = push_blobs(repository, missing, sources.store, configs)
    if missing:
        names = ", ".join(f"{blob.digest} ({blob.size:,} bytes)" for blob in missing)
        raise _incomplete(existing, f"the registry lacks {names}, and so does this machine")


def _incomplete(existing: ExistingImage, reason: str) -> Negative:
    return Negative(
        f"{existing.text}, which cannot be pulled: {reason}",
        where=existing.cell,
        hint=f"publish from the machine that built it; or {_HINT}",
    )


def _known_evidence(
    existing: ExistingImage, runner: CheckRunner
) -> tuple[BuiltImage, Evidence] | None:
    """Return the image and this machine's evidence of it, if that is good enough."""
    manifest = existing.manifest
    config = parse_descriptor(manifest.content.get("config"))
    digests = [manifest.digest]
    if config and is_recorded(existing.destination.state, manifest):
        digests.append(config.digest)
    for digest in digests:
        built = replace(existing.built, digest=digest, cached=True)
        evidence = runner.known(built, read_config(existing.destination.repository, manifest))
        try:
            standing = check_policy(
                built,
                evidence,
                digest=digest,
                allow_untested_gpu=existing.allow_untested_gpu,
                checks=(),
            )
        except DlimgError:
            continue  # it is tested again: failed checks may pass now, missing ones may run
        if evidence and standing == existing.standing:
            return built, evidence
    return None


def _check_evidence(
    existing: ExistingImage, built: BuiltImage, evidence: Evidence, runner: CheckRunner
) -> None:
    """Raise `Negative` or `NotRun` when the existing image is not tested as well as the built."""
    try:
        standing = check_policy(
            built,
            evidence,
            digest=built.digest,
            allow_untested_gpu=existing.allow_untested_gpu,
            checks=runner.checks(built),
        )
    except (Negative, NotRun) as error:
        raise type(error)(
            f"{existing.text}, another image than the one built here, "
            f"and no tag is moved to it: {error.problems[0].message}",
            where=existing.cell,
            hint=_HINT,
        ) from error
    if standing != existing.standing:
        raise NotRun(
            f"{existing.text}, which is {standing} here; the image built here is "
            f"{existing.standing}",
            where=existing.cell,
            hint=_HINT,
        )


def _record(existing: ExistingImage, engine: Engine) -> None:
    """Record the manifest for an engine that knows only configs.

    Raises `Negative` when the layers are not those of the config.
    """
    state, manifest = existing.destination.state, existing.manifest
    config = parse_descriptor(manifest.content.get("config"))
    if has_containerd_store(engine) or config is None or is_recorded(state, manifest):
        return
    if not layers_match_config(existing.destination.repository, manifest):
        raise _incomplete(existing, "its layers are not those that its config names")
    record_manifest(state, manifest.digest, config.digest)


@contextlib.contextmanager
def pulled_image(engine: Engine, repository: str, manifest: Manifest) -> Iterator[str]:
    """Pull the image and yield its id; remove it afterwards unless the engine already had it.

    Raises `NetworkFailure` when the pull fails, `Negative` when another image was pulled.
    """
    reference = f"{repository}@{manifest.digest}"
    was_present = _has_image(engine, reference)
    try:
        yield _pull(engine, repository, manifest)
    finally:
        if not was_present:
            with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
                engine.sdk.images.remove(reference)


def _pull(engine: Engine, repository: str, manifest: Manifest) -> str:
    reference = f"{repository}@{manifest.digest}"
    try:
        image_id = str(engine.sdk.images.pull(repository, tag=manifest.digest).id)
    except (docker.errors.APIError, requests.RequestException) as error:
        message = error.explanation if isinstance(error, docker.errors.APIError) else None
        raise NetworkFailure(
            f"the engine cannot pull {reference}: {message or error_reason(error)}",
            hint="check the network and `docker login`; delete the tag at the registry if the "
            "image cannot be pulled",
        ) from error
    if image_id not in digests_of(manifest):
        raise Negative(f"the engine pulled {reference} and has {image_id}")
    return image_id


def _has_image(engine: Engine, reference: str) -> bool:
    try:
        engine.sdk.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    return True
