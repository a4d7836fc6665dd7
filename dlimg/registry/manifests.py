"""Manifests: what a name stands for, each compared with its digest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dlimg.errors import BadInput, NetworkFailure
from dlimg.registry.http import RegistryRequest, Repository, send_request
from dlimg.registry.reference import DIGEST
from dlimg.registry.responses import digest_of, not_a_registry, parse_object, read_body, refusal

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_DOCKER: Final = "application/vnd.docker.distribution.manifest"
IMAGES: Final = (OCI_MANIFEST, f"{_DOCKER}.v2+json")
INDEXES: Final = (OCI_INDEX, f"{_DOCKER}.list.v2+json")
_ACCEPT: Final = ", ".join((*IMAGES, *INDEXES))
PLATFORM: Final = ("linux", "amd64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What names a content: its type, digest and size, and what was written beside them."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest as the registry holds it: `text` is what its digest is of."""

    media_type: str
    digest: str
    text: bytes = field(repr=False)
    content: Mapping[str, Any] = field(repr=False)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.text))

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedManifest:
    """A manifest that the registry took; `linked` when it noted by itself what it belongs to."""

    digest: str
    linked: bool


def read_manifest(repository: Repository, version: str) -> Manifest | None:
    """The manifest under a tag or digest; nothing where the registry has none.

    Raises `NetworkFailure` when the registry refuses, or sends what has another digest.
    """
    request = RegistryRequest(
        method="GET", path=f"manifests/{version}", headers={"Accept": _ACCEPT}
    )
    with send_request(repository, request) as answer:
        if answer.status_code == 404:
            return None
        if not answer.ok:
            raise refusal(repository.registry.host, answer, f"does not give {repository} {version}")
        text = read_body(answer, repository.registry.host)
        found = parse_object(text)
        if found is None:
            raise not_a_registry(repository.registry.host, answer)
        said = answer.headers.get("Docker-Content-Digest", "")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    digest = digest_of(text)
    expected = version if DIGEST.fullmatch(version) else said
    if expected and digest != expected:
        raise NetworkFailure(
            f"the registry {repository.registry.host} was asked for {repository} {expected} "
            f"and sends {digest}",
            hint="somebody between changes what is sent, or the registry is damaged",
        )
    media_type = str(found.get("mediaType") or kind)
    return Manifest(media_type=media_type, digest=digest, text=text, content=found)


def resolve_digest(repository: Repository, version: str) -> str:
    """The digest under a tag, as the registry says it, or an empty text."""
    request = RegistryRequest(
        method="HEAD", path=f"manifests/{version}", headers={"Accept": _ACCEPT}
    )
    with send_request(repository, request) as answer:
        if answer.status_code == 404:
            return ""
        said = answer.headers.get("Docker-Content-Digest", "")
        if answer.ok and DIGEST.fullmatch(said):
            return said
    found = read_manifest(repository, version)
    return found.digest if found else ""


def put_manifest(
    repository: Repository, version: str, text: bytes, media_type: str
) -> PushedManifest:
    """Leave a manifest under a tag or its own digest.

    Raises `NetworkFailure` when the registry does not take it as it is.
    """
    request = RegistryRequest(
        method="PUT",
        path=f"manifests/{version}",
        headers={"Content-Type": media_type},
        body=text,
        actions="pull,push",
    )
    digest = digest_of(text)
    with send_request(repository, request) as answer:
        if answer.status_code not in {200, 201, 202}:
            raise refusal(repository.registry.host, answer, f"does not take {repository} {version}")
        said = answer.headers.get("Docker-Content-Digest", digest)
        linked = "OCI-Subject" in answer.headers
    if said != digest:
        raise NetworkFailure(f"{repository}: {digest} was sent, and {said} is at the registry")
    return PushedManifest(digest=digest, linked=linked)


def select_platform(repository: Repository, manifest: Manifest) -> Manifest:
    """The image itself: of an index the one for linux/amd64.

    Raises `BadInput` when there is none, `NetworkFailure` when it cannot be had.
    """
    if not manifest.is_index:
        return manifest
    offered = _entries(manifest)
    digest = next((one.digest for one, platform in offered if platform == PLATFORM), "")
    if not digest:
        there = ", ".join(
            "/".join(platform) for _, platform in offered if "unknown" not in platform
        )
        raise BadInput(
            f"{repository}@{manifest.digest} has no image for linux/amd64",
            hint=f"it has {there}" if there else "it has no image at all",
        )
    found = read_manifest(repository, digest)
    if found is None or found.is_index:
        raise NetworkFailure(f"{repository}@{manifest.digest} names {digest}, which is no image")
    return found


def parse_descriptor(entry: object) -> Descriptor | None:
    """A descriptor out of a manifest's JSON; nothing where it is none."""
    if not isinstance(entry, dict):
        return None
    digest, size = entry.get("digest"), entry.get("size")
    annotations = entry.get("annotations")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or not isinstance(size, int):
        return None
    texts = annotations if isinstance(annotations, dict) else {}
    return Descriptor(
        media_type=str(entry.get("mediaType") or ""),
        digest=digest,
        size=size,
        annotations={str(name): str(text) for name, text in texts.items()},
        artifact_type=str(entry.get("artifactType") or ""),
    )


def parse_descriptors(entries: object) -> tuple[Descriptor, ...]:
    """Every descriptor in a list of a manifest's; what is none is left out."""
    found = [parse_descriptor(entry) for entry in (entries if isinstance(entries, list) else [])]
    return tuple(one for one in found if one)


def _entries(manifest: Manifest) -> list[tuple[Descriptor, tuple[str, str]]]:
    found = []
    for entry in manifest.content.get("manifests") or ():
        one = parse_descriptor(entry)
        platform = entry.get("platform") if isinstance(entry, dict) else None
        if one and isinstance(platform, dict):
            pair = str(platform.get("os")), str(platform.get("architecture"))
            found.append((one, pair))
    return found
