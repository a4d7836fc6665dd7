"""Names at a registry: what each leads to, and to what it is moved; no engine is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dlimg.errors import NetworkFailure
from dlimg.publish.names import PublishedNames
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
from dlimg.registry.responses import RegistryRefusal, parse_object

_NOT_YET: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an image is published: the open repository, and the names there.

    `notes` is a folder for what this machine knows of manifests, `say` hears what is done.
    """

    repository: Repository
    names: PublishedNames
    notes: Path
    say: Callable[[str], None] = field(repr=False)

    @property
    def reference(self) -> str:
        """The immutable name."""
        return self.names.reference(self.names.tag)


def named(repository: Repository, tag: str) -> Manifest | None:
    """What the registry has under this name, read and compared with its digest, or nothing.

    Raises `NetworkFailure` when the registry does not answer as it should.
    """
    try:
        return read_manifest(repository, tag)
    except RegistryRefusal as error:
        # Many registries say "denied" for a repository that is not there yet; one that
        # really denies says it again at the push.
        if error.status in _NOT_YET:
            return None
        raise


def image_at(repository: Repository, version: str) -> Manifest:
    """The manifest under a tag or digest; raises `NetworkFailure` where there is none."""
    found = read_manifest(repository, version)
    if found is None:
        raise NetworkFailure(
            f"{repository} has no {version} for this machine",
            hint="the engine may see another registry under that address",
        )
    return found


def contents_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    """The configuration and the layers of an image."""
    layers = parse_descriptors(manifest.content.get("layers"))
    return (*parse_descriptors([manifest.content.get("config")]), *layers)


def config_of(repository: Repository, manifest: Manifest) -> Mapping[str, Any]:
    """The configuration of an image, compared with its digest; empty for what is no image."""
    config = parse_descriptor(manifest.content.get("config"))
    return (parse_object(read_blob(repository, config.digest)) if config else None) or {}


def ids_of(manifest: Manifest) -> frozenset[str]:
    """The digests by which an engine may know this image: its manifest's or its config's."""
    config = parse_descriptor(manifest.content.get("config"))
    return frozenset({manifest.digest, config.digest if config else manifest.digest})


def parse_labels(config: object) -> Mapping[str, str]:
    """The labels in an image's configuration, whatever else it is."""
    inner = config.get("config") if isinstance(config, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return labels if isinstance(labels, dict) else {}


def move(repository: Repository, tag: str, manifest: Manifest) -> bool:
    """Whether the name had to be moved to lead to this image; it is read back.

    Raises `NetworkFailure` when it leads elsewhere afterwards.
    """
    there = named(repository, tag)
    if there is not None and there.digest == manifest.digest:
        return False
    put_manifest(repository, tag, manifest.text, manifest.media_type)
    found = named(repository, tag)
    if found is None or found.digest != manifest.digest:
        raise NetworkFailure(
            f"{repository}:{tag} is {found.digest if found else 'not there'} at the registry, "
            f"not {manifest.digest}",
            hint="someone else may be pushing to this name; try again",
        )
    return True
