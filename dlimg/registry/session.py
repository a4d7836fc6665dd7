"""An open registry: one connection's memory of who we are and how to get there."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dlimg.engine.client import plainly
from dlimg.pypi.mirrors import certificates
from dlimg.registry.login import Login, login_for
from dlimg.registry.reference import address, is_loopback
from dlimg.registry.responses import ConnectionBroken

SECONDS: Final = 30.0
_CONNECTIONS: Final = 10
_BLOCK: Final = 2**20
# A registry answers for a large content when it has read and stored all of it.
PATIENCE: Final = 20
AWAY: Final = "check the address and the network; a proxy may be needed (HTTPS_PROXY)"
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# A loopback address is never behind a proxy, as the engine has it.
_DIRECT: Final = {"http": None, "https": None, "all": None}


class ReadableFile(Protocol):
    """A file, as far as sending it goes: it may be sent again from where it stood."""

    def read(self, size: int = -1, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def tell(self) -> int: ...


Body = bytes | ReadableFile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A registry's host and the session with it; `granted` is what it let us in with, by scope."""

    host: str
    address: str
    session: requests.Session = field(repr=False)
    verify: str | bool
    login: Callable[[], Login | None] = field(repr=False)
    granted: dict[str, str] = field(default_factory=dict, repr=False)
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository at an open registry: what all of this room's functions speak to."""

    registry: Registry
    name: str

    def __str__(self) -> str:
        return f"{self.registry.host}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRequest:
    """One request, `path` being below the repository or a whole address.

    `actions` is what it asks to be allowed, and `source` another repository that it reads from.
    `size` is how much of a body which is a file is sent, from where it stands.
    """

    method: Method
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    size: int = 0
    actions: Literal["pull", "pull,push"] = "pull"
    source: str = ""


@contextlib.contextmanager
def opened(
    host: str, environment: Mapping[str, str], *, seconds: float = SECONDS
) -> Iterator[Registry]:
    """The registry of this name, by the environment's proxies, certificates and docker logins.

    Nothing is asked of it yet; no answer within `seconds` is a failure.
    """
    session = requests.Session()
    # A connection that was never made may be tried once more; nothing was said yet.
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
        # What is sent is read in blocks of this size: 16 KiB, the default, take twice as long.
        adapter.init_poolmanager(_CONNECTIONS, _CONNECTIONS, blocksize=_BLOCK)
        session.mount(scheme, adapter)
    with session:
        yield Registry(
            host=host,
            address=address(host),
            session=session,
            verify=certificates(environment) or True,
            login=lambda: login_for(host, environment),
            seconds=seconds,
        )


@dataclass(slots=True)
class _Sized:
    """So many bytes of a file as a body of known length, whatever kind of file it is."""

    file: ReadableFile
    size: int
    given: int = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(_BLOCK):
            yield block

    def read(self, size: int = -1) -> bytes:
        left = self.size - self.given
        block = self.file.read(left if size < 0 else min(size, left))
        self.given += len(block)
        return block


def send(
    registry: Registry, url: str, request: RegistryRequest, authorization: str, *, home: str = ""
) -> requests.Response:
    """The bare answer to one request; the authorization goes to the registry alone.

    `home` is another place that it is meant for. Raises `NetworkFailure` when none comes.
    """
    shown = authorization if origin(url) == origin(home or registry.address) else ""
    try:
        return _sent(registry, url, request, shown)
    except requests.Timeout as error:
        raise ConnectionBroken(
            f"the registry {registry.host} does not answer within {registry.seconds:g} s",
            hint=AWAY,
        ) from error
    except requests.exceptions.SSLError as error:
        raise ConnectionBroken(
            f"no safe connection to the registry {registry.host}: {plainly(error)}",
            hint="name its certificate authority in SSL_CERT_FILE; plain http is spoken with "
            "loopback addresses only",
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ConnectionBroken(
            f"the registry {registry.host} cannot be reached: {plainly(error)}", hint=AWAY
        ) from error


def _sent(registry: Registry, url: str, request: RegistryRequest, shown: str) -> requests.Response:
    # Without a word on it `requests` would look into netrc, and put that in the place of ours.
    def bearing(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        if shown:
            prepared.headers["Authorization"] = shown
        return prepared

    body: Any = request.body
    is_file = not isinstance(body, bytes | None)
    direct: Any = _DIRECT if is_loopback(urlsplit(url).netloc) else {}
    return registry.session.request(
        request.method,
        url,
        data=_Sized(body, request.size) if is_file else body,
        headers={"Accept-Encoding": "identity", "User-Agent": "dlimg", **request.headers},
        auth=bearing,
        allow_redirects=False,
        stream=True,
        timeout=registry.seconds * (PATIENCE if is_file else 1),
        verify=registry.verify,
        proxies=dict(direct),
    )


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: two addresses with the same are the same server."""
    parts = urlsplit(url)
    return parts.scheme, str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)


def is_private_way(url: str) -> bool:
    """Whether nobody on the way can read or change what is said to this address."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))


def repository_path(repository: Repository, path: str) -> str:
    """The whole address of a path below the repository."""
    if re.match(r"https?://", path):
        return path
    return f"{repository.registry.address}/v2/{repository.name}/{path}"
