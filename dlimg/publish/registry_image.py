"""An image at a registry, without an engine: what it is made of, and what lies beside it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from dlimg.checks.evidence import MEDIA_TYPE, parse_document
from dlimg.errors import BadInput, DlimgError, NetworkFailure
from dlimg.lock.lockfile import parse_lock
from dlimg.model import Evidence, Lock
from dlimg.publish.attach import LOCK_TYPE
from dlimg.publish.image_content import ContentLayer, ImageContent, settings, total, wheels_named
from dlimg.publish.relabel import digest_before_labels
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

# An image has some documents for each device; who lists thousands wants something else.
MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedDocuments:
    """What lies beside an image and is about it: its evidence, and its lock where it has one."""

    evidence: tuple[Evidence, ...] = ()
    lock: Lock | None = None


def content_at(repository: Repository, reference: ImageReference) -> ImageContent | None:
    """The image under this name; of an index the one for linux/amd64. Nothing where none is.

    Raises `BadInput` for what is no image, `NetworkFailure` when the registry does not answer as
    it should.
    """
    named = read_manifest(repository, reference.version)
    if named is None:
        return None
    image = select_platform(repository, named)
    config_at = parse_descriptor(image.content.get("config"))
    parts = parse_descriptors(image.content.get("layers"))
    text = read_blob(repository, config_at.digest) if config_at else b""
    config = parse_object(text)
    if config_at is None or not isinstance((config or {}).get("rootfs"), dict):
        raise BadInput(
            f"{reference} is something else than an image",
            hint=f"it is of the type {image.content.get('artifactType') or image.media_type}",
        )
    content = _content(reference, (named, image), config_at, parts, config or {})
    return replace(content, tested=digest_before_labels(image.text, text))


def beside(
    repository: Repository,
    subjects: Iterable[str],
    content: ImageContent,
    *,
    say: Callable[[str], None],
) -> AttachedDocuments:
    """All evidence and the lock that lie beside these digests of the image.

    What is damaged or about something else is told of and left out. Raises `NetworkFailure` when
    the registry lists nothing at all.
    """
    evidence: list[Evidence] = []
    lock: Lock | None = None
    for subject in subjects:
        listed = list_referrers(repository, subject)
        ours = [one for one in listed if one.artifact_type in {MEDIA_TYPE, LOCK_TYPE}]
        if len(ours) > MOST:
            say(f"{len(ours)} documents are beside the image; the first {MOST} were read")
        for found in ours[:MOST]:
            try:
                text = read_artifact(repository, found, subject)
                if found.artifact_type == LOCK_TYPE:
                    lock = _own_lock(parse_lock(text, source=found.digest), content)
                else:
                    evidence.append(about(parse_document(text), content))
            except (ValueError, BadInput, NetworkFailure) as error:
                say(f"{found.digest} beside the image is not believed: {_first(error)}")
    return AttachedDocuments(evidence=tuple(evidence), lock=lock)


def about(evidence: Evidence, content: ImageContent) -> Evidence:
    """The evidence; raises ValueError when it is not about this image."""
    if evidence.digest not in content.names:
        raise ValueError(f"it is about {evidence.digest or 'no image'}")
    return evidence


def _own_lock(lock: Lock, content: ImageContent) -> Lock:
    named = wheels_named(content.labels)
    if named and set(named) != {(wheel.name, wheel.version) for wheel in lock.wheels}:
        raise ValueError("it locks other wheels than the image names")
    return lock


def _first(error: Exception) -> str:
    """What is wrong, without a place or a hint that would lead nowhere here."""
    return error.problems[0].message if isinstance(error, DlimgError) else str(error)


def _content(
    reference: ImageReference,
    manifests: tuple[Manifest, Manifest],
    config_at: Descriptor,
    parts: tuple[Descriptor, ...],
    config: Mapping[str, Any],
) -> ImageContent:
    named, image = manifests
    history = [step for step in config.get("history") or () if isinstance(step, dict)]
    filled = [_words(step) for step in history if not step.get("empty_layer")]
    steps = filled if len(filled) == len(parts) else [""] * len(parts)
    layers = tuple(
        ContentLayer(digest=part.digest, step=step, compressed=part.size)
        for part, step in zip(parts, steps, strict=True)
    )
    inner = config.get("config")
    return ImageContent(
        reference=str(reference),
        source="registry",
        digest=image.digest,
        same=frozenset({named.digest, image.digest, config_at.digest}),
        subjects=tuple(dict.fromkeys((image.digest, named.digest))),
        platform=f"{config.get('os', '')}/{config.get('architecture', '')}",
        created=str(config.get("created") or ""),
        layers=layers,
        steps=tuple(_words(step) for step in history),
        compressed=total([layer.compressed for layer in layers]),
        **settings(inner if isinstance(inner, dict) else {}),
    )


def _words(step: Mapping[str, Any]) -> str:
    return str(step.get("created_by") or step.get("comment") or "")
