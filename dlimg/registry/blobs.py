"""Blobs: contents under their own digest, asked for and read."""

import hashlib
from collections.abc import Iterator
from typing import Final

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import LIMIT, content, digest_of, refusal
from dlimg.registry.session import Repository, Request
from dlimg.registry.wire import ask

BLOCK: Final = 2**20


def has_blob(repository: Repository, digest: str) -> bool:
    """Whether the repository has this content already."""
    with ask(repository, Request(method="HEAD", path=f"blobs/{digest}")) as answer:
        if answer.status_code == 404:
            return False
        if not answer.ok:
            raise refusal(repository.registry.host, answer, f"does not say if it has {digest}")
        return True


def blob(repository: Repository, digest: str, *, limit: int = LIMIT) -> bytes:
    """A small content as a whole, which has this digest.

    Raises `NetworkFailure` when the registry has it not, sends another, or more than the limit.
    """
    with _read(repository, digest) as answer:
        text = content(answer, repository.registry.host, limit=limit)
    if digest_of(text) != digest:
        raise _other(repository, digest)
    return text


def blob_blocks(repository: Repository, digest: str) -> Iterator[bytes]:
    """A content of any size, block by block; `NetworkFailure` at the end if it was another."""
    found = hashlib.sha256()
    with _read(repository, digest) as answer:
        try:
            for block in answer.iter_content(BLOCK):
                found.update(block)
                yield block
        except requests.RequestException as error:
            raise NetworkFailure(f"{repository}: {digest} broke off: {error}") from error
    if f"sha256:{found.hexdigest()}" != digest:
        raise _other(repository, digest)


def _read(repository: Repository, digest: str) -> requests.Response:
    answer = ask(repository, Request(method="GET", path=f"blobs/{digest}"))
    if not answer.ok:
        with answer:
            raise refusal(repository.registry.host, answer, f"does not give {digest}")
    return answer


def _other(repository: Repository, digest: str) -> NetworkFailure:
    return NetworkFailure(
        f"the registry {repository.registry.host} sends another content for {digest}",
        hint="somebody between changes what is sent, or the registry is damaged",
    )
