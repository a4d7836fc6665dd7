"""Indexes of Debian and Ubuntu: which package has a library, and what a package depends on."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_LIBRARY: Final = re.compile(
    r"(?:usr/)?lib/(?:x86_64-linux-gnu/)?(?:blas/|lapack/)?(?P<name>lib[\w.+-]+\.so(?:\.\d+)*)"
)
_PRIORITIES: Final = ("required",)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedPackage:
    """A package of an index; `depends` are its dependencies, each with its alternatives."""

    name: str
    priority: str
    depends: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]


def library_packages(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each library in the loader's folders with its package, from a Contents index."""
    for line in lines:
        path, _, owners = line.rstrip().rpartition(" ")
        match = _LIBRARY.fullmatch(path.rstrip())
        if match:
            for owner in owners.split(","):
                yield match["name"], owner.rpartition("/")[2]


def parse_packages(text: str) -> Mapping[str, IndexedPackage]:
    """Return the packages of a Packages index by name."""
    packages = {}
    for stanza in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " "
        )
        if "Package" in fields:
            packages[fields["Package"]] = IndexedPackage(
                name=fields["Package"],
                priority=fields.get("Priority", ""),
                depends=tuple(
                    tuple(re.split(r"[ (:]", choice.strip())[0] for choice in entry.split("|"))
                    for key in ("Pre-Depends", "Depends")
                    for entry in fields.get(key, "").split(",")
                    if entry.strip()
                ),
                provides=tuple(
                    re.split(r"[ (]", entry.strip())[0]
                    for entry in fields.get("Provides", "").split(",")
                    if entry.strip()
                ),
            )
    return packages


def essential(packages: Mapping[str, IndexedPackage]) -> list[str]:
    """Return the packages that every installation has."""
    return [name for name, package in packages.items() if package.priority in _PRIORITIES]


def closure(names: Iterable[str], packages: Mapping[str, IndexedPackage]) -> frozenset[str]:
    """Return packages with all that they depend on; of alternatives the first that there is.

    Recommended packages are left out, as images leave them out.
    """
    providers: dict[str, str] = {}
    for package in packages.values():
        for name in package.provides:
            providers.setdefault(name, package.name)
    selected: set[str] = set()
    waiting = list(names)
    while waiting:
        name = _real(waiting.pop(), packages, providers)
        if name and name not in selected:
            selected.add(name)
            waiting += [_choice(choices, packages, providers) for choices in packages[name].depends]
    return frozenset(selected)


def _real(name: str, packages: Mapping[str, IndexedPackage], providers: Mapping[str, str]) -> str:
    return name if name in packages else providers.get(name, "")


def _choice(
    choices: Collection[str], packages: Mapping[str, IndexedPackage], providers: Mapping[str, str]
) -> str:
    real = (_real(name, packages, providers) for name in choices)
    return next((name for name in real if name), "")
