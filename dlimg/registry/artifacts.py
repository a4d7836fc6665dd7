"""Artifacts: a document beside the image that it is about, under its own digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import digest_of
from dlimg.registry.blobs import blob
from dlimg.registry.manifests import (
    OCI_MANIFEST,
    Descriptor,
    descriptors,
    manifest_at,
    put_manifest,
)
from dlimg.registry.referrers import entry, list_under_tag
from dlimg.registry.session import Repository
from dlimg.registry.uploads import send_bytes

# What an artifact has for the configuration that only an image needs.
EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One document that belongs to an image: its type, its text, and what is said of it."""

    kind: str
    text: str = field(repr=False)
    title: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(repository: Repository, artifact: Artifact, subject: Descriptor) -> str:
    """The digest of the artifact, which then lies beside its image and is listed there.

    Done twice it is there once. Raises `NetworkFailure` when the registry takes no such thing.
    """
    text = artifact_manifest(artifact, subject)
    send_bytes(repository, EMPTY)
    send_bytes(repository, artifact.text.encode())
    put = put_manifest(repository, digest_of(text), text, OCI_MANIFEST)
    if not put.linked:
        listed = Descriptor(
            media_type=OCI_MANIFEST,
            digest=put.digest,
            size=len(text),
            annotations=artifact.annotations,
            artifact_type=artifact.kind,
        )
        list_under_tag(repository, subject.digest, listed)
    return put.digest


def artifact_manifest(artifact: Artifact, subject: Descriptor) -> bytes:
    """The manifest of an artifact; the same artifact of the same image has the same."""
    body = artifact.text.encode()
    layer: dict[str, Any] = {
        **entry(Descriptor(media_type=artifact.kind, digest=digest_of(body), size=len(body))),
        "annotations": {"org.opencontainers.image.title": artifact.title},
    }
    nothing = Descriptor(media_type=EMPTY_TYPE, digest=digest_of(EMPTY), size=len(EMPTY))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.kind,
        "config": entry(nothing),
        "layers": [layer],
        "subject": entry(subject),
        "annotations": dict(sorted(artifact.annotations.items())),
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def artifact_text(repository: Repository, found: Descriptor, subject: str) -> str:
    """The text of a listed artifact, which says itself that it belongs to this digest.

    Raises `NetworkFailure` for one that is not there or damaged, `ValueError` for one that
    belongs to something else or is no text.
    """
    manifest = manifest_at(repository, found.digest)
    if manifest is None:
        raise NetworkFailure(f"{repository}@{found.digest} is listed and is not there")
    belongs = manifest.content.get("subject")
    layers = descriptors(manifest.content.get("layers"))
    if not isinstance(belongs, dict) or belongs.get("digest") != subject:
        raise ValueError("it belongs to another image")
    if len(layers) != 1:
        raise ValueError(f"it has {len(layers)} contents, not one")
    return blob(repository, layers[0].digest).decode("utf-8")
