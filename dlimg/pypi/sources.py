"""Source distributions at a package index: the one to build, and its download."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from dlimg.errors import BadInput, Negative, NetworkFailure
from dlimg.lock.pylock import compatible_tag_ranks
from dlimg.pypi.index import SECONDS, PackageIndex, short_reason
from dlimg.pypi.mirrors import without_login
from dlimg.pypi.simple_api import IndexFile, list_files

_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDistribution:
    """A source distribution at an index; `index` is the address that lists it, to be shown."""

    name: str
    version: str
    file: IndexFile
    index: str


class WheelExists(BadInput):
    """The index has a usable wheel, so that nothing is to be built (exit 2)."""


def find_source(
    index: PackageIndex,
    addresses: Sequence[str],
    requirement: Requirement,
    *,
    python: str,
    platform: str,
) -> SourceDistribution:
    """Return the newest source distribution that a requirement allows.

    Raises BadInput if there is none, WheelExists if the index has a usable wheel of this version,
    or of a fitting one without sources.
    """
    name = canonicalize_name(requirement.name)
    asked = ", ".join(without_login(address) for address in addresses)
    files = [
        file
        for file in list_files(index, addresses, name)
        if not file.yanked and _allows(file.requires_python, python)
    ]
    versions = {version: file for file in files if (version := _source_version(file.file))}
    fitting = list(requirement.specifier.filter(versions))
    newest = max(fitting, default=None)
    wheel = next(
        (
            file.file
            for file in files
            if (version := _usable_version(file.file, python, platform))
            and (version == newest or (newest is None and version in requirement.specifier))
        ),
        "",
    )
    if wheel:
        hint = "it needs no building: `dlimg lock` takes it"
        raise WheelExists(f"the index has {wheel}, which fits", hint=hint)
    if newest is None:
        raise BadInput(
            f"no source distribution of {requirement} for Python {python}",
            hint=f"asked: {asked}; name another version, or an index that has it",
        )
    return SourceDistribution(name=name, version=str(newest), file=versions[newest], index=asked)


def download_source(index: PackageIndex, source: SourceDistribution, path: Path) -> str:
    """Download a source distribution and return its sha256.

    Raises NetworkFailure, or Negative for a file with another sha256 than the index lists.
    """
    digest = hashlib.sha256()
    settings: dict[str, Any] = {"timeout": SECONDS, "verify": index.session.verify}
    try:
        with index.session.get(source.file.url, stream=True, **settings) as response:
            response.raise_for_status()
            with path.open("wb") as file:
                for chunk in response.iter_content(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
    except requests.RequestException as error:
        raise NetworkFailure(
            f"{source.index} does not give {source.file.file}: {short_reason(error)}",
            hint="check the network and the proxy, then run it again",
        ) from error
    if source.file.sha256 and digest.hexdigest() != source.file.sha256:
        raise Negative(
            f"{source.file.file} has another sha256 than {source.index} lists",
            hint="run it again, or name another index",
        )
    return digest.hexdigest()


def _source_version(file: str) -> Version | None:
    try:
        return parse_sdist_filename(file)[1]
    except InvalidSdistFilename:
        return None


def _usable_version(file: str, python: str, platform: str) -> Version | None:
    """Return the version of a wheel that this Python and platform can use; None for others."""
    try:
        _, version, _, tags = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return None
    ranks = compatible_tag_ranks(python, platform)
    return version if any(tag in ranks for tag in tags) else None


def _allows(requires_python: str, python: str) -> bool:
    try:
        # A patch release that every `>=3.11.N` of today allows.
        return SpecifierSet(requires_python).contains(f"{python}.99")
    except InvalidSpecifier:
        return True
