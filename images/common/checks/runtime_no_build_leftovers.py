"""The build left no caches, package lists or logs, and no path is writable for everyone.

It runs as root, because builds leave caches in /root. Unreadable folders are `closed` among the
figures.

needs: image
seconds: 60
container: root
"""

import os
import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _files
import _tag
import _verdict

OURS = "tmp/dlimg"
HOME = r"(home/)?[^/]+"
LEFT = {
    "a package list": r"var/lib/apt/lists/.+|var/cache/apt/[^/]+\.bin",
    "a package": r"var/cache/apt/archives/.+\.deb|(var|home|code|data|output)/.+\.whl",
    "a log": r"var/log/.+",
    "a cache": rf"{HOME}/\.(cache/(pip|uv|pypoetry)|npm|conda)/.+|var/cache/ldconfig/.+",
    "a mount of the build": r"run/(secrets|cache|uv|files|locked|wheels|python)/.+",
    "an old copy": (
        r"etc/(passwd|shadow|group|gshadow|subuid|subgid)-|var/(lib/dpkg|cache/debconf)/.+-old"
    ),
}
PATTERNS = {kind: re.compile(pattern) for kind, pattern in LEFT.items()}


def what(path: str) -> str:
    """Return the kind of build leftover that a path is, or an empty text."""
    return next((name for name, pattern in PATTERNS.items() if pattern.fullmatch(path)), "")


def left(top: Path, seen: _files.Seen, user: int) -> list[str]:
    """Return files of the build, and files of other users under /tmp."""
    by_kind: dict[str, list[str]] = {}
    for entry in filter(_files.is_file, seen.entries):
        path = os.path.relpath(entry.path, top)
        kind = what(path)
        is_temporary = path.startswith(("tmp/", "var/tmp/")) and not path.startswith(f"{OURS}/")
        if is_temporary and _files.status(entry).st_uid != user:
            kind = "a temporary file"
        if kind:
            by_kind.setdefault(kind, []).append(entry.path)
    return [f"{kind} is left: {_files.some(paths)}" for kind, paths in by_kind.items()]


def open_ones(top: Path, seen: _files.Seen) -> list[str]:
    """Return the paths outside /tmp that any user may write to."""
    below = str(top / "tmp") + "/"
    opened = [entry.path for entry in seen.entries if _files.is_open(entry)]
    paths = [path for path in opened if not path.startswith(below)]
    return [f"anyone may write to {_files.some(paths)}"] if paths else []


def main(top: Path = Path("/")) -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    seen = _files.tree(top)
    user = int(_tag.cell().get("uid") or os.geteuid())  # other checks write as the image's user
    _verdict.show(entries=len(seen.entries), closed=sorted(seen.closed))
    mismatches = [*left(top, seen, user), *open_ones(top, seen)]
    _verdict.demand(not mismatches, "; ".join(mismatches))


if __name__ == "__main__":
    main()
