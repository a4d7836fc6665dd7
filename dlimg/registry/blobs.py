"""Blobs at a registry: looked up, read and uploaded by their digest."""

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

UploadOutcome = Literal["present", "mounted", "uploaded"]

BLOCK: Final = 2**20
# Few enough for any registry, and for a session's pool of connections.
AT_ONCE: Final = 8
# Some proxies in front of registries stop at 100 MB per request.
CHUNK: Final = 50_000_000
PAUSE: Final = 0.5
_TOO_LARGE: Final = 413
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]+)")


def has_blob(repository: Repository, digest: str, size: int | None = None) -> bool:
    """Return whether the repository has this blob, of this size if one is given.

    Sizes are compared only if the registry sends a length.
    """
    request = RegistryRequest(method="HEAD", path=f"blobs/{digest}")
    with send_request(repository, request) as response:
        if response.status_code == 404:
            return False
        if not response.ok:
            action = f"does not say if it has {digest}"
            raise refusal(repository.registry.host, response, action)
        length = response.headers.get("Content-Length", "")
    return size is None or not length.isdecimal() or int(length) == size


def missing_blobs(repository: Repository, blobs: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the blobs that the repository lacks, or has in another size.

    Several requests run at once. Raises `NetworkFailure` when the registry does not answer.
    """
    unique = list({blob.digest: blob for blob in blobs}.values())
    if not unique:
        return ()
    # The first is asked for alone: its authorization serves the others.
    is_present = [has_blob(repository, unique[0].digest, unique[0].size)]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        is_present += pool.map(
            lambda blob: has_blob(repository, blob.digest, blob.size), unique[1:]
        )
    return tuple(blob for blob, present in zip(unique, is_present, strict=True) if not present)


def require_blobs(repository: Repository, blobs: Iterable[Descriptor]) -> None:
    """Raise `NetworkFailure` when the repository lacks any of these blobs after their upload."""
    missing = missing_blobs(repository, blobs)
    if missing:
        names = ", ".join(f"{blob.digest} ({blob.size:,} bytes)" for blob in missing)
        raise NetworkFailure(
            f"{repository} was sent blobs and does not have them, or not in full: {names}",
            hint="the registry's storage is damaged, or its blobs are being deleted: ask its "
            "administrator; then run it again",
        )


def read_blob(repository: Repository, digest: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return a small blob, verified against its digest.

    Raises `NetworkFailure` when the registry lacks it, sends other bytes, or more than `limit`.
    """
    with _get(repository, digest) as response:
        text = read_body(response, repository.registry.host, limit=limit)
    if digest_of(text) != digest:
        raise _wrong_digest(repository, digest)
    return text


def read_blob_blocks(repository: Repository, digest: str) -> Iterator[bytes]:
    """Yield a blob of any size; raises `NetworkFailure` at the end when the digest is wrong."""
    sha256 = hashlib.sha256()
    with _get(repository, digest) as response:
        try:
            for block in response.iter_content(BLOCK):
                sha256.update(block)
                yield block
        except requests.RequestException as error:
            raise NetworkFailure(f"{repository}: {digest} broke off: {error}") from error
    if f"sha256:{sha256.hexdigest()}" != digest:
        raise _wrong_digest(repository, digest)


def _get(repository: Repository, digest: str) -> requests.Response:
    response = send_request(repository, RegistryRequest(method="GET", path=f"blobs/{digest}"))
    if not response.ok:
        with response:
            raise refusal(repository.registry.host, response, f"does not give {digest}")
    return response


def _wrong_digest(repository: Repository, digest: str) -> NetworkFailure:
    return NetworkFailure(
        f"the registry {repository.registry.host} sends other bytes for {digest}",
        hint="a proxy in between changes what is sent, or the registry is damaged",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """A blob that is being uploaded; `begin` is the file's first position."""

    repository: Repository
    file: ReadableFile
    begin: int
    digest: str
    size: int


def upload_blob(
    repository: Repository, file: ReadableFile, digest: str, size: int, *, source: str = ""
) -> UploadOutcome:
    """Upload a blob from a seekable file, unless the repository has it or can mount it.

    `source` is a repository of the same registry to mount it from. A broken upload resumes at the
    byte that the registry reports. Raises `NetworkFailure` when the registry refuses it.
    """
    if has_blob(repository, digest, size):
        return "present"
    url = _start(repository, digest, source)
    if not url:
        return "mounted"
    upload = _Upload(repository=repository, file=file, begin=file.tell(), digest=digest, size=size)
    done = 0
    for attempt in range(TRIES):
        try:
            _send(upload, url, done)
        except ConnectionBroken:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE * 2.0**attempt)
            url, done = _resume(upload, url)
        else:
            break
    return "uploaded"


def upload_bytes(repository: Repository, text: bytes) -> str:
    """Upload a small blob and return its digest."""
    digest = digest_of(text)
    upload_blob(repository, io.BytesIO(text), digest, len(text))
    return digest


def _start(repository: Repository, digest: str, source: str) -> str:
    """Return the URL to upload to; empty when the blob was mounted from `source`."""
    query = f"?mount={digest}&from={source}" if source else ""
    request = RegistryRequest(
        method="POST", path=f"blobs/uploads/{query}", actions="pull,push", source=source, body=b""
    )
    try:
        with send_request(repository, request) as response:
            location = response.headers.get("Location", "")
            if response.status_code == 201 and source:
                return ""
            if response.status_code == 202 and location:
                return urljoin(f"{repository.registry.address}/", location)
            action = f"takes nothing into {repository.name}"
            raise refusal(repository.registry.host, response, action)
    except RegistryRefusal:
        if not source:
            raise
    # The user may not read `source`, or the registry does not support mounts.
    return _start(repository, digest, "")


def _send(upload: _Upload, url: str, done: int) -> None:
    """Send the bytes after `done`: in one request, or in chunks if that is too large or resumed."""
    if not done:
        upload.file.seek(upload.begin)
        if _finish(upload, url, upload.size):
            return
        url, _ = _restart(upload)
    while done < upload.size:
        count = min(CHUNK, upload.size - done)
        url = _send_chunk(upload, url, done, count)
        done += count
    _finish(upload, url, 0)


def _finish(upload: _Upload, url: str, count: int) -> bool:
    """Send the last `count` bytes and close the upload; False when they are too large at once."""
    separator = "&" if "?" in url else "?"
    request = RegistryRequest(
        method="PUT",
        path=f"{url}{separator}digest={upload.digest}",
        headers={"Content-Type": "application/octet-stream"},
        body=upload.file if count else b"",
        size=count,
        actions="pull,push",
    )
    with send_request(upload.repository, request) as response:
        if response.status_code == _TOO_LARGE and count > CHUNK:
            return False
        if response.status_code not in {201, 202, 204}:
            raise _refusal(upload, response)
        stored = response.headers.get("Docker-Content-Digest", upload.digest)
    if stored != upload.digest:
        raise NetworkFailure(
            f"{upload.repository}: {upload.digest} was sent, the registry stored {stored}"
        )
    return True


def _send_chunk(upload: _Upload, url: str, done: int, count: int) -> str:
    """Send `count` bytes after `done` and return the URL for the next chunk."""
    upload.file.seek(upload.begin + done)
    request = RegistryRequest(
        method="PATCH",
        path=url,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{done}-{done + count - 1}",
        },
        body=upload.file,
        size=count,
        actions="pull,push",
    )
    with send_request(upload.repository, request) as response:
        if response.status_code not in {201, 202, 204}:
            raise _refusal(upload, response)
        return urljoin(url, response.headers.get("Location", url))


def _resume(upload: _Upload, url: str) -> tuple[str, int]:
    """Return the URL to go on with after a break, and the bytes that the registry has."""
    with suppress(NetworkFailure):
        request = RegistryRequest(method="GET", path=url, actions="pull,push")
        with send_request(upload.repository, request) as response:
            match = _RANGE.fullmatch(response.headers.get("Range", ""))
            location = response.headers.get("Location", "")
            done = int(match[1]) + 1 if match else 0
            # `0-0` may mean one byte or none: then all is sent again.
            if response.status_code == 204 and location and 1 < done <= upload.size:
                return urljoin(url, location), done
    return _restart(upload)


def _restart(upload: _Upload) -> tuple[str, int]:
    """Return the URL of a new upload, and 0 for the bytes it has."""
    return _start(upload.repository, upload.digest, ""), 0


def _refusal(upload: _Upload, response: requests.Response) -> NetworkFailure:
    return refusal(upload.repository.registry.host, response, f"does not take {upload.digest}")
