"""Manifests at a registry: read, verified against their digest, and pushed."""

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
    """An OCI descriptor: media type, digest and size of some content, and its annotations."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest as the registry has it; `digest` is that of `text`."""

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
    """A manifest that the registry took; `is_linked` if it also listed it as a referrer."""

    digest: str
    is_linked: bool


def read_manifest(repository: Repository, version: str) -> Manifest | None:
    """Return the manifest under a tag or digest, or None.

    Raises `NetworkFailure` when the registry refuses, or sends a manifest with another digest.
    """
    request = RegistryRequest(
        method="GET", path=f"manifests/{version}", headers={"Accept": _ACCEPT}
    )
    host = repository.registry.host
    with send_request(repository, request) as response:
        if response.status_code == 404:
            return None
        if not response.ok:
            raise refusal(host, response, f"does not give {repository} {version}")
        text = read_body(response, host)
        content = parse_object(text)
        if content is None:
            raise not_a_registry(host, response)
        header = response.headers.get("Docker-Content-Digest", "")
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    digest = digest_of(text)
    expected = version if DIGEST.fullmatch(version) else header
    if expected and digest != expected:
        raise NetworkFailure(
            f"the registry {host} was asked for {repository} {expected} and sends {digest}",
            hint="a proxy in between changes what is sent, or the registry is damaged",
        )
    media_type = str(content.get("mediaType") or content_type)
    return Manifest(media_type=media_type, digest=digest, text=text, content=content)


def resolve_digest(repository: Repository, version: str) -> str:
    """Return the digest under a tag, or an empty text if the tag does not exist."""
    request = RegistryRequest(
        method="HEAD", path=f"manifests/{version}", headers={"Accept": _ACCEPT}
    )
    with send_request(repository, request) as response:
        if response.status_code == 404:
            return ""
        header = response.headers.get("Docker-Content-Digest", "")
        if response.ok and DIGEST.fullmatch(header):
            return header
    manifest = read_manifest(repository, version)
    return manifest.digest if manifest else ""


def put_manifest(
    repository: Repository, version: str, text: bytes, media_type: str
) -> PushedManifest:
    """Push a manifest under a tag or its own digest.

    Raises `NetworkFailure` when the registry refuses it, or stores it under another digest.
    """
    request = RegistryRequest(
        method="PUT",
        path=f"manifests/{version}",
        headers={"Content-Type": media_type},
        body=text,
        actions="pull,push",
    )
    digest = digest_of(text)
    with send_request(repository, request) as response:
        if response.status_code not in {200, 201, 202}:
            action = f"does not take {repository} {version}"
            raise refusal(repository.registry.host, response, action)
        stored = response.headers.get("Docker-Content-Digest", digest)
        is_linked = "OCI-Subject" in response.headers
    if stored != digest:
        raise NetworkFailure(f"{repository}: {digest} was sent, the registry stored {stored}")
    return PushedManifest(digest=digest, is_linked=is_linked)


def select_platform(repository: Repository, manifest: Manifest) -> Manifest:
    """Return the image manifest: of an index, the one for linux/amd64.

    Raises `BadInput` when the index has none, `NetworkFailure` when it cannot be read.
    """
    if not manifest.is_index:
        return manifest
    entries = _platform_entries(manifest)
    digest = next((entry.digest for entry, platform in entries if platform == PLATFORM), "")
    if not digest:
        platforms = ", ".join(
            "/".join(platform) for _, platform in entries if "unknown" not in platform
        )
        raise BadInput(
            f"{repository}@{manifest.digest} has no image for linux/amd64",
            hint=f"it has {platforms}" if platforms else "it has no image at all",
        )
    image = read_manifest(repository, digest)
    if image is None or image.is_index:
        raise NetworkFailure(f"{repository}@{manifest.digest} lists {digest}, which is no image")
    return image


def parse_descriptor(entry: object) -> Descriptor | None:
    """Return the descriptor in a manifest's JSON, or None for anything else."""
    if not isinstance(entry, dict):
        return None
    digest, size = entry.get("digest"), entry.get("size")
    annotations = entry.get("annotations")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or not isinstance(size, int):
        return None
    pairs = annotations if isinstance(annotations, dict) else {}
    return Descriptor(
        media_type=str(entry.get("mediaType") or ""),
        digest=digest,
        size=size,
        annotations={str(name): str(value) for name, value in pairs.items()},
        artifact_type=str(entry.get("artifactType") or ""),
    )


def parse_descriptors(entries: object) -> tuple[Descriptor, ...]:
    """Return the valid descriptors in a list of a manifest's JSON."""
    parsed = [parse_descriptor(entry) for entry in (entries if isinstance(entries, list) else [])]
    return tuple(descriptor for descriptor in parsed if descriptor)


def _platform_entries(index: Manifest) -> list[tuple[Descriptor, tuple[str, str]]]:
    """Return the descriptors of an index with their operating system and architecture."""
    entries = []
    for entry in index.content.get("manifests") or ():
        descriptor = parse_descriptor(entry)
        platform = entry.get("platform") if isinstance(entry, dict) else None
        if descriptor and isinstance(platform, dict):
            pair = str(platform.get("os")), str(platform.get("architecture"))
            entries.append((descriptor, pair))
    return entries
