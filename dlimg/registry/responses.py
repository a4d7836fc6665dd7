"""Responses of a registry: documents of bounded size, and refusals in the registry's own words."""

import hashlib
import json
import time
from typing import Any, Final

import requests

from dlimg.errors import NetworkFailure

# The specification allows 4 MB for a manifest; dlimg's own documents are far smaller.
DOCUMENT_LIMIT: Final = 4 * 2**20
BLOCK: Final = 2**16
DOCUMENT_SECONDS: Final = 120.0


class RegistryRefusal(NetworkFailure):
    """A registry's refusal with its HTTP status; 401 also if a login is missing."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ConnectionBroken(NetworkFailure):
    """The connection failed, or broke during the request, so there is no response."""


def read_body(response: requests.Response, host: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return the whole body; raises `NetworkFailure` if it is too large or takes too long."""
    deadline = time.monotonic() + DOCUMENT_SECONDS
    body = bytearray()
    try:
        for block in response.iter_content(BLOCK):
            body += block
            if len(body) > limit:
                raise NetworkFailure(
                    f"the registry {host} sends more than {limit} bytes for one document"
                )
            if time.monotonic() > deadline:
                raise NetworkFailure(
                    f"the registry {host} is too slow: a document took over {DOCUMENT_SECONDS:g} s"
                )
    except requests.RequestException as error:
        raise NetworkFailure(
            f"the connection to the registry {host} broke during a document: {error}"
        ) from error
    return bytes(body)


def read_json(response: requests.Response, host: str) -> dict[str, Any]:
    """Return the JSON object in the body; raises `NetworkFailure` for anything else."""
    document = parse_object(read_body(response, host))
    if document is None:
        raise not_a_registry(host, response)
    return document


def parse_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a text, or None."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def not_a_registry(host: str, response: requests.Response) -> NetworkFailure:
    """Return the error for a response that no registry would send, such as a login page."""
    media_type = response.headers.get("Content-Type", "something without a type")
    return NetworkFailure(
        f"the server at {host} is no registry: it sends {media_type}",
        hint="check the address; a proxy or a login page may be in between",
    )


def refusal(host: str, response: requests.Response, action: str) -> RegistryRefusal:
    """Return the error for a refusal: `action`, the registry's own message, and a hint.

    `action` continues "the registry HOST", such as "does not take sha256:...".
    """
    message = _error_message(response, host)
    reason = f"{response.status_code} {response.reason or ''}".strip()
    reason += f", {message}" if message else ""
    hints = {
        401: f"`docker login {host}`",
        403: f"`docker login {host}` as a user with access; some registries need the repository "
        "to be created first",
        413: "a proxy in front of the registry limits the size of requests (nginx: "
        "client_max_body_size)",
        429: "too many requests: log in, or wait and run it again",
    }
    hint = hints.get(response.status_code, "")
    if not hint and response.status_code >= 500:
        hint = "the registry has an internal error: run it again later"
    return RegistryRefusal(
        f"the registry {host} {action}: {reason}", status=response.status_code, hint=hint
    )


def _error_message(response: requests.Response, host: str) -> str:
    """Return the first error of the registry's list, on one line."""
    try:
        document = parse_object(read_body(response, host, limit=BLOCK)) or {}
    except NetworkFailure:
        return ""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return ""
    parts = (str(first.get(name) or "") for name in ("code", "message"))
    return " ".join(" ".join(parts).split())[:300]


def digest_of(text: bytes) -> str:
    """Return `sha256:...` of a text."""
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
