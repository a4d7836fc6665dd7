"""Referrers: what belongs to an image and lies beside it, by the API or the index under a tag.

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

_PAGES: Final = 20
_TRIES: Final = 4
# What registries without the API answer to a path that they do not know.
_UNKNOWN: Final = frozenset({400, 404, 405, 406, 415, 501})


def list_referrers(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    """All that belongs to the manifest with this digest, in the order of the registry."""
    by_api = _by_api(repository, digest)
    return _by_tag(repository, digest) if by_api is None else by_api


def add_to_referrers_tag(repository: Repository, digest: str, artifact: Descriptor) -> None:
    """List the artifact in the index under the tag of the image with this digest.

    Two who do this at once could each drop the other's line: so it is read back, and done again.
    Raises `NetworkFailure` when it does not stay.
    """
    for _ in range(_TRIES):
        there = _by_tag(repository, digest)
        if artifact.digest in {one.digest for one in there}:
            return
        text = _index((*there, artifact))
        put_manifest(repository, _tag(digest), text, OCI_INDEX)
    if artifact.digest not in {one.digest for one in _by_tag(repository, digest)}:
        raise NetworkFailure(
            f"{repository}:{_tag(digest)} does not keep what belongs to {digest}",
            hint="somebody else may be writing there; run it again",
        )


def descriptor_json(one: Descriptor) -> dict[str, Any]:
    """A descriptor as JSON, with what it has."""
    found: dict[str, Any] = {
        "mediaType": one.media_type,
        "digest": one.digest,
        "size": one.size,
    }
    if one.artifact_type:
        found["artifactType"] = one.artifact_type
    if one.annotations:
        found["annotations"] = dict(one.annotations)
    return found


def _by_api(repository: Repository, digest: str) -> tuple[Descriptor, ...] | None:
    """What the API lists, page by page; nothing at all where the registry has no such API."""
    path = f"referrers/{digest}"
    found: tuple[Descriptor, ...] = ()
    for _ in range(_PAGES):
        with send_request(
            repository, RegistryRequest(method="GET", path=path, headers={"Accept": OCI_INDEX})
        ) as answer:
            index = _index_in(repository, answer)
            following = answer.links.get("next", {}).get("url", "")
            here = str(answer.url)
        if index is None:
            return None
        found += parse_descriptors(index.get("manifests"))
        if not following:
            break
        path = urljoin(here, following)
    return found


def _index_in(repository: Repository, answer: requests.Response) -> dict[str, Any] | None:
    if answer.status_code in _UNKNOWN:
        return None
    if not answer.ok:
        raise refusal(repository.registry.host, answer, f"lists nothing for {repository}")
    found = parse_object(read_body(answer, repository.registry.host))
    # A page for people is what some registries have under every path that they do not know.
    return found if found is not None and isinstance(found.get("manifests"), list) else None


def _by_tag(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    found = read_manifest(repository, _tag(digest))
    return (
        parse_descriptors(found.content.get("manifests"))
        if found and _is_list(found, digest)
        else ()
    )


def _is_list(found: Manifest, digest: str) -> bool:
    # GitLab's registry takes this tag for the digest itself, and gives the image (oras-go 1396).
    return found.media_type == OCI_INDEX and found.digest != digest


def _tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def _index(artifacts: Sequence[Descriptor]) -> bytes:
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor_json(one) for one in artifacts],
    }
    return json.dumps(index, separators=(",", ":")).encode()


# What an artifact has for the configuration that only an image needs.
EMPTY: Final = b"{}"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
# Annotations of whoever published first; the same document has them once.
REVISION: Final = "org.opencontainers.image.revision"
DIRTY: Final = "io.dlimg.dirty"
PUBLISHER: Final = frozenset({REVISION, DIRTY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One document that belongs to an image: its type, its text, and what is said of it."""

    kind: str
    text: str = field(repr=False)
    title: str
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach_if_missing(
    repository: Repository,
    artifact: Artifact,
    subject: Descriptor,
    listed: Sequence[Descriptor],
) -> bool:
    """Whether anything had to be sent so that this document lies beside its image.

    `listed` is what does already. A document that is there stays as it is, whatever else was said
    of it when it came; what the registry has lost of it is sent again. Raises `NetworkFailure`
    when the registry takes no such thing.
    """
    if not _is_listed(repository, artifact, subject, listed):
        attach_artifact(repository, artifact, subject)
        return True
    contents = _contents(artifact)
    if not missing_blobs(repository, contents):
        return False
    _send(repository, artifact)
    return True


def attach_artifact(repository: Repository, artifact: Artifact, subject: Descriptor) -> str:
    """The digest of the artifact, which then lies beside its image and is listed there.

    Done twice it is there once. Raises `NetworkFailure` when the registry takes no such thing.
    """
    text = artifact_manifest(artifact, subject)
    _send(repository, artifact)
    put = put_manifest(repository, digest_of(text), text, OCI_MANIFEST)
    if read_manifest(repository, put.digest) is None:
        raise NetworkFailure(
            f"{repository} took {put.digest} and does not have it",
            hint="the registry's storage is damaged: ask whoever runs it",
        )
    if not put.linked:
        listed = Descriptor(
            media_type=OCI_MANIFEST,
            digest=put.digest,
            size=len(text),
            annotations=artifact.annotations,
            artifact_type=artifact.kind,
        )
        add_to_referrers_tag(repository, subject.digest, listed)
    return put.digest


def _contents(artifact: Artifact) -> tuple[Descriptor, Descriptor]:
    """What stands for a configuration, and the document."""
    body = artifact.text.encode()
    return (
        Descriptor(media_type=EMPTY_TYPE, digest=digest_of(EMPTY), size=len(EMPTY)),
        Descriptor(media_type=artifact.kind, digest=digest_of(body), size=len(body)),
    )


def _send(repository: Repository, artifact: Artifact) -> None:
    upload_bytes(repository, EMPTY)
    upload_bytes(repository, artifact.text.encode())
    require_blobs(repository, _contents(artifact))


def _is_listed(
    repository: Repository,
    artifact: Artifact,
    subject: Descriptor,
    listed: Sequence[Descriptor],
) -> bool:
    """Whether one of these artifacts is there and holds this very document."""
    _, document = _contents(artifact)
    for one in _likely(artifact, digest_of(artifact_manifest(artifact, subject)), listed):
        manifest = read_manifest(repository, one.digest)
        belongs = manifest.content.get("subject") if manifest else None
        if manifest is None or not isinstance(belongs, dict):
            continue
        held = [layer.digest for layer in parse_descriptors(manifest.content.get("layers"))]
        if belongs.get("digest") == subject.digest and held == [document.digest]:
            return True
    return False


def _likely(artifact: Artifact, digest: str, listed: Sequence[Descriptor]) -> Iterator[Descriptor]:
    """Those that may hold the document: the very artifact, then what claims nothing else."""
    yield from (one for one in listed if one.digest == digest)
    for one in listed:
        is_other = any(
            one.annotations.get(name, text) != text
            for name, text in artifact.annotations.items()
            if name not in PUBLISHER
        )
        if one.digest != digest and one.artifact_type == artifact.kind and not is_other:
            yield one


def artifact_manifest(artifact: Artifact, subject: Descriptor) -> bytes:
    """The manifest of an artifact; the same artifact of the same image has the same."""
    nothing, document = _contents(artifact)
    layer: dict[str, Any] = {
        **descriptor_json(document),
        "annotations": {"org.opencontainers.image.title": artifact.title},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.kind,
        "config": descriptor_json(nothing),
        "layers": [layer],
        "subject": descriptor_json(subject),
        "annotations": dict(sorted(artifact.annotations.items())),
    }
    return json.dumps(manifest, separators=(",", ":")).encode()


def read_artifact(repository: Repository, found: Descriptor, subject: str) -> str:
    """The text of a listed artifact, which says itself that it belongs to this digest.

    Raises `NetworkFailure` for one that is not there or damaged, `ValueError` for one that
    belongs to something else or is no text.
    """
    manifest = read_manifest(repository, found.digest)
    if manifest is None:
        raise NetworkFailure(f"{repository}@{found.digest} is listed and is not there")
    belongs = manifest.content.get("subject")
    layers = parse_descriptors(manifest.content.get("layers"))
    if not isinstance(belongs, dict) or belongs.get("digest") != subject:
        raise ValueError("it belongs to another image")
    if len(layers) != 1:
        raise ValueError(f"it has {len(layers)} contents, not one")
    return read_blob(repository, layers[0].digest).decode("utf-8")
