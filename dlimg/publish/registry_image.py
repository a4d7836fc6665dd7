"""An image at a registry, read without an engine: its content and its attached documents."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dlimg.checks.evidence import MEDIA_TYPE, parse_document
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
from dlimg.publish.relabel import digest_without_labels
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
    content = _content(reference, image, config or {}, digests)
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


def _content(
    reference: ImageReference,
    image: Manifest,
    config: Mapping[str, Any],
    digests: frozenset[str],
) -> ImageContent:
    history = [step for step in config.get("history") or () if isinstance(step, dict)]
    layers = _layers(parse_descriptors(image.content.get("layers")), history)
    settings = config.get("config")
    return ImageContent(
        reference=str(reference),
        source="registry",
        digest=image.digest,
        digests=digests,
        platform=f"{config.get('os', '')}/{config.get('architecture', '')}",
        created=str(config.get("created") or ""),
        layers=layers,
        steps=tuple(_step_text(step) for step in history),
        compressed=sum_sizes([layer.compressed for layer in layers]),
        **parse_start_settings(settings if isinstance(settings, dict) else {}),
    )


def _layers(
    descriptors: tuple[Descriptor, ...], history: list[dict[str, Any]]
) -> tuple[ContentLayer, ...]:
    """Return the layers with their history steps, without steps if the numbers differ."""
    filled = [_step_text(step) for step in history if not step.get("empty_layer")]
    steps = filled if len(filled) == len(descriptors) else [""] * len(descriptors)
    return tuple(
        ContentLayer(digest=layer.digest, step=step, compressed=layer.size)
        for layer, step in zip(descriptors, steps, strict=True)
    )


def _step_text(step: Mapping[str, Any]) -> str:
    return str(step.get("created_by") or step.get("comment") or "")
