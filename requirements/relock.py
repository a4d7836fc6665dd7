"""Write or check the locks of dlimg's own dependencies: `nox -s relock`, `nox -s lint`.

Each set of pyproject.toml has one file: exact versions with hashes, for every Python that dlimg
runs on (by markers), without any address.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
PYPROJECT = HERE.parent / "pyproject.toml"
OVERRIDES = HERE / "overrides.in"
OLDEST = "3.11"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Every nox session installs these two beside its own set.
SHARED = ("build", "runtime")
HEADER = "# Made by `nox -s relock`; do not edit. It locks what pyproject.toml asks for:\n"
_ASKED = "#   "
_PINNED = re.compile(
    r"(?P<name>[a-z0-9-]+)(\[[a-z0-9,-]+\])?==(?P<version>[0-9][0-9a-z.]*)"
    r"( ; (?P<marker>[a-z_]+ [^\\\n#@/]+))?"
    r"(?P<hashes>( \\\n    --hash=sha256:[0-9a-f]{64})*)\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One locked package: its only version, on the Pythons that the marker is true for."""

    name: str
    version: str
    marker: Marker | None
    has_hash: bool

    def applies(self, python: str) -> bool:
        return self.marker is None or self.marker.evaluate(_environment(python))


def sets(pyproject: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    """The requirements of each set, by the name of its lock; shared sets come first."""
    declared = pyproject["dependency-groups"]
    groups = {name: _group(declared, name) for name in declared}
    build = (*pyproject["build-system"]["requires"], *groups.pop("editable"))
    runtime = tuple(pyproject["project"]["dependencies"])
    return {"build": build, "runtime": runtime, **groups}


def _group(declared: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The requirements of a dependency group, with those of the groups that it includes."""
    return tuple(
        requirement
        for entry in declared[name]
        for requirement in (
            (entry,) if isinstance(entry, str) else _group(declared, entry["include-group"])
        )
    )


def header(asked: Sequence[str]) -> str:
    return HEADER + "".join(f"{_ASKED}{requirement}\n" for requirement in asked)


def compile_argv(name: str, output: Path, *, upgrade: bool) -> list[str]:
    """The command that resolves requirements from its standard input."""
    shared = SHARED[: SHARED.index(name)] if name in SHARED else SHARED
    return [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "-"),
        *("--universal", "--python-version", OLDEST, "--generate-hashes"),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--no-emit-index-url", "--no-emit-find-links", "--overrides", str(OVERRIDES)),
        *(word for other in shared for word in ("--constraint", str(HERE / f"{other}.txt"))),
        *(("--upgrade",) if upgrade else ()),
        *("--output-file", str(output)),
    ]


def pinned(text: str) -> tuple[list[Pinned], str]:
    """The locked packages in the body of a lock, and whatever else stands in it."""
    entries = [
        Pinned(
            name=match["name"],
            version=match["version"],
            marker=Marker(match["marker"]) if match["marker"] else None,
            has_hash=bool(match["hashes"]),
        )
        for match in _PINNED.finditer(text)
    ]
    return entries, _PINNED.sub("", text).strip()


def problems(text: str, asked: Sequence[str]) -> list[str]:
    """Why this lock is not one of these requirements; empty where it is."""
    start = header(asked)
    if not text.startswith(start):
        return ["it was made for other requirements than pyproject.toml has now"]
    entries, rest = pinned(text.removeprefix(start))
    found = [f"it holds what is no locked package: {rest.splitlines()[0]}"] if rest else []
    found += [f"{entry.name} has no hash" for entry in entries if not entry.has_hash]
    for python in PYTHONS:
        found += _problems_on(python, entries, asked)
    return found


def disagreements(texts: Mapping[str, str]) -> list[str]:
    """Packages that a session would install in two versions."""
    found = []
    for python in PYTHONS:
        versions = {name: _versions(text, python) for name, text in texts.items()}
        for name, own in versions.items():
            for shared in SHARED:
                found += [
                    f"{package} is {version} in {name} and {versions[shared][package]} in {shared}"
                    for package, version in own.items()
                    if versions[shared].get(package, version) != version
                ]
    return list(dict.fromkeys(found))


def _problems_on(python: str, entries: Sequence[Pinned], asked: Sequence[str]) -> Iterator[str]:
    here = [entry for entry in entries if entry.applies(python)]
    versions = {entry.name: entry.version for entry in here}
    if len(versions) != len(here):
        yield f"it has two versions of a package for Python {python}"
    for requirement in map(Requirement, asked):
        if requirement.marker and not requirement.marker.evaluate(_environment(python)):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            yield f"{requirement} is answered by {version or 'nothing'} for Python {python}"


def _versions(text: str, python: str) -> Mapping[str, str]:
    return {one.name: one.version for one in pinned(text)[0] if one.applies(python)}


def _environment(python: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }


def write(wanted: Mapping[str, tuple[str, ...]], *, upgrade: bool) -> None:
    for name, asked in wanted.items():
        path = HERE / f"{name}.txt"
        argv = compile_argv(name, path, upgrade=upgrade)
        subprocess.run(argv, input="\n".join(asked), text=True, check=True)
        path.write_text(header(asked) + path.read_text(encoding="utf-8"), encoding="utf-8")


def check(wanted: Mapping[str, tuple[str, ...]]) -> list[str]:
    """All that is wrong with the locks that lie here."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.txt"))}
    found = [f"{name}.txt: nothing asks for it" for name in texts if name not in wanted]
    found += [f"{name}.txt: there is no such file" for name in wanted if name not in texts]
    if found:
        return found
    for name, text in texts.items():
        found += [f"{name}.txt: {problem}" for problem in problems(text, wanted[name])]
    return found + disagreements(texts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="nox -s relock --", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one is stale")
    parser.add_argument(
        "--no-upgrade", action="store_true", help="change no version that may stay as it is"
    )
    options = parser.parse_args()
    wanted = sets(tomllib.loads(PYPROJECT.read_text(encoding="utf-8")))
    if not options.check:
        write(wanted, upgrade=not options.no_upgrade)
    found = check(wanted)
    for line in found:
        print(f"requirements/{line}", file=sys.stderr)
    if found:
        print("  hint: run `nox -s relock` and review the diff", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
