"""Which package of a distribution has a shared library, and which libraries images have anyway."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionLibraries:
    """The libraries of one distribution.

    `packages` has the package of each library by the library's name. `base` are libraries that
    every image has. `brings` are the packages, among those of `packages`, that a package depends
    on, with itself.
    """

    packages: Mapping[str, str]
    base: frozenset[str]
    brings: Mapping[str, frozenset[str]]

    def installed(self, apt: Iterable[str]) -> frozenset[str]:
        """Return the known libraries of an image with these packages of the distribution."""
        owners = {owner for name in apt for owner in self.brings.get(name, {name})}
        return self.base | {name for name, owner in self.packages.items() if owner in owners}

    def package_of(self, library: str) -> str:
        """Return the package that has a library, or an empty text.

        The file of a library may be needed by its full name: `libgomp.so.1.0.0` is the file of
        `libgomp.so.1`.
        """
        return self.packages.get(library) or self.packages.get(_short_name(library), "")

    def is_in(self, library: str, names: Collection[str]) -> bool:
        """Return whether a library is among these names, or is the file of one of a package."""
        short = _short_name(library)
        return library in names or (short in self.packages and short in names)

    def smallest(self, libraries: Iterable[str]) -> tuple[str, ...]:
        """Return packages that have these libraries, without those that another brings."""
        owners = {owner for name in libraries if (owner := self.package_of(name))}
        return tuple(
            sorted(
                owner
                for owner in owners
                if not any(
                    owner != other and owner in self.brings.get(other, frozenset())
                    for other in owners
                )
            )
        )


def _short_name(library: str) -> str:
    """Return `libgomp.so.1` of `libgomp.so.1.0.0`."""
    name, ending, version = library.partition(".so.")
    return f"{name}{ending}{version.partition('.')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLibraries:
    """The libraries of distributions, by the distribution's name in the facts."""

    source: str
    checked: str
    distributions: Mapping[str, DistributionLibraries]


@cache
def parse_system_libraries(text: str) -> SystemLibraries:
    """Return the table of a JSON file that `nox -s libraries` wrote."""
    rows: Mapping[str, Any] = json.loads(text)
    return SystemLibraries(
        source=rows["source"],
        checked=rows["checked"],
        distributions={
            name: DistributionLibraries(
                packages=row["packages"],
                base=frozenset(row["base"]),
                brings={
                    package: frozenset({package, *others})
                    for package, others in row["brings"].items()
                },
            )
            for name, row in rows["distributions"].items()
        },
    )


def system_libraries_text(libraries: SystemLibraries) -> str:
    """Return the table as JSON, a library or package on a line."""
    distributions = {
        name: {
            "packages": dict(sorted(row.packages.items())),
            "base": sorted(row.base),
            "brings": {
                package: sorted(others - {package})
                for package, others in sorted(row.brings.items())
                if others - {package}
            },
        }
        for name, row in sorted(libraries.distributions.items())
    }
    content = {
        "source": libraries.source,
        "checked": libraries.checked,
        "distributions": distributions,
    }
    return "".join(_lines(content, 0)) + "\n"


def _lines(value: object, depth: int) -> Iterator[str]:
    """Yield JSON with lists on one line each."""
    if not isinstance(value, Mapping):
        yield json.dumps(value)
        return
    space = " " * (depth + 1)
    yield "{\n"
    for number, (key, inner) in enumerate(value.items()):
        yield f"{',' + chr(10) if number else ''}{space}{json.dumps(key)}: "
        yield from _lines(inner, depth + 1)
    yield f"\n{' ' * depth}}}"
