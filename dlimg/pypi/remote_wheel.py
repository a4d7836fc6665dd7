"""Single files out of a wheel that lies at the index, by range requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from zipfile import BadZipFile, ZipFile

import requests
from remotezip import RemoteIOError, RemoteZip, RemoteZipError  # type: ignore[import-untyped]

from dlimg.errors import NetworkFailure
from dlimg.pypi.index import PackageIndex
from dlimg.pypi.simple_api import IndexFile

# A library of several hundred MB takes longer than a page.
SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWheel:
    """An open wheel at the index."""

    archive: ZipFile

    def metadata(self) -> str:
        return self.text("METADATA", top=True)

    def text(self, name: str, *, top: bool = False) -> str:
        return self.content(f".dist-info/{name}" if top else name).decode()

    def content(self, ending: str) -> bytes:
        """The one file whose path ends so; raises KeyError when there is none, or several."""
        found = [name for name in self.archive.namelist() if name.endswith(ending)]
        shortest = [name for name in found if name.count("/") == min(map(_depth, found))]
        if len(shortest) != 1:
            raise KeyError(f"it has {len(shortest) or 'no'} {ending}")
        return self.archive.read(shortest[0])


def _depth(name: str) -> int:
    return name.count("/")


@contextmanager
def peek(index: PackageIndex, offer: IndexFile) -> Iterator[RemoteWheel]:
    """A wheel, opened at its end. Raises NetworkFailure, also for what is no wheel."""
    settings = {"timeout": SECONDS, "verify": index.session.verify}
    try:
        with RemoteZip(offer.address, session=index.session, **settings) as archive:
            yield RemoteWheel(archive=archive)
    except (
        RemoteIOError,
        RemoteZipError,
        requests.RequestException,
        BadZipFile,
        KeyError,
    ) as error:
        host = urlsplit(offer.address).hostname or ""
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        hint = "the index must answer range requests; run it again where it was the network"
        raise NetworkFailure(f"{host} does not show {offer.file}: {reason}", hint=hint) from error
