"""Blobs: contents under their own digest, read, sent from a file, or taken from a neighbour."""

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import LIMIT, content, digest_of, refusal
from dlimg.registry.session import Repository, Request
from dlimg.registry.wire import ask

BLOCK: Final = 2**20
Sent = Literal["there", "mounted", "uploaded"]


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


def send_blob(
    repository: Repository, file: BinaryIO, digest: str, size: int, *, source: str = ""
) -> Sent:
    """How the content came to be in the repository, from a file that can be read again.

    One that is there is not sent, and one that the repository `source` of the same registry has
    is taken from there. Raises `NetworkFailure` when the registry does not take it.
    """
    if has_blob(repository, digest):
        return "there"
    start = _start(repository, digest, source)
    if not start:
        return "mounted"
    separator = "&" if "?" in start else "?"
    request = Request(
        method="PUT",
        path=f"{start}{separator}digest={digest}",
        headers={"Content-Type": "application/octet-stream"},
        body=file,
        size=size,
        actions="pull,push",
    )
    with ask(repository, request) as answer:
        if answer.status_code not in {201, 202, 204}:
            raise refusal(repository.registry.host, answer, f"does not take {digest}")
    return "uploaded"


def send_bytes(repository: Repository, text: bytes) -> str:
    """The digest of a small content, which then is in the repository."""
    digest = digest_of(text)
    send_blob(repository, io.BytesIO(text), digest, len(text))
    return digest


def _start(repository: Repository, digest: str, source: str) -> str:
    """The address to send to; empty when the content was taken from the source."""
    mount = f"?mount={digest}&from={source}" if source else ""
    request = Request(
        method="POST", path=f"blobs/uploads/{mount}", actions="pull,push", source=source, body=b""
    )
    with ask(repository, request) as answer:
        if answer.status_code == 201 and source:
            return ""
        if source and answer.status_code in {401, 403}:
            return _start(repository, digest, "")  # one who may write here, and not read there
        location = answer.headers.get("Location", "")
        if answer.status_code != 202 or not location:
            raise refusal(repository.registry.host, answer, f"takes nothing into {repository.name}")
        return urljoin(f"{repository.registry.address}/", location)


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
