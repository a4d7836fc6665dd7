"""HTTP requests to a registry: connections, authorization, redirects and retries."""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dlimg.context import Context
from dlimg.engine.client import error_reason
from dlimg.errors import NetworkFailure
from dlimg.pypi.mirrors import certificates
from dlimg.registry.auth import Login, basic_auth, login_for, parse_challenge
from dlimg.registry.reference import is_loopback, registry_url
from dlimg.registry.responses import ConnectionBroken, RegistryRefusal, read_json, refusal

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

SECONDS: Final = 30.0
# An upload is answered only after the registry has read and stored all of it.
UPLOAD_FACTOR: Final = 20
TRIES: Final = 4
LONGEST_WAIT: Final = 30.0
BACKOFF: Final = 0.5  # seconds before the first retry; doubled for each further one
REDIRECTS: Final = 5
_CONNECTIONS: Final = 10
_BLOCK: Final = 2**20
_BUSY: Final = frozenset({429, 502, 503, 504})
_REDIRECT: Final = frozenset({301, 302, 303, 307, 308})
_UNREACHABLE_HINT: Final = "check the address and the network; a proxy may be needed (HTTPS_PROXY)"
# Loopback addresses are never reached through a proxy, as in the engine.
_NO_PROXY: Final = {"http": None, "https": None, "all": None}


class ReadableFile(Protocol):
    """A file that can be sent, and sent again from where it stood."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def tell(self) -> int: ...


Body = bytes | ReadableFile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry and the session with it; `granted` holds `Authorization` headers by scope."""

    host: str
    address: str
    session: requests.Session = field(repr=False)
    verify: str | bool
    login: Callable[[], Login | None] = field(repr=False)
    granted: dict[str, str] = field(default_factory=dict, repr=False)
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository at an open registry."""

    registry: Registry
    name: str

    def __str__(self) -> str:
        return f"{self.registry.host}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRequest:
    """One request; `path` is relative to the repository, or a whole URL.

    `actions` is the access it needs, and `source` another repository that it reads from. `size`
    is the number of bytes to send of a body that is a file, from its current position.
    """

    method: Method
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    size: int = 0
    actions: Literal["pull", "pull,push"] = "pull"
    source: str = ""


@contextlib.contextmanager
def open_registry(host: str, context: Context, *, seconds: float = SECONDS) -> Iterator[Registry]:
    """Open the registry with proxies, certificates and Docker logins of the environment.

    Sends nothing yet. A response that takes longer than `seconds` is a failure.
    """
    session = requests.Session()
    # Only a connection that was never made is tried again: nothing has been sent on it.
    retry = urllib3.Retry(
        total=None,
        connect=1,
        read=False,
        status=0,
        other=0,
        backoff_factor=0.2,
    )
    for scheme in ("http://", "https://"):
        adapter = HTTPAdapter(max_retries=retry)
        # Bodies are read in blocks of this size; with the default of 16 KiB uploads take twice
        # as long.
        adapter.init_poolmanager(_CONNECTIONS, _CONNECTIONS, blocksize=_BLOCK)
        session.mount(scheme, adapter)
    with session:
        yield Registry(
            host=host,
            address=registry_url(host),
            session=session,
            verify=certificates(context) or True,
            login=lambda: login_for(host, context),
            seconds=seconds,
        )


def send_request(repository: Repository, request: RegistryRequest) -> requests.Response:
    """Return the response with any status; the caller closes it.

    Answers a request for authorization, and retries while the registry is busy. Raises
    `NetworkFailure` without a response, or when a login is needed and missing.
    """
    registry = repository.registry
    scope = _scope(repository.name, request)
    url = _url(repository, request.path)
    start = _position(request)
    response = _send_with_retries(registry, url, request, registry.granted.get(scope, ""))
    if response.status_code == 401:
        # A token may also have run out during an upload: then all of the body is sent again.
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        _rewind(request, start)
        authorization = _authorize(registry, challenge, scope)
        response = _send_with_retries(registry, url, request, authorization)
    return response


def _send_with_retries(
    registry: Registry, url: str, request: RegistryRequest, authorization: str
) -> requests.Response:
    """Return the first response that does not say the registry is busy, or the last of `TRIES`."""
    start = _position(request)
    for attempt in range(TRIES):
        _rewind(request, start)
        response = _follow_redirects(registry, url, request, authorization)
        wait = _wait(response, attempt)
        if response.status_code not in _BUSY or attempt == TRIES - 1 or wait > LONGEST_WAIT:
            return response
        response.close()
        time.sleep(wait)
    raise AssertionError("the last attempt returns")


def _wait(response: requests.Response, attempt: int) -> float:
    """Return the seconds to wait: the registry's `Retry-After`, or else an exponential backoff."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(response.headers.get("Retry-After", "")))
    return BACKOFF * 2.0**attempt


def _follow_redirects(
    registry: Registry, url: str, request: RegistryRequest, authorization: str
) -> requests.Response:
    """Return the response after all redirects; only GET and HEAD follow them."""
    for _ in range(REDIRECTS):
        response = _send(registry, url, request, authorization)
        location = response.headers.get("Location", "")
        is_read = request.method in {"GET", "HEAD"}
        if response.status_code not in _REDIRECT or not location or not is_read:
            return response
        response.close()
        target = urljoin(url, location)
        if is_secure(url) and not is_secure(target):
            raise NetworkFailure(
                f"the registry {registry.host} redirects to {target}, which is not encrypted"
            )
        url = target
    raise NetworkFailure(f"the registry {registry.host} redirects too often, at last to {url}")


def _send(
    registry: Registry, url: str, request: RegistryRequest, authorization: str, *, home: str = ""
) -> requests.Response:
    """Send one request; `authorization` goes only to the origin of the registry, or of `home`.

    Raises `ConnectionBroken` without a response.
    """
    is_home = _origin(url) == _origin(home or registry.address)
    try:
        return _send_in_session(registry, url, request, authorization if is_home else "")
    except requests.Timeout as error:
        raise ConnectionBroken(
            f"the registry {registry.host} does not answer within {registry.seconds:g} s",
            hint=_UNREACHABLE_HINT,
        ) from error
    except requests.exceptions.SSLError as error:
        raise ConnectionBroken(
            f"no secure connection to the registry {registry.host}: {error_reason(error)}",
            hint="name its certificate authority in SSL_CERT_FILE; plain http is used for "
            "loopback addresses only",
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionBroken(
            f"the registry {registry.host} cannot be reached: {error_reason(error)}",
            hint=_UNREACHABLE_HINT,
        ) from error


def _send_in_session(
    registry: Registry, url: str, request: RegistryRequest, authorization: str
) -> requests.Response:
    # Without an `auth` of its own, `requests` would take one from netrc.
    def authenticate(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if authorization:
            prepared.headers["Authorization"] = authorization
        return prepared

    body: Any = request.body
    is_file = not isinstance(body, bytes | None)
    proxies: Any = _NO_PROXY if is_loopback(urlsplit(url).netloc) else {}
    return registry.session.request(
        request.method,
        url,
        data=_FilePart(body, request.size) if is_file else body,
        headers={"Accept-Encoding": "identity", "User-Agent": "dlimg", **request.headers},
        auth=authenticate,
        allow_redirects=False,
        stream=True,
        timeout=registry.seconds * (UPLOAD_FACTOR if is_file else 1),
        verify=registry.verify,
        proxies=dict(proxies),
    )


@dataclass(slots=True)
class _FilePart:
    """The next `size` bytes of a file, as a request body of known length."""

    file: ReadableFile
    size: int
    position: int = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(_BLOCK):
            yield block

    def read(self, size: int = -1) -> bytes:
        bytes_left = self.size - self.position
        block = self.file.read(bytes_left if size < 0 else min(size, bytes_left))
        self.position += len(block)
        return block


def _scope(name: str, request: RegistryRequest) -> str:
    """Return the scopes of the token protocol that the request needs, one a line."""
    scopes = [f"repository:{name}:{request.actions}"]
    if request.source:
        scopes.append(f"repository:{request.source}:pull")
    return "\n".join(scopes)


def _authorize(registry: Registry, challenge: str, scope: str) -> str:
    """Return the `Authorization` header that answers a challenge, and keep it for this scope.

    Raises `NetworkFailure` when a login is needed and missing, or is refused.
    """
    login = registry.login()
    scheme, parameters = parse_challenge(challenge)
    if scheme == "bearer" and parameters.get("realm"):
        header = f"Bearer {_request_token(registry, parameters, scope.split(), login)}"
    elif scheme == "basic" and login and login.name:
        header = basic_auth(login)
    else:
        raise RegistryRefusal(
            f"the registry {registry.host} wants a login",
            status=401,
            hint=f"`docker login {registry.host}`",
        )
    registry.granted[scope] = header
    return header


def _request_token(
    registry: Registry, parameters: Mapping[str, str], scopes: Iterable[str], login: Login | None
) -> str:
    realm = parameters["realm"]
    if login and not is_secure(realm):
        raise NetworkFailure(
            f"the registry {registry.host} wants the login sent to {realm}, which is not encrypted"
        )
    query: dict[str, Any] = {"service": parameters.get("service", ""), "scope": list(scopes)}
    with _send_to_token_server(registry, realm, query, login) as response:
        if not response.ok:
            action = f"gives no access to {', '.join(query['scope'])}"
            raise refusal(registry.host, response, action)
        document = read_json(response, registry.host)
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str):
        raise NetworkFailure(f"the token server of {registry.host} sends no token")
    return token


def _send_to_token_server(
    registry: Registry, realm: str, query: Mapping[str, Any], login: Login | None
) -> requests.Response:
    """Ask for a token at `realm`, which may be another host than the registry."""
    if not login or not login.token:
        url = str(requests.Request("GET", realm, params=query).prepare().url)
        authorization = basic_auth(login) if login else ""
        request = RegistryRequest(method="GET", path="")
        return _send(registry, url, request, authorization, home=url)
    form = {
        **query,
        "scope": " ".join(query["scope"]),
        "grant_type": "refresh_token",
        "client_id": "dlimg",
        "refresh_token": login.token,
    }
    body = str(requests.Request("POST", realm, data=form).prepare().body).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = RegistryRequest(method="POST", path="", headers=headers, body=body)
    return _send(registry, realm, request, "", home=realm)


def is_secure(url: str) -> bool:
    """Return whether the connection is encrypted or stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))


def _origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)


def address_and_authorization(repository: Repository, path: str) -> tuple[str, str]:
    """Return a path's URL and the header that was granted for reading it, for another program."""
    scope = _scope(repository.name, RegistryRequest(method="GET", path=path))
    return _url(repository, path), repository.registry.granted.get(scope, "")


def _url(repository: Repository, path: str) -> str:
    """Return the URL of a path relative to the repository."""
    if re.match(r"https?://", path):
        return path
    return f"{repository.registry.address}/v2/{repository.name}/{path}"


def _position(request: RegistryRequest) -> int:
    body = request.body
    return 0 if body is None or isinstance(body, bytes) else body.tell()


def _rewind(request: RegistryRequest, start: int) -> None:
    body = request.body
    if body is not None and not isinstance(body, bytes):
        body.seek(start)
