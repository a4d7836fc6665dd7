"""The rows of facts that the package index and its wheels give for frameworks' releases.

Each framework says what to read, in the `releases.py` of its folder, which
`release_readers` runs. It defines FRAMEWORK, PACKAGE, `index_row` and `wheel_row`, as
`ReleaseReader` describes them, and finds this module's helpers by import.
"""

import runpy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from packaging.requirements import Requirement
from packaging.version import Version

from dlimg.errors import BadInput
from dlimg.facts.pypi_metadata import page_row, paired_packages, pin, pins
from dlimg.image_files import ImageFiles
from dlimg.pypi.cache import PackageIndexCache, RemoteWheel

__all__ = [
    "PackageIndexCache",
    "RemoteWheel",
    "Row",
    "code_in_library",
    "newest_release",
    "page_row",
    "paired_releases",
    "pin",
    "pins",
]
Row: TypeAlias = dict[str, Any]
READER: Final = "releases.py"
# The version that is paired with a release is among the newest of its package.
_NEWEST_PAIRED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReader:
    """The way to read a framework's releases; `package` is its project at the index.

    `index_row` reads any release from the index's page and METADATA; its arguments are the version
    and the existing row. `wheel_row` adds the facts that only the libraries in the wheel show, for
    a new release.
    """

    framework: str
    package: str
    index_row: Callable[[PackageIndexCache, str, Mapping[str, Any]], Row]
    wheel_row: Callable[[PackageIndexCache, str, Row], Row]


def release_readers(images: ImageFiles) -> Mapping[str, ReleaseReader]:
    """Return the readers in the folders of a project's images, by framework.

    Raises BadInput for a file that does not define a reader.
    """
    readers = {}
    for path in images.matching(f"*/{READER}").values():
        names = runpy.run_path(str(path))
        try:
            reader = ReleaseReader(
                framework=names["FRAMEWORK"],
                package=names["PACKAGE"],
                index_row=names["index_row"],
                wheel_row=names["wheel_row"],
            )
        except KeyError as error:
            raise BadInput(f"it does not define {error.args[0]}", where=str(path)) from error
        readers[reader.framework] = reader
    return readers


def paired_releases(
    index: PackageIndexCache, package: str, framework: str, version: str
) -> list[str]:
    """Return the newest releases of a package that require exactly this release."""
    newest = list(index.releases(package))[-_NEWEST_PAIRED:]
    requirements = {release: index.requirements(package, release) for release in newest}
    return paired_packages(requirements, framework, version)


def newest_release(index: PackageIndexCache, package: str, wanted: Requirement | None) -> str:
    """Return the newest release that satisfies a requirement, or an empty text."""
    if wanted is None:
        return ""
    fitting = [release for release in index.releases(package) if wanted.specifier.contains(release)]
    return max(fitting, key=Version, default="")


def code_in_library(index: PackageIndexCache, library: bytes) -> list[str]:
    """Return the code that every fatbinary of a library has, as the check scripts read it."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(library)
        file.flush()
        read = runpy.run_path(str(index.fatbin))["held"]
        code: list[str] = read(Path(file.name)).everywhere
    return code
