"""The operating system's files are those of its packages: none is changed or missing.

Nothing runs with another's rights but the packages' own programs for that. Seen with root's eyes,
and by dpkg's database, which only vouches for what was changed by accident.

needs: image
seconds: 60
container: root
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _bytecode
import _dpkg
import _files
import _package_paths
import _tag
import _verdict


def powers(top: Path, seen: _files.Seen, packages: _dpkg.Packages) -> Iterator[str]:
    """Yield setuid and setgid programs that no package is known to ship."""
    for entry in filter(_files.is_file, seen.entries):
        if _files.status(entry).st_mode & (stat.S_ISUID | stat.S_ISGID):
            path = os.path.relpath(entry.path, top)
            if path not in packages.listed or not _package_paths.RIGHTS.fullmatch(path):
                yield entry.path


def mismatches(top: Path, packages: _dpkg.Packages) -> Iterator[str]:
    """Yield the differences between files and dpkg's database, kind by kind."""
    seen = _files.tree(top)
    code = _bytecode.files([top / "usr", top / "opt/python"])
    _, forged = _bytecode.forged(code, ())
    _verdict.show(
        files=len(packages.listed), sums=len(packages.sums), seen=len(seen.entries), code=len(code)
    )
    kinds = {
        "is not as its package brought it": _dpkg.changed(top, packages),
        "is gone, which a package brought": _dpkg.gone(top, packages),
        "is no link to a package's file any more": _dpkg.replaced(top, packages),
        "runs with another's rights": list(powers(top, seen, packages)),
    }
    yield from (f"{_files.some(paths)} {label}" for label, paths in kinds.items() if paths)
    yield from forged[:3]


def main(top: Path = Path("/")) -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    packages = _dpkg.read(top)
    _verdict.demand(packages.sums, "dpkg's database tells of no file")
    problems = list(mismatches(top, packages))
    _verdict.demand(not problems, "; ".join(problems))


if __name__ == "__main__":
    main()
