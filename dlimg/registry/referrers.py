"""Referrers of an image: artifacts with it as subject, by the API or the index under a tag.

OCI distribution 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.blobs import missing_blobs, read_blob, require_blobs, upload_bytes
from dlimg.registry.http import RegistryRequest, Repository, send_request
from dlimg.registry.manifests import (
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    parse_descriptors,
    put_manifest,
    read_manifest,
)
from dlimg.registry.responses import digest_of, parse_object, read_body, refusal

# The config blob of an artifact, which needs none (OCI image-spec 1.1).
EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
# Annotations that differ between publishers of the same document, which is pushed only once.
REVISION: Final = "org.opencontainers.image.revision"
DIRTY: Final = "io.dlimg.dirty"
PUBLISHER: Final = frozenset({REVISION, DIRTY})
_PAGES: Final = 20
_TRIES: Final = 4
# How registries without the API answer a path they do not know.
_NO_API: Final = frozenset({400, 404, 405, 406, 415, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A document to attach to an image; `kind` is its media type."""

    kind: str
    text: str = field(repr=False)
    title: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def list_referrers(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    """Return the referrers of the manifest with this digest, in the registry's order."""
    from_api = _list_from_api(repository, digest)
    return _list_from_tag(repository, digest) if from_api is None else from_api


def attach_if_missing(
    repository: Repository,
    artifact: Artifact,
    subject: Descriptor,
    listed: Sequence[Descriptor],
) -> bool:
    """Attach the document unless one of the `listed` referrers holds it; return if any was sent.

    A present artifact keeps its annotations; its lost blobs are sent again. Raises
    `NetworkFailure` when the registry refuses it.
    """
    if not _is_listed(repository, artifact, subject, listed):
        attach_artifact(repository, artifact, subject)
        return True
    if not missing_blobs(repository, _blobs(artifact)):
        return False
    _upload_blobs(repository, artifact)
    return True


def attach_artifact(repository: Repository, artifact: Artifact, subject: Descriptor) -> str:
    """Push the artifact, list it as a referrer of its subject, and return its digest.

    Attaching it twice has no further effect. Raises `NetworkFailure` when the registry refuses
    it.
    """
    text = artifact_manifest(artifact, subject)
    _upload_blobs(repository, artifact)
    pushed = put_manifest(repository, digest_of(text), text, OCI_MANIFEST)
    if read_manifest(repository, pushed.digest) is None:
        raise NetworkFailure(
            f"{repository} took {pushed.digest} and does not have it",
            hint="the registry's storage is damaged: ask its administrator",
        )
    if not pushed.is_linked:
        descriptor = Descriptor(
            media_type=OCI_MANIFEST,
            digest=pushed.digest,
            size=len(text),
            annotations=artifact.annotations,
            artifact_type=artifact.kind,
        )
        add_to_referrers_tag(repository, subject.digest, descriptor)
    return pushed.digest


def add_to_referrers_tag(repository: Repository, digest: str, artifact: Descriptor) -> None:
    """List the artifact in the index under the referrers tag of the image with this digest.

    Concurrent writers may drop each other's entry, so the index is read back and written again.
    Raises `NetworkFailure` when the entry does not stay.
    """
    for _ in range(_TRIES):
        listed = _list_from_tag(repository, digest)
        if artifact.digest in {descriptor.digest for descriptor in listed}:
            return
        text = _index_text((*listed, artifact))
        put_manifest(repository, _referrers_tag(digest), text, OCI_INDEX)
    listed = _list_from_tag(repository, digest)
    if artifact.digest not in {descriptor.digest for descriptor in listed}:
        raise NetworkFailure(
            f"{repository}:{_referrers_tag(digest)} does not keep the referrers of {digest}",
            hint="another process may be writing it; run it again",
        )


def read_artifact(repository: Repository, artifact: Descriptor, subject: str) -> str:
    """Return the document of a listed artifact, whose manifest must name this subject.

    Raises `NetworkFailure` for one that is missing or damaged, `ValueError` for one with another
    subject or that is no text.
    """
    manifest = read_manifest(repository, artifact.digest)
    if manifest is None:
        raise NetworkFailure(f"{repository}@{artifact.digest} is listed and missing")
    layers = parse_descriptors(manifest.content.get("layers"))
    if _subject_digest(manifest) != subject:
        raise ValueError("it belongs to another image")
    if len(layers) != 1:
        raise ValueError(f"it has {len(layers)} layers, not one")
    return read_blob(repository, layers[0].digest).decode("utf-8")


def artifact_manifest(artifact: Artifact, subject: Descriptor) -> bytes:
    """Return the artifact's manifest; the same artifact and subject give the same bytes."""
    config, document = _blobs(artifact)
    layer: dict[str, Any] = {
        **descriptor_json(document),
        "annotations": {"org.opencontainers.image.title": artifact.title},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.kind,
        "config": descriptor_json(config),
        "layers": [layer],
        "subject": descriptor_json(subject),
        "annotations": dict(sorted(artifact.annotations.items())),
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def descriptor_json(descriptor: Descriptor) -> dict[str, Any]:
    """Return a descriptor as JSON, without empty fields."""
    entry: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.artifact_type:
        entry["artifactType"] = descriptor.artifact_type
    if descriptor.annotations:
        entry["annotations"] = dict(descriptor.annotations)
    return entry


def _list_from_api(repository: Repository, digest: str) -> tuple[Descriptor, ...] | None:
    """Return all pages of the referrers API, or None if the registry does not have it."""
    path = f"referrers/{digest}"
    referrers: tuple[Descriptor, ...] = ()
    for _ in range(_PAGES):
        request = RegistryRequest(method="GET", path=path, headers={"Accept": OCI_INDEX})
        with send_request(repository, request) as response:
            index = _read_index(repository, response)
            next_page = response.links.get("next", {}).get("url", "")
            url = str(response.url)
        if index is None:
            return None
        referrers += parse_descriptors(index.get("manifests"))
        if not next_page:
            break
        path = urljoin(url, next_page)
    return referrers


def _read_index(repository: Repository, response: requests.Response) -> dict[str, Any] | None:
    if response.status_code in _NO_API:
        return None
    if not response.ok:
        raise refusal(repository.registry.host, response, f"lists no referrers in {repository}")
    index = parse_object(read_body(response, repository.registry.host))
    # Some registries answer unknown paths with an HTML page and status 200.
    return index if index is not None and isinstance(index.get("manifests"), list) else None


def _list_from_tag(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    manifest = read_manifest(repository, _referrers_tag(digest))
    # GitLab's registry resolves this tag to the image itself (oras-go 1396).
    is_index = (
        manifest is not None and manifest.media_type == OCI_INDEX and manifest.digest != digest
    )
    return parse_descriptors(manifest.content.get("manifests")) if manifest and is_index else ()


def _referrers_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def _index_text(artifacts: Sequence[Descriptor]) -> bytes:
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor_json(artifact) for artifact in artifacts],
    }
    return json.dumps(index, separators=(",", ":")).encode()


def _blobs(artifact: Artifact) -> tuple[Descriptor, Descriptor]:
    """Return the descriptors of the empty config and of the document."""
    text = artifact.text.encode()
    return (
        Descriptor(media_type=EMPTY_TYPE, digest=digest_of(EMPTY), size=len(EMPTY)),
        Descriptor(media_type=artifact.kind, digest=digest_of(text), size=len(text)),
    )


def _upload_blobs(repository: Repository, artifact: Artifact) -> None:
    upload_bytes(repository, EMPTY)
    upload_bytes(repository, artifact.text.encode())
    require_blobs(repository, _blobs(artifact))


def _is_listed(
    repository: Repository,
    artifact: Artifact,
    subject: Descriptor,
    listed: Sequence[Descriptor],
) -> bool:
    """Return whether a listed artifact of this subject holds this document."""
    _, document = _blobs(artifact)
    digest = digest_of(artifact_manifest(artifact, subject))
    for candidate in _candidates(artifact, digest, listed):
        manifest = read_manifest(repository, candidate.digest)
        if manifest is None or _subject_digest(manifest) != subject.digest:
            continue
        layers = parse_descriptors(manifest.content.get("layers"))
        if [layer.digest for layer in layers] == [document.digest]:
            return True
    return False


def _subject_digest(manifest: Manifest) -> str:
    subject = manifest.content.get("subject")
    return str(subject.get("digest") or "") if isinstance(subject, dict) else ""


def _candidates(
    artifact: Artifact, digest: str, listed: Sequence[Descriptor]
) -> Iterator[Descriptor]:
    """Yield the listed artifacts that may hold the document, the one with this digest first."""
    yield from (descriptor for descriptor in listed if descriptor.digest == digest)
    for descriptor in listed:
        differs = any(
            descriptor.annotations.get(name, value) != value
            for name, value in artifact.annotations.items()
            if name not in PUBLISHER
        )
        if (
            descriptor.digest != digest
            and descriptor.artifact_type == artifact.kind
            and not differs
        ):
            yield descriptor
