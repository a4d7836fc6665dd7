"""What a registry answers: documents of a bounded size, and refusals in its own words."""

import hashlib
import json
import time
from typing import Any, Final

import requests

from dlimg.errors import NetworkFailure

# A manifest may have 4 MB by the specification; no document of ours comes near it.
DOCUMENT_LIMIT: Final = 4 * 2**20
BLOCK: Final = 2**16
DOCUMENT_SECONDS: Final = 120.0


class RegistryRefusal(NetworkFailure):
    """A registry's no, with the `status` that it answered; 401 also where a login is lacking."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ConnectionBroken(NetworkFailure):
    """No answer at all: the connection was never made, or broke while something was said."""


def read_body(answer: requests.Response, host: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """The whole body; raises `NetworkFailure` for one that is too large or never ends."""
    ends = time.monotonic() + DOCUMENT_SECONDS
    found = bytearray()
    try:
        for block in answer.iter_content(BLOCK):
            found += block
            if len(found) > limit:
                raise NetworkFailure(
                    f"the registry {host} sends more than {limit} bytes for one document"
                )
            if time.monotonic() > ends:
                raise NetworkFailure(f"the registry {host} is too slow: a document took minutes")
    except requests.RequestException as error:
        raise NetworkFailure(f"the registry {host} broke off in the middle: {error}") from error
    return bytes(found)


def read_json(answer: requests.Response, host: str) -> dict[str, Any]:
    """The JSON object that is the answer; `NetworkFailure` for anything else."""
    found = parse_object(read_body(answer, host))
    if found is None:
        raise not_a_registry(host, answer)
    return found


def parse_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object in a text, or nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def not_a_registry(host: str, answer: requests.Response) -> NetworkFailure:
    """The failure of an answer that no registry would give, such as a page to log in at."""
    kind = answer.headers.get("Content-Type", "something without a type")
    return NetworkFailure(
        f"what answers at {host} is no registry: it sends {kind}",
        hint="check the address; a proxy or a login page may stand in between",
    )


def refusal(host: str, answer: requests.Response, what: str) -> RegistryRefusal:
    """The failure of an answer that is a no: what it says itself, and what may help."""
    said = _said(answer, host)
    reason = f"{answer.status_code} {answer.reason or ''}".strip() + (f", {said}" if said else "")
    hints = {
        401: f"`docker login {host}`",
        403: f"`docker login {host}` as somebody who may; some registries want the repository made",
        413: "something before the registry limits what is sent at once (nginx: "
        "client_max_body_size)",
        429: "too many requests: log in, or wait and run it again",
    }
    hint = hints.get(answer.status_code, "")
    if not hint and answer.status_code >= 500:
        hint = "the registry itself has a fault: run it again later"
    return RegistryRefusal(
        f"the registry {host} {what}: {reason}", status=answer.status_code, hint=hint
    )


def _said(answer: requests.Response, host: str) -> str:
    """The first error of the registry's own list, on one line."""
    try:
        errors = (parse_object(read_body(answer, host, limit=BLOCK)) or {}).get("errors")
    except NetworkFailure:
        return ""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return ""
    words = (str(first.get(name) or "") for name in ("code", "message"))
    return " ".join(" ".join(words).split())[:300]


def digest_of(text: bytes) -> str:
    """`sha256:...` of a text."""
    return f"sha256:{hashlib.sha256(text).hexdigest()}"
