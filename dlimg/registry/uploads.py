"""Blobs on their way to a registry: sent from a file, or taken from a neighbour repository.

OCI distribution 1.1, "Pushing Blobs": as a whole, which every registry takes; in pieces only what
was too much at once, and what was left when a connection broke.
"""

import io
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.answers import Broken, Refused, digest_of, refusal
from dlimg.registry.blobs import has_blob
from dlimg.registry.session import Readable, Repository, Request
from dlimg.registry.wire import TRIES, ask

Sent = Literal["there", "mounted", "uploaded"]

# Below what proxies in front of registries take at once, some of which stop at 100 MB.
CHUNK: Final = 50_000_000
PAUSE: Final = 0.5
_TOO_MUCH: Final = 413
_RANGE: Final = re.compile(r"(?:bytes=)?0-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """A content that is being sent: `begin` is where the file stood at first."""

    repository: Repository
    file: Readable
    begin: int
    digest: str
    size: int


def send_blob(
    repository: Repository, file: Readable, digest: str, size: int, *, source: str = ""
) -> Sent:
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
        except Broken:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE * 2.0**attempt)
            address, done = _resumed(upload, address)
        else:
            break
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
    try:
        with ask(repository, request) as answer:
            location = answer.headers.get("Location", "")
            if answer.status_code == 201 and source:
                return ""
            if answer.status_code == 202 and location:
                return urljoin(f"{repository.registry.address}/", location)
            what = f"takes nothing into {repository.name}"
            raise refusal(repository.registry.host, answer, what)
    except Refused:
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
    request = Request(
        method="PUT",
        path=f"{address}{separator}digest={upload.digest}",
        headers={"Content-Type": "application/octet-stream"},
        body=upload.file if count else b"",
        size=count,
        actions="pull,push",
    )
    with ask(upload.repository, request) as answer:
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
    request = Request(
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
    with ask(upload.repository, request) as answer:
        if answer.status_code not in {201, 202, 204}:
            raise _refusal(upload, answer)
        return urljoin(address, answer.headers.get("Location", address))


def _resumed(upload: _Upload, address: str) -> tuple[str, int]:
    """Where to go on after a break, and how many bytes the registry has by now."""
    with suppress(NetworkFailure):
        request = Request(method="GET", path=address, actions="pull,push")
        with ask(upload.repository, request) as answer:
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
