"""Reading images: their content from an engine or a registry, and their attached documents."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import docker
import requests

from dlimg.checks.evidence import MEDIA_TYPE, parse_document
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput, DlimgError, NetworkFailure
from dlimg.lock.lockfile import parse_lock
from dlimg.model import Evidence, Lock
from dlimg.publish.attach import LOCK_TYPE
from dlimg.publish.image_content import (
    ContentLayer,
    ImageContent,
    parse_start_settings,
    parse_wheels_label,
    sum_sizes,
)
from dlimg.publish.relabel import digest_without_labels, identity_of
from dlimg.registry.blobs import read_blob
from dlimg.registry.http import Repository
from dlimg.registry.manifests import (
    Descriptor,
    Manifest,
    parse_descriptor,
    parse_descriptors,
    read_manifest,
    select_platform,
)
from dlimg.registry.reference import ImageReference
from dlimg.registry.referrers import list_referrers, read_artifact
from dlimg.registry.responses import parse_object

# An image has a few documents for each device; a longer list is not read to its end.
MOST_DOCUMENTS: Final = 200


@engine_errors()
def read_engine_image(engine: Engine, name: str) -> ImageContent | None:
    """Return the engine's image of this name, id or digest, or None."""
    try:
        image = engine.sdk.images.get(name)
        attributes: dict[str, Any] = image.attrs
        history: list[dict[str, Any]] = image.history()
    except (docker.errors.ImageNotFound, docker.errors.NullResource):
        return None
    except docker.errors.APIError as error:
        # An invalid name for the engine may be a valid one for a registry.
        if error.status_code == requests.codes.bad_request:
            return None
        raise
    steps = list(reversed(history))
    descriptor = attributes.get("Descriptor") or {}
    config_digest = (descriptor.get("annotations") or {}).get("config.digest", "")
    layers = _engine_layers(attributes, steps)
    content = ImageContent(
        reference=name,
        source="engine",
        digest=str(image.id),
        digests=frozenset({str(image.id), config_digest} - {""}),
        platform=f"{attributes.get('Os', '')}/{attributes.get('Architecture', '')}",
        created=str(attributes.get("Created") or ""),
        layers=layers,
        steps=tuple(_engine_step(step) for step in steps),
        # With the containerd store, `Size` is what a registry would send; else it is unpacked.
        compressed=int(attributes["Size"]) if descriptor else None,
        size=sum_sizes([layer.size for layer in layers]),
        **parse_start_settings(attributes.get("Config") or {}),
    )
    return replace(content, tested_digest=_tested_digest(engine, attributes, content))


def _tested_digest(engine: Engine, attributes: Mapping[str, Any], content: ImageContent) -> str:
    """Return the claimed digest if the engine has that image and its content is the same."""
    claimed = content.claimed_digest
    if not claimed:
        return ""
    try:
        tested = engine.sdk.images.get(claimed).attrs
    except docker.errors.APIError:
        return ""
    is_same = identity_of(tested) == identity_of(attributes)
    return claimed if tested["Id"] == claimed and is_same else ""


def registry_references(engine: Engine, content: ImageContent) -> tuple[str, ...]:
    """Return `host/name@digest` for each registry where the engine knows this image to be."""
    references = engine.sdk.images.get(content.digest).attrs.get("RepoDigests") or ()
    return tuple(str(reference) for reference in references)


def _engine_layers(
    attributes: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]
) -> tuple[ContentLayer, ...]:
    """Return the layers, lowest first.

    Steps with a size made one layer each; if their number differs, layers have no step.
    """
    digests = [str(digest) for digest in (attributes.get("RootFS") or {}).get("Layers") or ()]
    sized = [step for step in steps if step.get("Size")]
    if len(sized) != len(digests):
        return tuple(ContentLayer(digest=digest, step="") for digest in digests)
    return tuple(
        ContentLayer(digest=digest, step=_engine_step(step), size=int(step["Size"]))
        for digest, step in zip(digests, sized, strict=True)
    )


def _engine_step(step: Mapping[str, Any]) -> str:
    return str(step.get("CreatedBy") or step.get("Comment") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedDocuments:
    """The documents attached to an image: its evidence, and its lock if there is one."""

    evidence: tuple[Evidence, ...] = ()
    lock: Lock | None = None


def read_registry_image(repository: Repository, reference: ImageReference) -> ImageContent | None:
    """Return the image under this name, or None; of an index the one for linux/amd64.

    Raises `BadInput` if it is not an image, `NetworkFailure` when the registry does not
    answer as it should.
    """
    manifest = read_manifest(repository, reference.version)
    if manifest is None:
        return None
    image = select_platform(repository, manifest)
    config_descriptor = parse_descriptor(image.content.get("config"))
    text = read_blob(repository, config_descriptor.digest) if config_descriptor else b""
    config = parse_object(text)
    if config_descriptor is None or not isinstance((config or {}).get("rootfs"), dict):
        raise BadInput(
            f"{reference} is not an image",
            hint=f"it is of the type {image.content.get('artifactType') or image.media_type}",
        )
    digests = frozenset({manifest.digest, image.digest, config_descriptor.digest})
    content = _registry_content(reference, image, config or {}, digests)
    return replace(
        content,
        subjects=tuple(dict.fromkeys((image.digest, manifest.digest))),
        tested_digest=digest_without_labels(image.text, text),
    )


def read_attached(
    repository: Repository,
    subjects: Iterable[str],
    content: ImageContent,
    *,
    log: Callable[[str], None],
) -> AttachedDocuments:
    """Return all evidence and the lock attached to these digests of the image.

    Documents that are damaged or about another image are logged and left out. Raises
    `NetworkFailure` when the registry does not list referrers.
    """
    evidence: list[Evidence] = []
    lock: Lock | None = None
    for subject in subjects:
        documents = [
            referrer
            for referrer in list_referrers(repository, subject)
            if referrer.artifact_type in {MEDIA_TYPE, LOCK_TYPE}
        ]
        if len(documents) > MOST_DOCUMENTS:
            log(
                f"{len(documents)} documents are attached to the image; the first "
                f"{MOST_DOCUMENTS} were read"
            )
        for document in documents[:MOST_DOCUMENTS]:
            try:
                text = read_artifact(repository, document, subject)
                if document.artifact_type == LOCK_TYPE:
                    lock = _check_lock(parse_lock(text, source=document.digest), content)
                else:
                    evidence.append(check_subject(parse_document(text), content))
            except (ValueError, BadInput, NetworkFailure) as error:
                log(f"the attached document {document.digest} is ignored: {_message(error)}")
    return AttachedDocuments(evidence=tuple(evidence), lock=lock)


def check_subject(evidence: Evidence, content: ImageContent) -> Evidence:
    """Return the evidence; raises ValueError if it belongs to another image."""
    if evidence.digest not in content.evidence_digests:
        raise ValueError(f"it is about {evidence.digest or 'no image'}")
    return evidence


def _check_lock(lock: Lock, content: ImageContent) -> Lock:
    """Return the lock; raises ValueError when its wheels are not those of the image's label."""
    labelled = parse_wheels_label(content.labels)
    if labelled and set(labelled) != {(wheel.name, wheel.version) for wheel in lock.wheels}:
        raise ValueError("it locks other wheels than the image's label names")
    return lock


def _message(error: Exception) -> str:
    """Return the message without place and hint, which would not apply here."""
    return error.problems[0].message if isinstance(error, DlimgError) else str(error)


def _registry_content(
    reference: ImageReference,
    image: Manifest,
    config: Mapping[str, Any],
    digests: frozenset[str],
) -> ImageContent:
    history = [step for step in config.get("history") or () if isinstance(step, dict)]
    layers = _registry_layers(parse_descriptors(image.content.get("layers")), history)
    settings = config.get("config")
    return ImageContent(
        reference=str(reference),
        source="registry",
        digest=image.digest,
        digests=digests,
        platform=f"{config.get('os', '')}/{config.get('architecture', '')}",
        created=str(config.get("created") or ""),
        layers=layers,
        steps=tuple(_registry_step(step) for step in history),
        compressed=sum_sizes([layer.compressed for layer in layers]),
        **parse_start_settings(settings if isinstance(settings, dict) else {}),
    )


def _registry_layers(
    descriptors: tuple[Descriptor, ...], history: list[dict[str, Any]]
) -> tuple[ContentLayer, ...]:
    """Return the layers with their history steps, without steps if the numbers differ."""
    filled = [_registry_step(step) for step in history if not step.get("empty_layer")]
    steps = filled if len(filled) == len(descriptors) else [""] * len(descriptors)
    return tuple(
        ContentLayer(digest=layer.digest, step=step, compressed=layer.size)
        for layer, step in zip(descriptors, steps, strict=True)
    )


def _registry_step(step: Mapping[str, Any]) -> str:
    return str(step.get("created_by") or step.get("comment") or "")
