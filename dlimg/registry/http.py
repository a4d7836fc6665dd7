"""One request to a repository and its answer: let in, sent on, and tried again as told."""

import time
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin

import requests

from dlimg.errors import NetworkFailure
from dlimg.registry.auth import grant, scope_of
from dlimg.registry.session import (
    Registry,
    RegistryRequest,
    Repository,
    is_private_way,
    repository_path,
    send,
)

_AGAIN: Final = frozenset({429, 502, 503, 504})
_ELSEWHERE: Final = frozenset({301, 302, 303, 307, 308})
TRIES: Final = 4
LONGEST_WAIT: Final = 30.0
REDIRECTS: Final = 5


def ask(repository: Repository, request: RegistryRequest) -> requests.Response:
    """The answer, whatever its status; the caller closes it.

    A registry that wants to know who asks is told, one that is busy is asked again. Raises
    `NetworkFailure` when no answer comes, or none will without a login.
    """
    registry = repository.registry
    scope = scope_of(repository.name, request)
    address = repository_path(repository, request.path)
    start = _position(request)
    answer = _patiently(registry, address, request, registry.granted.get(scope, ""))
    if answer.status_code == 401:
        # Also what was let in for some minutes only: then all of the body was sent in vain.
        challenge = answer.headers.get("WWW-Authenticate", "")
        answer.close()
        _rewind(request, start)
        answer = _patiently(registry, address, request, grant(registry, challenge, scope))
    return answer


def _patiently(
    registry: Registry, address: str, request: RegistryRequest, authorization: str
) -> requests.Response:
    """The first answer that does not say `later`, or the last of some."""
    start = _position(request)
    for attempt in range(TRIES):
        _rewind(request, start)
        answer = _followed(registry, address, request, authorization)
        wait = _wait(answer, attempt)
        if answer.status_code not in _AGAIN or attempt == TRIES - 1 or wait > LONGEST_WAIT:
            return answer
        answer.close()
        time.sleep(wait)
    raise AssertionError("the last attempt returns")


def _followed(
    registry: Registry, address: str, request: RegistryRequest, authorization: str
) -> requests.Response:
    """The answer where the registry has sent us on to, which is for reading alone."""
    for _ in range(REDIRECTS):
        answer = send(registry, address, request, authorization)
        location = answer.headers.get("Location", "")
        reading = request.method in {"GET", "HEAD"}
        if answer.status_code not in _ELSEWHERE or not location or not reading:
            return answer
        answer.close()
        to = urljoin(address, location)
        if is_private_way(address) and not is_private_way(to):
            raise NetworkFailure(f"the registry {registry.host} sends on to {to}, unencrypted")
        address = to
    raise NetworkFailure(f"the registry {registry.host} sends on and on, at last to {address}")


def _wait(answer: requests.Response, attempt: int) -> float:
    """Seconds until the next attempt: those that the registry asks for, or ever more."""
    with suppress(ValueError):
        return max(0.0, float(answer.headers.get("Retry-After", "")))
    return 0.5 * 2.0**attempt


def _position(request: RegistryRequest) -> int:
    body = request.body
    return 0 if body is None or isinstance(body, bytes) else body.tell()


def _rewind(request: RegistryRequest, start: int) -> None:
    body = request.body
    if body is not None and not isinstance(body, bytes):
        body.seek(start)
