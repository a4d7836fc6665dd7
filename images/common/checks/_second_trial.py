"""Libraries that fail to load alone, tried once more as their packages load them.

A package may load a library of its own, or of a package that it requires, before a module that
needs it: then this module loads after the package's import, or after that library.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import _libraries
import _records
import _tag

REQUIRED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Order(NamedTuple):
    """Modules to import after the framework, libraries to load then, and those to be tried."""

    modules: list[str]
    first: list[str]
    tried: list[str]


class Trial(NamedTuple):
    """Complaints of libraries that were tried in one process, and the names loaded there.

    `judged` are names of libraries that have a complaint of their own: nothing that needs one of
    them is blamed for it. `trouble` says why the process came to no result.
    """

    complaints: dict[Path, str]
    loaded: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    trouble: str = ""


def again(first: Trial, tried: Callable[[Order], Trial]) -> Iterable[tuple[str, Trial]]:
    """Yield a trial of each package whose libraries complain, and its name.

    Libraries of no package are in the trial of an empty name, and are not tried again.
    """
    complaints = {path: text for path, text in first.complaints.items() if text}
    listed = _records.by_place() if complaints else {}
    packages = {path: _tag.normal(listed[path].package) for path in complaints if path in listed}
    required = requirements() if packages else {}
    for package in sorted({*packages.values()}):
        own = {path: text for path, text in complaints.items() if packages.get(path) == package}
        brought = libraries_of({package, *closure(package, required)}, listed)
        missing = {
            name
            for path, text in complaints.items()
            if path in brought.values()
            for name in _libraries.absent(path, text, first.loaded)
        }
        order = Order(
            modules=_records.modules(package, listed),
            first=[str(path) for name, path in brought.items() if name in missing],
            tried=[str(path) for path in own],
        )
        trial = tried(order)
        failed = {path.name for path, text in trial.complaints.items() if text}
        if trial.trouble:
            trial = Trial(own, first.loaded, trouble=trial.trouble)
        yield package, trial._replace(judged=frozenset(failed))
    alone = {path: text for path, text in complaints.items() if path not in packages}
    yield "", Trial(alone, first.loaded)


def libraries_of(packages: Iterable[str], listed: Mapping[Path, _records.Row]) -> dict[str, Path]:
    """Return the libraries that these packages have brought and that are there, by name."""
    names = set(packages)
    return {
        path.name: path
        for path, row in listed.items()
        if _libraries.LIBRARY.fullmatch(path.name)
        and _tag.normal(row.package) in names
        and path.is_file()
    }


def requirements() -> dict[str, set[str]]:
    """Return the names that each installed package requires, with any extra."""
    return {
        _tag.normal(package.metadata["Name"] or ""): {
            _tag.normal(match[0])
            for text in package.requires or ()
            if (match := REQUIRED.match(text))
        }
        for package in _tag.installed()
    }


def closure(package: str, required: Mapping[str, set[str]]) -> set[str]:
    """Return all that a package requires, with what these require."""
    names: set[str] = set()
    waiting = {package}
    while waiting:
        names |= waiting
        waiting = {name for each in waiting for name in required.get(each, ())} - names
    return names - {package}
