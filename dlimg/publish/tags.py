"""Names and tags of an image at a registry: what they are, resolve to, and are moved to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dlimg.errors import NetworkFailure
from dlimg.model import PlannedImage
from dlimg.publish.policy import NOT_TESTED_ON_GPU, Standing
from dlimg.registry.blobs import read_blob
from dlimg.registry.http import Repository
from dlimg.registry.manifests import (
    Descriptor,
    Manifest,
    parse_descriptor,
    parse_descriptors,
    put_manifest,
    read_manifest,
)
from dlimg.registry.reference import check_destination, parse_reference
from dlimg.registry.responses import RegistryRefusal, parse_object

# Keeps an image that was never on a GPU from taking the immutable name of a tested one.
UNTESTED_SUFFIX: Final = "-not-gpu-tested"

_NO_ACCESS: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNames:
    """A repository with the image's immutable tag and, in order, its moving tags."""

    repository: str
    tag: str
    moving: tuple[str, ...]

    def reference(self, tag: str) -> str:
        return f"{self.repository}:{tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The destination of an image: the open repository, and the image's names in it.

    `state` is a folder for the digests of known manifests, `log` shows progress.
    """

    repository: Repository
    names: PublishedNames
    state: Path
    log: Callable[[str], None] = field(repr=False)

    @property
    def reference(self) -> str:
        """The immutable name."""
        return self.names.reference(self.names.tag)


def names_under(prefix: str, planned: PlannedImage, standing: Standing) -> PublishedNames:
    """Return the names under a prefix such as `127.0.0.1:5000/team`; the full tag moves first.

    Raises `BadInput` for a text that is not a prefix at a registry.
    """
    check_destination(prefix)
    image = planned.image
    suffix = UNTESTED_SUFFIX if standing == NOT_TESTED_ON_GPU else ""
    return PublishedNames(
        repository=f"{prefix}/{image.cell.family}",
        tag=f"{image.tag}-{planned.key[:12]}{suffix}",
        moving=(image.tag, *image.aliases),
    )


def repositories_of_families(prefix: str, families: Iterable[str]) -> tuple[str, ...]:
    """Return the repositories of these families under a prefix, without the registry's host."""
    return tuple(parse_reference(f"{prefix}/{family}").name for family in sorted(set(families)))


def find_manifest(repository: Repository, tag: str) -> Manifest | None:
    """Return the manifest under a tag, or None; also None if access is denied.

    Many registries deny access to a repository that does not exist yet. One that really denies it
    does so again at the push. Raises `NetworkFailure` for other errors.
    """
    try:
        return read_manifest(repository, tag)
    except RegistryRefusal as error:
        if error.status in _NO_ACCESS:
            return None
        raise


def require_manifest(repository: Repository, version: str) -> Manifest:
    """Return the manifest under a tag or digest; raises `NetworkFailure` if it does not exist."""
    manifest = read_manifest(repository, version)
    if manifest is None:
        raise NetworkFailure(
            f"{repository} has no {version} for this machine",
            hint="the engine may reach another registry under that address",
        )
    return manifest


def blobs_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Return the descriptors of the config and the layers of an image."""
    layers = parse_descriptors(manifest.content.get("layers"))
    return (*parse_descriptors([manifest.content.get("config")]), *layers)


def read_config(repository: Repository, manifest: Manifest) -> Mapping[str, Any]:
    """Return the image's config, verified against its digest; empty if it is not an image."""
    config = parse_descriptor(manifest.content.get("config"))
    return (parse_object(read_blob(repository, config.digest)) if config else None) or {}


def digests_of(manifest: Manifest) -> frozenset[str]:
    """Return the digests that may be the engine's id of this image: manifest and config."""
    config = parse_descriptor(manifest.content.get("config"))
    return frozenset({manifest.digest, config.digest if config else manifest.digest})


def parse_labels(config: object) -> Mapping[str, str]:
    """Return the labels in an image's config; empty for any other value."""
    settings = config.get("config") if isinstance(config, dict) else None
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    return labels if isinstance(labels, dict) else {}


def move_tag(repository: Repository, tag: str, manifest: Manifest) -> bool:
    """Move the tag to this image and return whether it had to be moved.

    Raises `NetworkFailure` if the tag has another image when it is read back.
    """
    current = find_manifest(repository, tag)
    if current is not None and current.digest == manifest.digest:
        return False
    put_manifest(repository, tag, manifest.text, manifest.media_type)
    current = find_manifest(repository, tag)
    if current is None or current.digest != manifest.digest:
        raise NetworkFailure(
            f"{repository}:{tag} is {current.digest if current else 'missing'} at the registry, "
            f"not {manifest.digest}",
            hint="another process may be pushing to this name; try again",
        )
    return True
