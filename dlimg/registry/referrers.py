"""Referrers: what belongs to an image and lies beside it, by the API or the index under a tag.

OCI distribution 1.1, "Listing Referrers" and "Referrers Tag Schema".
"""

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import as_object, content, refusal
from dlimg.registry.manifests import (
    OCI_INDEX,
    Descriptor,
    Manifest,
    descriptors,
    manifest_at,
    put_manifest,
)
from dlimg.registry.session import Repository, Request
from dlimg.registry.wire import ask

_PAGES: Final = 20
_TRIES: Final = 4
# What registries without the API answer to a path that they do not know.
_UNKNOWN: Final = frozenset({400, 404, 405, 406, 415, 501})


def referrers(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    """All that belongs to the manifest with this digest, in the order of the registry."""
    by_api = _by_api(repository, digest)
    return _by_tag(repository, digest) if by_api is None else by_api


def list_under_tag(repository: Repository, digest: str, artifact: Descriptor) -> None:
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


def entry(one: Descriptor) -> dict[str, Any]:
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
        with ask(
            repository, Request(method="GET", path=path, headers={"Accept": OCI_INDEX})
        ) as answer:
            index = _index_in(repository, answer)
            following = answer.links.get("next", {}).get("url", "")
            here = str(answer.url)
        if index is None:
            return None
        found += descriptors(index.get("manifests"))
        if not following:
            break
        path = urljoin(here, following)
    return found


def _index_in(repository: Repository, answer: requests.Response) -> dict[str, Any] | None:
    if answer.status_code in _UNKNOWN:
        return None
    if not answer.ok:
        raise refusal(repository.registry.host, answer, f"lists nothing for {repository}")
    found = as_object(content(answer, repository.registry.host))
    # A page for people is what some registries have under every path that they do not know.
    return found if found is not None and isinstance(found.get("manifests"), list) else None


def _by_tag(repository: Repository, digest: str) -> tuple[Descriptor, ...]:
    found = manifest_at(repository, _tag(digest))
    return descriptors(found.content.get("manifests")) if found and _is_list(found, digest) else ()


def _is_list(found: Manifest, digest: str) -> bool:
    # GitLab's registry takes this tag for the digest itself, and gives the image (oras-go 1396).
    return found.media_type == OCI_INDEX and found.digest != digest


def _tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def _index(artifacts: Sequence[Descriptor]) -> bytes:
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry(one) for one in artifacts],
    }
    return json.dumps(index, separators=(",", ":")).encode()
