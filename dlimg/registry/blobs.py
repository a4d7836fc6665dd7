"""Blobs: contents under their own digest, asked for and read."""

import hashlib
import io
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.http import TRIES, ReadableFile, RegistryRequest, Repository, send_request
from dlimg.registry.manifests import Descriptor
from dlimg.registry.responses import (
    DOCUMENT_LIMIT,
    ConnectionBroken,
    RegistryRefusal,
    digest_of,
    read_body,
    refusal,
)

BLOCK: Final = 2**20


# Few enough for any registry, and for the connections that a session keeps.
AT_ONCE: Final = 8


def has_blob(repository: Repository, digest: str, size: int | None = None) -> bool:
    """Whether the repository has this content, by its own word; of this size where one is given.

    A registry that does not say how large it is, is believed to have all of it.
    """
    with send_request(repository, RegistryRequest(method="HEAD", path=f"blobs/{digest}")) as answer:
        if answer.status_code == 404:
            return False
        if not answer.ok:
            raise refusal(repository.registry.host, answer, f"does not say if it has {digest}")
        told = answer.headers.get("Content-Length", "")
    return size is None or not told.isdecimal() or int(told) == size


def missing_blobs(repository: Repository, contents: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
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
    missing = missing_blobs(repository, contents)
    if missing:
        names = ", ".join(f"{one.digest} ({one.size:,} bytes)" for one in missing)
        raise NetworkFailure(
            f"{repository} was sent contents and does not have them as they are: {names}",
            hint="the registry's storage is damaged, or somebody deletes from it: ask whoever "
            "runs it; then run it again",
        )


def read_blob(repository: Repository, digest: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """A small content as a whole, which has this digest.

    Raises `NetworkFailure` when the registry has it not, sends another, or more than the limit.
    """
    with _read(repository, digest) as answer:
        text = read_body(answer, repository.registry.host, limit=limit)
    if digest_of(text) != digest:
        raise _other(repository, digest)
    return text


def read_blob_blocks(repository: Repository, digest: str) -> Iterator[bytes]:
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
    answer = send_request(repository, RegistryRequest(method="GET", path=f"blobs/{digest}"))
    if not answer.ok:
        with answer:
            raise refusal(repository.registry.host, answer, f"does not give {digest}")
    return answer


def _other(repository: Repository, digest: str) -> NetworkFailure:
    return NetworkFailure(
        f"the registry {repository.registry.host} sends another content for {digest}",
        hint="somebody between changes what is sent, or the registry is damaged",
    )


UploadOutcome = Literal["there", "mounted", "uploaded"]

# Below what proxies in front of registries take at once, some of which stop at 100 MB.
CHUNK: Final = 50_000_000
PAUSE: Final = 0.5
_TOO_MUCH: Final = 413
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """A content that is being sent: `begin` is where the file stood at first."""

    repository: Repository
    file: ReadableFile
    begin: int
    digest: str
    size: int


def upload_blob(
    repository: Repository, file: ReadableFile, digest: str, size: int, *, source: str = ""
) -> UploadOutcome:
    """How the content came to be in the repository, from a file that can be read again.

    One that is there is not sent, and one that the repository `source` of the same registry has
    is taken from there. A connection that breaks is made again, and goes on from what the
    registry says that it has. Raises `NetworkFailure` when the registry does not take it.
    """
    if has_blob(repository, digest, size):
        return "there"
    address = _start(repository, digest, source)
    if not address:
        return "mounted"
    upload = _Upload(repository=repository, file=file, begin=file.tell(), digest=digest, size=size)
    done = 0
    for attempt in range(TRIES):
        try:
            _send(upload, address, done)
        except ConnectionBroken:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE * 2.0**attempt)
            address, done = _resumed(upload, address)
        else:
            break
    return "uploaded"


def upload_bytes(repository: Repository, text: bytes) -> str:
    """The digest of a small content, which then is in the repository."""
    digest = digest_of(text)
    upload_blob(repository, io.BytesIO(text), digest, len(text))
    return digest


def _start(repository: Repository, digest: str, source: str) -> str:
    """The address to send to; empty when the content was taken from the source."""
    mount = f"?mount={digest}&from={source}" if source else ""
    request = RegistryRequest(
        method="POST", path=f"blobs/uploads/{mount}", actions="pull,push", source=source, body=b""
    )
    try:
        with send_request(repository, request) as answer:
            location = answer.headers.get("Location", "")
            if answer.status_code == 201 and source:
                return ""
            if answer.status_code == 202 and location:
                return urljoin(f"{repository.registry.address}/", location)
            what = f"takes nothing into {repository.name}"
            raise refusal(repository.registry.host, answer, what)
    except RegistryRefusal:
        if not source:
            raise
    # One who may write here and not read there, or a registry that knows no mounts.
    return _start(repository, digest, "")


def _send(upload: _Upload, address: str, done: int) -> None:
    """Send what is not done; in pieces when the whole is too much at once, or is not the whole."""
    if not done:
        upload.file.seek(upload.begin)
        if _closed(upload, address, upload.size):
            return
        address, _ = _started(upload)
    while done < upload.size:
        count = min(CHUNK, upload.size - done)
        address = _sent_piece(upload, address, done, count)
        done += count
    _closed(upload, address, 0)


def _closed(upload: _Upload, address: str, count: int) -> bool:
    """Whether the registry has the content after so many last bytes; not when they are too many."""
    separator = "&" if "?" in address else "?"
    request = RegistryRequest(
        method="PUT",
        path=f"{address}{separator}digest={upload.digest}",
        headers={"Content-Type": "application/octet-stream"},
        body=upload.file if count else b"",
        size=count,
        actions="pull,push",
    )
    with send_request(upload.repository, request) as answer:
        if answer.status_code == _TOO_MUCH and count > CHUNK:
            return False
        if answer.status_code not in {201, 202, 204}:
            raise _refusal(upload, answer)
        said = answer.headers.get("Docker-Content-Digest", upload.digest)
    if said != upload.digest:
        raise NetworkFailure(
            f"{upload.repository}: {upload.digest} was sent, and {said} is at the registry"
        )
    return True


def _sent_piece(upload: _Upload, address: str, done: int, count: int) -> str:
    """Where to send the next piece."""
    upload.file.seek(upload.begin + done)
    request = RegistryRequest(
        method="PATCH",
        path=address,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{done}-{done + count - 1}",
        },
        body=upload.file,
        size=count,
        actions="pull,push",
    )
    with send_request(upload.repository, request) as answer:
        if answer.status_code not in {201, 202, 204}:
            raise _refusal(upload, answer)
        return urljoin(address, answer.headers.get("Location", address))


def _resumed(upload: _Upload, address: str) -> tuple[str, int]:
    """Where to go on after a break, and how many bytes the registry has by now."""
    with suppress(NetworkFailure):
        request = RegistryRequest(method="GET", path=address, actions="pull,push")
        with send_request(upload.repository, request) as answer:
            match = _RANGE.fullmatch(answer.headers.get("Range", ""))
            location = answer.headers.get("Location", "")
            done = int(match[1]) + 1 if match else 0
            # A registry that has one byte cannot say that it has none: then all is sent again.
            if answer.status_code == 204 and location and 1 < done <= upload.size:
                return urljoin(address, location), done
    return _started(upload)


def _started(upload: _Upload) -> tuple[str, int]:
    """A new address, with nothing sent to it."""
    return _start(upload.repository, upload.digest, ""), 0


def _refusal(upload: _Upload, answer: requests.Response) -> NetworkFailure:
    return refusal(upload.repository.registry.host, answer, f"does not take {upload.digest}")
