"""Publishing an image: the immutable tag, the attached documents, then the moving tags."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import Negative, NetworkFailure
from dlimg.host.interrupt import interruptible
from dlimg.model import BuiltImage, Evidence
from dlimg.publish.attach import AttachSettings, attach_documents
from dlimg.publish.existing_image import ExistingImage, verify_existing_image
from dlimg.publish.layer_lint import lint_layers
from dlimg.publish.manifest_identity import is_recorded, layers_match_config, record_manifest
from dlimg.publish.policy import NOT_TESTED_ON_GPU, CheckRunner, Standing, check_policy
from dlimg.publish.push_source import ImageSources, PushSource, current_digest, open_source, push
from dlimg.publish.tags import (
    UNTESTED_SUFFIX,
    Destination,
    PublishedNames,
    blobs_of,
    find_manifest,
    move_tag,
    names_under,
    require_manifest,
)
from dlimg.registry.blobs import missing_blobs, require_blobs
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import Descriptor, Manifest, parse_descriptor, read_manifest
from dlimg.registry.reference import DOCKER_HUB, parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage:
    """An image at a registry: its immutable name, and the moving names that lead to it.

    `is_other` is true if the immutable name was another image already, which was tested instead.
    """

    cell: str
    reference: str
    digest: str
    moved: tuple[str, ...]
    standing: Standing
    is_other: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """The target of publishing, the checks that an image must pass, and the files to attach.

    `attach` is None to attach nothing; `state` is a folder for the digests of known manifests.
    """

    to: str
    allow_untested_gpu: bool
    attach: AttachSettings | None
    context: Context
    runner: CheckRunner
    state: Path


@engine_errors()
def publish(
    built: BuiltImage, evidence: Evidence, sources: ImageSources, *, request: PublishRequest
) -> PublishedImage:
    """Publish the image and return it with its names, each of which was read back.

    The order is: the immutable name, the attached documents, the full tag, the aliases. Tags move
    after all blobs and documents were found, and only to a digest that this machine has tested.

    Raises `Negative` for an image that may not be published or whose immutable name is taken,
    `NotRun` when required checks were not run, and `NetworkFailure`.
    """
    cell = built.planned.image.cell.id
    standing = _standing(built, evidence, sources, request)
    names = names_under(request.to, built.planned, standing)
    with interruptible(), _open_destination(names, request) as destination:
        if standing == NOT_TESTED_ON_GPU:
            _refuse_to_replace_tested(destination)
        with open_source(built, sources, standing) as source:
            image = _publish_immutable(destination, source, sources, cell)
            proof = built, evidence
            if not _is_source(destination, image, source):
                existing = ExistingImage(
                    destination=destination,
                    manifest=image,
                    built=built,
                    source=source,
                    standing=standing,
                    allow_untested_gpu=request.allow_untested_gpu,
                )
                proof = verify_existing_image(existing, request.runner, sources)
        _attach(*proof, destination, image.digest, request)
        _move_tags(destination, image, cell)
    return PublishedImage(
        cell=cell,
        reference=names.reference(names.tag),
        digest=image.digest,
        moved=tuple(names.reference(tag) for tag in names.moving),
        standing=standing,
        is_other=proof[0] is not built,
    )


def _standing(
    built: BuiltImage, evidence: Evidence, sources: ImageSources, request: PublishRequest
) -> Standing:
    """Return how well the image is tested; raises what `check_policy` raises."""
    standing = check_policy(
        built,
        evidence,
        digest=current_digest(built, sources),
        allow_untested_gpu=request.allow_untested_gpu,
        checks=request.runner.checks(built),
    )
    if standing == NOT_TESTED_ON_GPU:
        request.context.log(f"{evidence.cell}: {standing}; published with that label")
    return standing


@contextlib.contextmanager
def _open_destination(names: PublishedNames, request: PublishRequest) -> Iterator[Destination]:
    reference = parse_reference(names.reference(names.tag))
    log = request.context.log
    with open_registry(reference.host or DOCKER_HUB, request.context) as registry:
        repository = Repository(registry=registry, name=reference.name)
        yield Destination(repository=repository, names=names, state=request.state, log=log)


def _refuse_to_replace_tested(destination: Destination) -> None:
    tag = destination.names.tag.removesuffix(UNTESTED_SUFFIX)
    if find_manifest(destination.repository, tag):
        raise Negative(
            f"{destination.names.reference(tag)} exists and was tested on a GPU; the moving tags "
            "would be moved to an image that was not",
            hint="publish without --allow-untested-gpu, on a machine with a GPU",
        )


def _publish_immutable(
    destination: Destination, source: PushSource, sources: ImageSources, cell: str
) -> Manifest:
    """Return the manifest under the immutable name: the source's, complete, or another image's.

    Pushes the source when the name is free, or blobs of it are missing.
    """
    current = find_manifest(destination.repository, destination.names.tag)
    if current is None:
        lint_layers(source, sources.store, state=destination.state, where=cell)
        return _push(destination, source, sources)
    if not _is_source(destination, current, source):
        return current
    lost = _lost_blobs(destination.repository, current)
    if not lost:
        destination.log(f"{destination.reference} is {current.digest} already, with all its blobs")
        return current
    texts = ", ".join(f"{blob.digest} ({blob.size:,} bytes)" for blob in lost)
    destination.log(
        f"{destination.reference} is {current.digest} already, but the registry lacks "
        f"{len(lost)} of its blobs, which are sent again: {texts}"
    )
    return _push(destination, source, sources)


def _lost_blobs(repository: Repository, image: Manifest) -> tuple[Descriptor, ...]:
    """Return the blobs of a tagged image that the registry lacks.

    The manifest is one of them if it cannot be read by its digest, by which engines pull it.
    """
    has_manifest = read_manifest(repository, image.digest) is not None
    missing = missing_blobs(repository, blobs_of(image))
    return missing if has_manifest else (image.descriptor, *missing)


def _is_source(destination: Destination, manifest: Manifest, source: PushSource) -> bool:
    """Return whether this manifest is the source's image, by digests alone."""
    if source.manifest:
        return manifest.digest == source.manifest
    config = parse_descriptor(manifest.content.get("config"))
    if config is None or config.digest != source.config:
        return False
    if not is_recorded(destination.state, manifest):
        if not layers_match_config(destination.repository, manifest):
            return False
        record_manifest(destination.state, manifest.digest, config.digest)
    return True


def _push(destination: Destination, source: PushSource, sources: ImageSources) -> Manifest:
    """Push the source and return the manifest as read back, with all its blobs present."""
    digest = push(source, sources, destination.repository, destination.names)
    image = require_manifest(destination.repository, destination.names.tag)
    if image.digest != digest:
        raise NetworkFailure(
            f"{destination.reference} is {image.digest} at the registry after the push of {digest}",
            hint="another process may be pushing to this name; try again",
        )
    require_blobs(destination.repository, blobs_of(image))
    require_manifest(destination.repository, image.digest)
    if not source.manifest:
        record_manifest(destination.state, image.digest, source.config)
    return image


def _attach(
    built: BuiltImage,
    evidence: Evidence,
    destination: Destination,
    digest: str,
    request: PublishRequest,
) -> None:
    """Attach lock and evidence, unless the request attaches nothing."""
    if request.attach is None:
        return
    reference = f"{destination.names.repository}@{digest}"
    try:
        attach_documents(
            built,
            evidence,
            reference,
            request.attach,
            request.context,
        )
    except NetworkFailure as error:
        first = error.problems[0]
        hint = f"{first.hint}; " if first.hint else ""
        raise NetworkFailure(
            f"{destination.reference} is published, but its evidence is not attached, and no "
            f"other tag was moved: {first.message}",
            hint=f"{hint}--no-evidence publishes without",
        ) from error


def _move_tags(destination: Destination, image: Manifest, cell: str) -> None:
    """Move the full tag and the aliases to the image, and log each."""
    names = destination.names
    for tag in names.moving:
        verb = "is now" if move_tag(destination.repository, tag, image) else "is"
        destination.log(f"{cell}: {names.reference(tag)} {verb} {image.digest}")
