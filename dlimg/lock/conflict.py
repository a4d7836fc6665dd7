"""Conflicts in uv's reports: which two requirements need what of which package.

uv has no other form of a report than text; this is the only module that reads it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[^\]]*\])?"
_SPECIFIER: Final = r"(?:[=<>!~]=?=?[^\s,|]*[^\s,.|](?:,[=<>!~]=?=?[^\s,|]*[^\s,.|])*)"
_DEPENDS: Final = re.compile(
    rf"(?P<parent>{_NAME})(?P<version>{_SPECIFIER})? depends on (?P<child>{_NAME})"
    rf"(?P<specifier>{_SPECIFIER})?"
)
_ABSENT: Final = re.compile(
    rf"(?P<package>{_NAME})(?P<specifier>{_SPECIFIER})? (?P<why>was not found in the package "
    r"registry|ha(?:s|ve) no usable wheels|has no wheels with a matching [a-zA-Z ]+?tag)"
)
_NO_VERSION: Final = re.compile(
    rf"there (?:is|are) no versions? of (?P<package>{_NAME})(?P<specifier>{_SPECIFIER})?"
)
_BRIEF: Final = {
    "was": "is not on the package index",
    "has no usable": "has no wheel on the package index",
    "have no usable": "has no wheel on the package index",
    "has no wheels": "has no wheel for this Python and platform",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Requirements that do not fit together, and the package in the way.

    `fitting` is the version of the package that one of them needs, if only one will do.
    """

    requirements: tuple[str, ...]
    package: str
    fitting: str = ""
    message: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    """A requirement of a parent, such as `torch==2.6.0`, on a package."""

    parent: str
    child: str
    specifier: str


def conflict_of(report: str, requirements: Sequence[str]) -> Conflict | None:
    """Return the conflict that uv's report describes; None if it cannot be understood."""
    demands = [*_demands(report), *_asked(requirements)]
    return _absent(report, demands, requirements) or _contradiction(demands, requirements)


def _demands(report: str) -> Iterator[_Demand]:
    for match in _DEPENDS.finditer(report):
        parent = f"{match['parent']}{match['version'] or ''}"
        yield _Demand(parent=parent, child=_key(match["child"]), specifier=match["specifier"] or "")


def _asked(requirements: Sequence[str]) -> Iterator[_Demand]:
    for text in requirements:
        requirement = Requirement(text)
        yield _Demand(parent="", child=_key(requirement.name), specifier=str(requirement.specifier))


def _key(name: str) -> str:
    return canonicalize_name(name.partition("[")[0])


def _absent(
    report: str, demands: Sequence[_Demand], requirements: Sequence[str]
) -> Conflict | None:
    """Return the conflict about a package that the index does not have in any fitting version."""
    match = _ABSENT.search(report) or _NO_VERSION.search(report)
    if match is None:
        return None
    name = f"{match['package']}{match['specifier'] or ''}"
    why = match.groupdict().get("why") or "was"
    brief = next(text for start, text in _BRIEF.items() if why.startswith(start))
    message = f"{name} {brief}"
    direct = _named(match["package"], requirements)
    if direct:
        return _conflict((direct,), match["package"], message)
    owner = next(
        (
            _root(demand, demands, requirements)
            for demand in demands
            if demand.parent and demand.child == _key(match["package"])
        ),
        "",
    )
    if not owner:
        return None
    return _conflict((owner,), match["package"], f"{owner} needs {name}, which {brief}")


def _contradiction(demands: Sequence[_Demand], requirements: Sequence[str]) -> Conflict | None:
    """Return the first package of which two requirements need versions that exclude each other."""
    for index, first in enumerate(demands):
        for second in demands[index + 1 :]:
            if first.child != second.child or not exclude(first.specifier, second.specifier):
                continue
            needing = first if first.parent else second
            other = second if needing is first else first
            owner = _root(needing, demands, requirements)
            rival = _root(other, demands, requirements)
            if owner and rival and owner != rival:
                return _between((owner, needing), (rival, other))
    return None


def _between(first: tuple[str, _Demand], second: tuple[str, _Demand]) -> Conflict:
    (owner, needing), (rival, other) = first, second
    package = needing.child
    needs = f"{_through(owner, needing)} needs {package}{needing.specifier}"
    if not other.parent:
        conflict = _conflict((owner, rival), package, f"{needs}, and {rival} is asked for")
        exact = re.fullmatch(r"==([^,*]+)", needing.specifier)
        return replace(conflict, fitting=exact[1] if exact else "")
    also = f"{_through(rival, other)} needs {package}{other.specifier}"
    return _conflict((owner, rival), package, f"{needs}, and {also}")


def _through(owner: str, demand: _Demand) -> str:
    """Return the requirement, with the package that it brings along and that has the demand."""
    is_own = _key(demand.parent.partition("=")[0].partition("<")[0].partition(">")[0]) == _key(
        Requirement(owner).name
    )
    return owner if is_own else f"{owner} (by {demand.parent})"


def _conflict(requirements: tuple[str, ...], package: str, message: str) -> Conflict:
    return Conflict(
        requirements=requirements,
        package=_key(package),
        message=message,
        source="the package index, resolved by uv",
    )


def _named(name: str, requirements: Sequence[str]) -> str:
    """Return the requirement of this package, or an empty text."""
    return next((text for text in requirements if _key(Requirement(text).name) == _key(name)), "")


def _root(demand: _Demand, demands: Sequence[_Demand], requirements: Sequence[str]) -> str:
    """Return the requirement that brings a demand along; its own where the user asked."""
    if not demand.parent:
        return _named(demand.child, requirements)
    visited: set[str] = set()
    queue = [demand.parent]
    while queue:
        name = re.match(_NAME, queue.pop(0))
        key = _key(name[0]) if name else ""
        own = _named(key, requirements)
        if own:
            return own
        if key not in visited:
            visited.add(key)
            queue += [each.parent for each in demands if each.child == key and each.parent]
    return ""


def exclude(first: str, second: str) -> bool:
    """Return whether no version satisfies both; unknown is no."""
    for pinned, other in ((first, second), (second, first)):
        version = re.fullmatch(r"===?([^,*]+)", pinned)
        if version and other:
            try:
                return not SpecifierSet(other).contains(Version(version[1]), prereleases=True)
            except (InvalidSpecifier, InvalidVersion):
                return False
    return _is_above(first, second) or _is_above(second, first)


def _is_above(first: str, second: str) -> bool:
    """Return whether all versions of the first are above those of the second."""
    low, high = _lowest(first), _highest(second)
    if low != high:
        return low > high
    try:
        return not all(
            SpecifierSet(each).contains(low, prereleases=True) for each in (first, second)
        )
    except InvalidSpecifier:
        return False


def _lowest(specifier: str) -> Version:
    bounds = re.findall(r"(?:>=?|~=)\s*([0-9][^\s,]*)", specifier)
    return max(map(Version, bounds), default=Version("0"))


def _highest(specifier: str) -> Version:
    bounds = re.findall(r"<=?\s*([0-9][^\s,]*)", specifier)
    return min(map(Version, bounds), default=Version("9999"))
