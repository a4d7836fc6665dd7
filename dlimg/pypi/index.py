"""The package index: sizes and RECORDs of the wheels that uv chose, by range requests.

Only the end of a wheel is fetched. A cache by the wheel's sha256 keeps what was read; it holds
neither addresses nor credentials.
"""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import requests
from remotezip import RemoteIOError, RemoteZip, RemoteZipError  # type: ignore[import-untyped]
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_netrc_auth
from urllib3.util import Retry

from dlimg.atomic_write import atomic_write
from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.pypi.mirrors import addressed_indexes, certificates, login_of

SECONDS: Final = 30
CONNECTIONS: Final = 32
BACKOFF: Final = 0.5  # seconds before the second retry; doubled for each further one
# Up to this size in bytes, a server without range requests sends whole wheels.
WHOLE_WHEEL: Final = 32 * 2**20
RETRIES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials(requests.auth.AuthBase):
    """The user names and passwords of indexes, each sent to its own host only.

    Of several indexes on a host, the one whose path is most like the request's decides.
    """

    of_index: tuple[tuple[str, tuple[str, str] | None], ...] = field(repr=False)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        parts = urlsplit(str(request.url or ""))
        near = [
            ((index.port == parts.port, _common_length(index.path, parts.path)), login)
            for index, login in ((urlsplit(address), login) for address, login in self.of_index)
            if parts.hostname and index.hostname == parts.hostname
        ]
        login = max(near, key=itemgetter(0))[1] if near else None
        if login is None and request.url:
            # requests looks into netrc only when it is given no credentials at all.
            login = get_netrc_auth(request.url)
        if login:
            HTTPBasicAuth(*login)(request)
        return request


def _common_length(first: str, second: str) -> int:
    """Return the number of characters at the beginning that both texts have."""
    pairs = enumerate(zip(first, second, strict=False))
    shorter = min(len(first), len(second))
    return next((position for position, (a, b) in pairs if a != b), shorter)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndex:
    """A session with the index, and the folder that caches the contents of wheels."""

    session: requests.Session
    cache: Path

    def read(self, wheel: ResolvedWheel) -> WheelContents:
        """Return the size and RECORD of a wheel, from its folder, the cache or the index.

        Raises NetworkFailure when the index does not answer as it should, Negative when it
        sends a file that is not a wheel.
        """
        try:
            if wheel.local:
                return _read_file(Path(unquote(urlsplit(wheel.address).path)))
            cached = self.cache / f"{wheel.sha256}.json"
            if (cached_value := _read_cached(cached)) is not None:
                return cached_value
            contents = self._fetch_end(wheel)
        except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
            raise Negative(f"{wheel.file} is not a wheel: {error}") from error
        _write_cached(cached, contents)
        return contents

    def read_member(self, wheel: ResolvedWheel, path: str) -> bytes:
        """Return a file's content in a wheel, from its folder or the index; raises as `read`."""
        try:
            if wheel.local:
                with zipfile.ZipFile(unquote(urlsplit(wheel.address).path)) as archive:
                    return archive.read(path)
            with RemoteZip(wheel.address, session=self.session, **self._settings()) as archive:
                content: bytes = archive.read(path)
                return content
        except (RemoteZipError, requests.RequestException) as error:
            raise _unreachable(wheel, error) from error
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise Negative(f"{wheel.file} is not a wheel: {error}") from error

    def _fetch_end(self, wheel: ResolvedWheel) -> WheelContents:
        try:
            with RemoteZip(wheel.address, session=self.session, **self._settings()) as archive:
                return WheelContents(size=archive.size(), record=_record(archive))
        except (RemoteIOError, requests.RequestException) as error:
            raise _unreachable(wheel, error) from error
        except RemoteZipError:
            return self._fetch_all(wheel)

    def _settings(self) -> dict[str, Any]:
        # With each request: requests prefers its own variables to a session's setting.
        return {"timeout": SECONDS, "verify": self.session.verify}

    def _fetch_all(self, wheel: ResolvedWheel) -> WheelContents:
        try:
            with self.session.get(wheel.address, stream=True, **self._settings()) as response:
                response.raise_for_status()
                if int(response.headers.get("Content-Length", WHOLE_WHEEL + 1)) > WHOLE_WHEEL:
                    raise NetworkFailure(
                        f"the index sends no parts of {wheel.file}, only all of it",
                        hint="use an index or mirror that answers range requests",
                    )
                content = response.content
        except requests.RequestException as error:
            raise _unreachable(wheel, error) from error
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return WheelContents(size=len(content), record=_record(archive))


def open_index(context: Context, cache: Path, *, retries: int = RETRIES) -> PackageIndex:
    """Return an index that uses the environment's proxies, certificates and credentials."""
    session = requests.Session()
    session.verify = certificates(context) or True
    session.auth = Credentials(of_index=tuple(_logins(context)))
    retry = Retry(total=retries, backoff_factor=BACKOFF, status_forcelist=(429, 500, 502, 503, 504))
    adapter = HTTPAdapter(max_retries=retry, pool_connections=4, pool_maxsize=CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return PackageIndex(session=session, cache=cache)


def _logins(context: Context) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yield every index with its login: one without a login gets none of another on its host."""
    for name, address in addressed_indexes(context):
        yield address, login_of(name, address, context)


def _record(archive: zipfile.ZipFile) -> str:
    """Return the text of the RECORD at the top of the wheel; raise KeyError if it has none."""
    names = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
    top = [name for name in names if name.count("/") == 1]
    if len(top) != 1:
        raise KeyError("it has no RECORD")
    return archive.read(top[0]).decode()


def _read_file(path: Path) -> WheelContents:
    try:
        with zipfile.ZipFile(path) as archive:
            return WheelContents(size=path.stat().st_size, record=_record(archive))
    except OSError as error:
        raise Negative(f"cannot read the wheel: {error}") from error


def _read_cached(path: Path) -> WheelContents | None:
    try:
        cached = json.loads(path.read_text(encoding="utf-8"))
        return WheelContents(size=int(cached["size"]), record=str(cached["record"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cached_contents(folder: Path, sha256: str) -> WheelContents | None:
    """Return the contents of a wheel that was read before, or None."""
    return _read_cached(folder / f"{sha256}.json")


def _write_cached(path: Path, contents: WheelContents) -> None:
    # A cache that cannot be written only costs time at the next run.
    with contextlib.suppress(OSError):
        atomic_write(path, json.dumps({"size": contents.size, "record": contents.record}))


def _unreachable(wheel: ResolvedWheel, error: Exception) -> NetworkFailure:
    host = urlsplit(wheel.address).hostname or wheel.address
    return NetworkFailure(
        f"{host} does not give {wheel.file}: {short_reason(error)}",
        hint="check the network, the proxy and the index address, then run it again; "
        "finished locks are kept",
    )


def short_reason(error: Exception) -> str:
    """Return an error's first line, shortened, or its class if it has no message."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
