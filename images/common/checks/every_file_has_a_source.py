"""Every path of the image has a source: a package, a locked wheel, the layout, or a closed list.

What the layout and the lock come to is handed in from outside. Everything else fails, by name.

needs: image
seconds: 60
container: root
"""

import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _accounts
import _alternatives
import _apt
import _base_files
import _certificates
import _databases
import _dpkg
import _environment
import _excuses
import _libraries
import _loader
import _lock
import _package_paths
import _services
import _tag
import _tree
import _uv_python
import _verdict
from _claims import Claims, Image

MOST = 3  # paths of one fault that a reason names
MANY = 100  # that the figures name


def claims(image: Image, layout: _environment.Layout, expected: dict[str, str]) -> Claims:
    """Return the claims of all sources; later sources override earlier ones for the same path."""
    return {
        **_package_paths.claims(image),
        **_base_files.claims(image),
        **_databases.claims(image),
        **_apt.claims(image),
        **_alternatives.claims(image),
        **_certificates.claims(image),
        **_loader.claims(image),
        **_services.claims(image),
        **_accounts.claims(image, expected),
        **_uv_python.claims(image, layout.managed_python),
        **_environment.claims(image, layout, _lock.read()),
    }


def faults(image: Image, known: Claims) -> Iterator[tuple[str, str]]:
    """Yield each path that has no source, or differs from its source's claim, with its fault."""
    driver = set(driver_links(image))
    places = _tree.parents({*image.tree.mounted, *driver})
    for path, entry in sorted(image.tree.entries.items()):
        if path in image.tree.mounted or path == _tree.OURS:
            continue
        if entry.attributes:
            yield path, f"has {entry.attributes[0]}"
        judge = known.get(path)
        if judge is None:
            is_place = entry.kind == "folder" and path in places
            if not (is_place or path in driver):
                yield path, "has no source"
        elif fault := judge(entry) or _package_paths.strange(image, entry, known):
            yield path, fault


def summarize(problems: list[tuple[str, str]], limit: int) -> Iterator[str]:
    """Yield the faults as text: the first paths of each, and the number of others."""
    by_fault: dict[str, list[str]] = {}
    for path, fault in problems:
        by_fault.setdefault(fault, []).append(path)
    for fault, paths in by_fault.items():
        yield from (f"/{path} {fault}" for path in paths[:limit])
        if len(paths) > limit:
            yield f"{len(paths) - limit} more paths: {fault}"


def excuse(
    found: list[tuple[str, str]], allowed: list[_excuses.Excepted]
) -> tuple[dict[str, str], list[str]]:
    """Return the excepted paths with the reasons, and the exceptions that nothing needs."""
    excepted = {
        path: each.why for path, _ in found for each in allowed if fnmatchcase(path, each.about)
    }
    return excepted, [
        f"the matrix excepts {each.about}, and everything there has a source"
        for each in allowed
        if not any(fnmatchcase(path, each.about) for path in excepted)
    ]


def driver_links(image: Image) -> Iterator[str]:
    """Yield links to mounts in `/usr`: a driver's libraries get further names by them."""
    mounted = {path for path in image.tree.mounted if path.startswith("usr/")}
    if mounted:
        for path, entry in image.tree.entries.items():
            if entry.kind == "link" and _tree.resolved(image.tree.entries, path) in mounted:
                yield path


def main(top: Path = Path("/")) -> None:
    expected = _tag.cell()
    if not expected:
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    layout = _environment.read()
    packages = _dpkg.read(top)
    _verdict.demand(packages.sums, "dpkg's database tells of no file")
    mounts = _libraries.mounts() if top == Path("/") else []
    image = Image(top, _tree.read(top, mounts), packages, _dpkg.installed(top))
    known = claims(image, layout, expected)
    found = list(faults(image, known))
    excepted, stale = excuse(found, _excuses.exceptions("every_file_has_a_source"))
    problems = [
        *((path, fault) for path, fault in found if path not in excepted),
        *((path, "is gone") for path in _environment.gone(image, layout)),
    ]
    _verdict.show(
        paths=len(image.tree.entries),
        mounted=len(image.tree.mounted),
        managed_python=_uv_python.shown(image),
        faults=list(summarize(problems, MANY)),
        excepted=dict(list(excepted.items())[:MANY]),
    )
    reasons = [*summarize(problems, MOST), *stale]
    _verdict.demand(not reasons, "; ".join(reasons))


if __name__ == "__main__":
    main()
