"""The index's pages and wheels, by project and release; each page is read once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from packaging.requirements import Requirement

from dlimg.facts.pypi_metadata import ReleaseFile, requirements, wheels
from dlimg.pypi.index import PackageIndex
from dlimg.pypi.remote_wheel import RemoteWheel, peek
from dlimg.pypi.simple_api import IndexFile, offers

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIndexCache:
    """An index, and the script that reads the GPU code of a library."""

    index: PackageIndex
    addresses: Sequence[str]
    fatbin: Path
    pages: dict[str, Mapping[str, IndexFile]] = field(default_factory=dict)
    listed: dict[tuple[str, str], Mapping[str, tuple[ReleaseFile, ...]]] = field(
        default_factory=dict
    )

    def files(self, project: str) -> Mapping[str, IndexFile]:
        if project not in self.pages:
            found = offers(self.index, self.addresses, project)
            self.pages[project] = {one.file: one for one in found}
        return self.pages[project]

    def releases(
        self, project: str, machine: str = "x86_64"
    ) -> Mapping[str, tuple[ReleaseFile, ...]]:
        """Linux wheels by version, oldest first."""
        if (project, machine) not in self.listed:
            plain = (
                ReleaseFile(
                    name=one.file,
                    uploaded=one.uploaded[:10],
                    requires_python=one.requires_python,
                    yanked=bool(one.yanked),
                )
                for one in self.files(project).values()
            )
            self.listed[project, machine] = wheels(plain, machine)
        return self.listed[project, machine]

    def look(
        self, project: str, version: str, find: Callable[[RemoteWheel], T], machine: str = "x86_64"
    ) -> T | None:
        """What is found in the last of a release's wheels; None where there is no wheel."""
        found = self.releases(project, machine).get(version, ())
        if not found:
            return None
        with peek(self.index, self.files(project)[found[-1].name]) as opened:
            return find(opened)

    def asked(
        self, project: str, version: str, *, extra: str = "", python: str = "3.12"
    ) -> dict[str, Requirement]:
        """A release's requirements."""
        metadata = self.look(project, version, RemoteWheel.metadata)
        return requirements(metadata, extra=extra, python=python) if metadata else {}
