"""Names at a registry: what each leads to, and to what it is moved; no engine is asked."""

import json
from collections.abc import Mapping
from typing import Final

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import Refused
from dlimg.registry.blobs import blob
from dlimg.registry.manifests import (
    Manifest,
    descriptor,
    digest_of_name,
    manifest_at,
    put_manifest,
)
from dlimg.registry.session import Repository

_NOT_YET: Final = frozenset({401, 403})


def digest_at(repository: Repository, tag: str) -> str:
    """The digest that the registry has under this name, or an empty text.

    Raises `NetworkFailure` when the registry does not answer.
    """
    try:
        return digest_of_name(repository, tag)
    except Refused as error:
        # Many registries say "denied" for a repository that is not there yet; one that
        # really denies says it again at the push.
        if error.status in _NOT_YET:
            return ""
        raise


def image_at(repository: Repository, version: str) -> Manifest:
    """The manifest under a tag or digest; raises `NetworkFailure` where there is none."""
    found = manifest_at(repository, version)
    if found is None:
        raise NetworkFailure(
            f"{repository} has no {version} for this machine",
            hint="the engine may see another registry under that address",
        )
    return found


def ids_of(manifest: Manifest) -> frozenset[str]:
    """The digests that name this image: its manifest's, and its config's where it has one."""
    config = descriptor(manifest.content.get("config"))
    return frozenset({manifest.digest, config.digest if config else manifest.digest})


def labels_of(repository: Repository, manifest: Manifest) -> Mapping[str, str]:
    """The labels of an image; an index has one for each platform, so none."""
    config = descriptor(manifest.content.get("config"))
    if config is None:
        return {}
    try:
        return parse_labels(json.loads(blob(repository, config.digest)))
    except (ValueError, RecursionError):
        return {}


def parse_labels(config: object) -> Mapping[str, str]:
    """The labels in an image's configuration, whatever else it is."""
    inner = config.get("config") if isinstance(config, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    return labels if isinstance(labels, dict) else {}


def move(repository: Repository, tag: str, manifest: Manifest) -> None:
    """Let the name lead to this image of the repository, and read it back.

    Raises `NetworkFailure` when it leads elsewhere afterwards.
    """
    if digest_at(repository, tag) == manifest.digest:
        return
    put_manifest(repository, tag, manifest.text, manifest.media_type)
    found = digest_at(repository, tag)
    if found != manifest.digest:
        raise NetworkFailure(
            f"{repository}:{tag} is {found or 'not there'} at the registry, not {manifest.digest}",
            hint="someone else may be pushing to this name; try again",
        )
