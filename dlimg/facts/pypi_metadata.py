"""Fields of a release's row, computed from file names, the index's page and METADATA."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

# Only requirements that decide about CUDA are facts; the lock pins the rest.
_CUDA_PACKAGE: Final = re.compile(r"nvidia-.+|cuda-toolkit|triton|tensorrt.*")
_CPYTHON: Final = re.compile(r"cp([0-9])([0-9]+)")
_LINUX: Final = re.compile(r"(manylinux[0-9_]+|linux)_(x86_64|aarch64)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A file that an index offers; `uploaded` is a day, `yanked` whether it was withdrawn."""

    name: str
    uploaded: str
    requires_python: str
    yanked: bool


def wheels(files: Iterable[ReleaseFile], arch: str) -> Mapping[str, tuple[ReleaseFile, ...]]:
    """Return the Linux wheels for CPython and this architecture by version, without yanked ones."""
    by_version: dict[str, list[ReleaseFile]] = {}
    for file in files:
        if file.yanked or not file.name.endswith(".whl"):
            continue
        try:
            _, version, _, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue
        if any(_is_for(tag.platform, arch) for tag in tags):
            by_version.setdefault(str(version), []).append(file)
    return {version: tuple(by_version[version]) for version in sorted(by_version, key=Version)}


def _is_for(platform: str, arch: str) -> bool:
    match = _LINUX.fullmatch(platform)
    return platform == "any" or (match is not None and match[2] == arch)


def page_row(files: Sequence[ReleaseFile]) -> dict[str, Any]:
    """Return the fields that follow from a release's wheel names and the index's page."""
    tags = [tag for file in files for tag in parse_wheel_filename(file.name)[3]]
    with_gil = {tag.interpreter for tag in tags if not tag.abi.endswith("t")}
    without_gil = {tag.interpreter for tag in tags if tag.abi.endswith("t") and tag.abi != "abi3t"}
    platforms = {match[1] for tag in tags if (match := _LINUX.fullmatch(tag.platform))}
    days = [file.uploaded for file in files if file.uploaded]
    requires_python = {file.requires_python for file in files if file.requires_python}
    row: dict[str, Any] = {
        "released": min(days, default=""),
        "requires_python": requires_python.pop() if len(requires_python) == 1 else "",
        "pythons": minors(with_gil),
        "free_threaded": [f"{minor}t" for minor in minors(without_gil)],
        # Of several names for one platform the last is the one that spells glibc out (PEP 600).
        "platform": max(platforms, default=""),
    }
    return {name: value for name, value in row.items() if value}


def minors(interpreters: Iterable[str]) -> list[str]:
    """Return `3.9`, `3.13` of `cp39`, `cp313`, in order."""
    matches = [match for name in interpreters if (match := _CPYTHON.fullmatch(name))]
    numbers = sorted((int(match[1]), int(match[2])) for match in matches)
    return [f"{major}.{minor}" for major, minor in numbers]


def requirements(metadata: str, *, extra: str, python: str) -> dict[str, Requirement]:
    """Return the requirements of a wheel on Linux with this extra and Python, by name."""
    environment = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    extras = (extra, "") if extra else ("",)
    by_name = {}
    for text in HeaderParser().parsestr(metadata).get_all("Requires-Dist", []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if not marker or any(marker.evaluate({**environment, "extra": name}) for name in extras):
            by_name[requirement.name] = requirement
    return by_name


def pins(by_name: Mapping[str, Requirement]) -> dict[str, str]:
    """Return the pins of CUDA packages: a bare version if exact, or else the specifier."""
    texts = {name: pin(requirement) for name, requirement in sorted(by_name.items())}
    return {
        name: text for name, text in texts.items() if text and _CUDA_PACKAGE.fullmatch(name.lower())
    }


def pin(requirement: Requirement) -> str:
    """Return the bare version of an exact requirement, or else its specifier."""
    text = str(requirement.specifier)
    exact = re.fullmatch(r"===?([^*,]+)", text)
    return exact[1] if exact else text


def paired_packages(
    releases: Mapping[str, Mapping[str, Requirement]], framework: str, version: str
) -> list[str]:
    """Return the releases whose requirements pin just this version of the framework.

    One that declares a lowest version instead fits all from that one on.
    """
    return [
        release
        for release, by_name in releases.items()
        if framework in by_name
        and (pin(by_name[framework]) == version or _is_from(by_name[framework], version))
    ]


def _is_from(requirement: Requirement, version: str) -> bool:
    """Return whether a requirement is a lowest version, and this one is not below it."""
    operators = {specifier.operator for specifier in requirement.specifier}
    return operators == {">="} and requirement.specifier.contains(version)
