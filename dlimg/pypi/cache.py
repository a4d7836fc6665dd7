"""The files of PyPI projects by release, and single files inside their wheels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit
from zipfile import BadZipFile, ZipFile

import requests
from packaging.requirements import Requirement
from remotezip import RemoteIOError, RemoteZip, RemoteZipError  # type: ignore[import-untyped]

from dlimg.errors import NetworkFailure
from dlimg.facts.pypi_metadata import ReleaseFile, requirements, wheels
from dlimg.pypi.index import PackageIndex, short_reason
from dlimg.pypi.simple_api import IndexFile, list_files

T = TypeVar("T")

# A library of several hundred MB takes longer than a page.
_SECONDS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWheel:
    """A wheel at the index, opened for range requests."""

    archive: ZipFile

    def metadata(self) -> str:
        """Return the text of METADATA."""
        return self.text("METADATA", top=True)

    def text(self, name: str, *, top: bool = False) -> str:
        """Return the text of a file; `top` means the file of this name in `*.dist-info`."""
        return self.content(f".dist-info/{name}" if top else name).decode()

    def content(self, ending: str) -> bytes:
        """Return the uppermost file in the wheel whose path ends like this.

        Raises KeyError if there is none, or several at the same depth.
        """
        matches = [name for name in self.archive.namelist() if name.endswith(ending)]
        depth = min((name.count("/") for name in matches), default=0)
        uppermost = [name for name in matches if name.count("/") == depth]
        if len(uppermost) != 1:
            raise KeyError(f"it has {len(uppermost) or 'no'} {ending}")
        return self.archive.read(uppermost[0])


@contextmanager
def open_wheel(index: PackageIndex, file: IndexFile) -> Iterator[RemoteWheel]:
    """Open a wheel at the index by range requests.

    Raises NetworkFailure, also for a file that is not a wheel.
    """
    settings = {"timeout": _SECONDS, "verify": index.session.verify}
    try:
        with RemoteZip(file.url, session=index.session, **settings) as archive:
            yield RemoteWheel(archive=archive)
    except (
        RemoteIOError,
        RemoteZipError,
        requests.RequestException,
        BadZipFile,
        KeyError,
    ) as error:
        host = urlsplit(file.url).hostname or ""
        raise NetworkFailure(
            f"{host} does not give {file.file}: {short_reason(error)}",
            hint="the index must answer range requests; after a network failure, run it again",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndexCache:
    """An index whose pages are read once each.

    `fatbin` is the path of the script that reads the GPU code in a library.
    """

    index: PackageIndex
    addresses: Sequence[str]
    fatbin: Path
    pages: dict[str, Mapping[str, IndexFile]] = field(default_factory=dict)
    wheels: dict[tuple[str, str], Mapping[str, tuple[ReleaseFile, ...]]] = field(
        default_factory=dict
    )

    def files(self, project: str) -> Mapping[str, IndexFile]:
        """Return a project's files by name."""
        if project not in self.pages:
            listed = list_files(self.index, self.addresses, project)
            self.pages[project] = {file.file: file for file in listed}
        return self.pages[project]

    def releases(self, project: str, arch: str = "x86_64") -> Mapping[str, tuple[ReleaseFile, ...]]:
        """Return a project's Linux wheels for this architecture by version, oldest first."""
        if (project, arch) not in self.wheels:
            files = (
                ReleaseFile(
                    name=file.file,
                    uploaded=file.uploaded[:10],
                    requires_python=file.requires_python,
                    yanked=bool(file.yanked),
                )
                for file in self.files(project).values()
            )
            self.wheels[project, arch] = wheels(files, arch)
        return self.wheels[project, arch]

    def read_wheel(
        self, project: str, version: str, read: Callable[[RemoteWheel], T], arch: str = "x86_64"
    ) -> T | None:
        """Return the result of `read` for the last wheel of a release; None without a wheel."""
        release = self.releases(project, arch).get(version, ())
        if not release:
            return None
        with open_wheel(self.index, self.files(project)[release[-1].name]) as wheel:
            return read(wheel)

    def requirements(
        self, project: str, version: str, *, extra: str = "", python: str = "3.12"
    ) -> dict[str, Requirement]:
        """Return a release's requirements by project, from its METADATA."""
        metadata = self.read_wheel(project, version, RemoteWheel.metadata)
        return requirements(metadata, extra=extra, python=python) if metadata else {}
