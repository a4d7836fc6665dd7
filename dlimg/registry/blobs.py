"""Blobs: contents under their own digest, asked for and read."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import LIMIT, content, digest_of, refusal
from dlimg.registry.manifests import Descriptor
from dlimg.registry.session import Repository, Request
from dlimg.registry.wire import ask

BLOCK: Final = 2**20


# Few enough for any registry, and for the connections that a session keeps.
AT_ONCE: Final = 8


def has_blob(repository: Repository, digest: str, size: int | None = None) -> bool:
    """Whether the repository has this content, by its own word; of this size where one is given.

    A registry that does not say how large it is, is believed to have all of it.
    """
    with ask(repository, Request(method="HEAD", path=f"blobs/{digest}")) as answer:
        if answer.status_code == 404:
            return False
        if not answer.ok:
            raise refusal(repository.registry.host, answer, f"does not say if it has {digest}")
        told = answer.headers.get("Content-Length", "")
    return size is None or not told.isdecimal() or int(told) == size


def lacking(repository: Repository, contents: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Those of these contents that the repository has not, or has in another size.

    Several are asked for at once. Raises `NetworkFailure` when the registry does not say.
    """
    wanted = list({one.digest: one for one in contents}.values())
    if not wanted:
        return ()
    # The first alone: what lets it in lets in the others.
    is_there = [has_blob(repository, wanted[0].digest, wanted[0].size)]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        is_there += pool.map(lambda one: has_blob(repository, one.digest, one.size), wanted[1:])
    return tuple(one for one, there in zip(wanted, is_there, strict=True) if not there)


def require_blobs(repository: Repository, contents: Iterable[Descriptor]) -> None:
    """Nothing when the repository has these contents, which it has just been sent.

    Raises `NetworkFailure` that names those it has not.
    """
    missing = lacking(repository, contents)
    if missing:
        names = ", ".join(f"{one.digest} ({one.size:,} bytes)" for one in missing)
        raise NetworkFailure(
            f"{repository} was sent contents and does not have them as they are: {names}",
            hint="the registry's storage is damaged, or somebody deletes from it: ask whoever "
            "runs it; then run it again",
        )


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
