"""What an index and its wheels say of a release -> a row as it would be written today."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

# Only what decides about CUDA is a fact; the rest is the lock's business.
PINNED: Final = re.compile(r"nvidia-.+|cuda-toolkit|triton|tensorrt.*")
_CPYTHON: Final = re.compile(r"cp([0-9])([0-9]+)")
_LINUX: Final = re.compile(r"(manylinux[0-9_]+|linux)_(x86_64|aarch64)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A file that an index offers; `uploaded` is a day, `yanked` whether it was taken back."""

    name: str
    uploaded: str
    requires_python: str
    yanked: bool


def wheels(files: Iterable[ReleaseFile], machine: str) -> Mapping[str, tuple[ReleaseFile, ...]]:
    """The Linux wheels for CPython and this machine, by version; taken back ones are none."""
    found: dict[str, list[ReleaseFile]] = {}
    for file in files:
        if file.yanked or not file.name.endswith(".whl"):
            continue
        try:
            _, version, _, tags = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            continue
        places = {tag.platform for tag in tags}
        if any(_of(place, machine) or place == "any" for place in places):
            found.setdefault(str(version), []).append(file)
    return {version: tuple(found[version]) for version in sorted(found, key=Version)}


def _of(place: str, machine: str) -> bool:
    found = _LINUX.fullmatch(place)
    return bool(found) and found[2] == machine if found else False


def page_row(files: Sequence[ReleaseFile]) -> dict[str, Any]:
    """What the names of a release's wheels say, and the index's page about them."""
    tags = [tag for file in files for tag in parse_wheel_filename(file.name)[3]]
    plain = {tag.interpreter for tag in tags if not tag.abi.endswith("t")}
    free = {tag.interpreter for tag in tags if tag.abi.endswith("t") and tag.abi != "abi3t"}
    places = {found[1] for tag in tags if (found := _LINUX.fullmatch(tag.platform))}
    days = [file.uploaded for file in files if file.uploaded]
    asked = {file.requires_python for file in files if file.requires_python}
    row: dict[str, Any] = {
        "released": min(days, default=""),
        "requires_python": asked.pop() if len(asked) == 1 else "",
        "pythons": minors(plain),
        "free_threaded": [f"{minor}t" for minor in minors(free)],
        # Of several names for one platform the last is the one that spells glibc out (PEP 600).
        "platform": max(places, default=""),
    }
    return {name: value for name, value in row.items() if value}


def minors(interpreters: Iterable[str]) -> list[str]:
    """`3.9`, `3.13` of `cp39`, `cp313`, in order."""
    found = [one for name in interpreters if (one := _CPYTHON.fullmatch(name))]
    return [
        f"{one[1]}.{one[2]}" for one in sorted(found, key=lambda one: (int(one[1]), int(one[2])))
    ]


def requirements(metadata: str, *, extra: str, python: str) -> dict[str, Requirement]:
    """What a wheel asks for on Linux with this extra and Python, by name."""
    place = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = {}
    for text in HeaderParser().parsestr(metadata).get_all("Requires-Dist", []):
        try:
            one = Requirement(text)
        except InvalidRequirement:
            continue
        extras = (extra, "") if extra else ("",)
        if not one.marker or any(one.marker.evaluate({**place, "extra": name}) for name in extras):
            found[one.name] = one
    return found


def pins(found: Mapping[str, Requirement]) -> dict[str, str]:
    """Those about CUDA: a bare version where it is pinned exactly, or else the specifier."""
    named = {name: pin(one) for name, one in sorted(found.items())}
    return {name: text for name, text in named.items() if PINNED.fullmatch(name.lower()) and text}


def pin(one: Requirement) -> str:
    text = str(one.specifier)
    exact = re.fullmatch(r"===?([^*,]+)", text)
    return exact[1] if exact else text


def companions(
    releases: Mapping[str, Mapping[str, Requirement]], framework: str, version: str
) -> list[str]:
    """Return the releases whose requirements pin just this version of the framework."""
    return [
        release
        for release, requirements in releases.items()
        if framework in requirements and pin(requirements[framework]) == version
    ]
