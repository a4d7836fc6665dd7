"""The operating system's files are those of its packages: none changed, gone or from elsewhere.

Nothing runs with another's rights but the packages' own programs for that. Seen with root's eyes,
and by dpkg's database, which only vouches for what was changed by accident.

needs: image
seconds: 60
container: root
"""

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _bytecode
import _dpkg
import _files
import _libraries
import _tag
import _verdict

# Where every file is a package's, but for these. `/etc` is full of what packages write themselves:
# there only what every program or shell loads is looked at.
WHOLE = ("usr/", "etc/ld.so.conf", "etc/ld.so.preload", "etc/profile.d/", "etc/python3", "opt/")
WHOLE += ("boot/", "srv/", "mnt/", "media/")
OURS = (
    r"opt/(env|python)(/.*)?|etc/profile\.d/dlimg\.sh|etc/python3/debian_config"
    r"|usr/local/bin/(python(3(\.\d+)?)?|dlimg-(entrypoint|healthcheck|overlay))"
    "|usr/local/lib/dlimg/(python|command|find-overlay|packages/.*)"
)
COMMAND = "/usr/local/lib/dlimg/command"  # what commands of wheels are links to
MADE = (  # by packages as they are installed, or by those who make bases
    r"usr/share/info/dir|usr/local/man|usr/sbin/(policy-rc\.d|initctl)|usr/local/s?bin/unminimize"
    r"|usr/lib/.*/gconv/gconv-modules\.cache|usr/lib/locale/locale-archive|usr/share/mime/.*"
    "|usr/bin/man"
)
KNOWN = re.compile(f"{OURS}|{MADE}")
CHOICES = "/etc/alternatives/"
# Programs that run with another's rights, by the packages that images and users most often have.
RIGHTS = re.compile(
    r"usr/s?bin/(chage|chfn|chsh|crontab|dotlockfile|expiry|fusermount3?|gpasswd|mount|newgidmap"
    r"|newgrp|newuidmap|pam_extrausers_chkpwd|passwd|pkexec|ssh-agent|su|sudo|umount|unix_chkpwd"
    r"|wall|write(\.ul)?)"
    r"|usr/lib/(openssh/ssh-keysign|dbus-1\.0/dbus-daemon-launch-helper"
    r"|[^/]+/utempter/utempter|polkit-1/polkit-agent-helper-1)"
)


def strays(top: Path, seen: _files.Seen, packages: _dpkg.Packages) -> list[str]:
    """Files where only packages bring any, of none of them."""
    given = set(_libraries.mounts())  # the driver comes so, and links to its libraries
    found = []
    for entry in seen.entries:
        path = os.path.relpath(entry.path, top)
        if not path.startswith(WHOLE) or path in packages.listed or KNOWN.fullmatch(path):
            continue
        if entry.is_dir(follow_symlinks=False) or is_choice(entry) or goes_with(path, packages):
            continue
        if os.path.realpath(entry.path) not in given:
            found.append(entry.path)
    return found


def is_choice(entry: os.DirEntry) -> bool:
    """Whether this is a link by which one of several programs is chosen, or a wheel's command."""
    return entry.is_symlink() and str(Path(entry.path).readlink()).startswith((CHOICES, COMMAND))


def goes_with(path: str, packages: _dpkg.Packages) -> bool:
    """Whether this is byte code of a package's module."""
    folder, _, name = path.rpartition("/")
    module = name.partition(".")[0]
    return (
        name.endswith(".pyc")
        and folder.endswith("/__pycache__")
        and f"{folder.removesuffix('__pycache__')}{module}.py" in packages.listed
    )


def powers(top: Path, seen: _files.Seen, packages: _dpkg.Packages) -> Iterator[str]:
    """Programs that run with another's rights and are none of those that packages have for that."""
    for entry in filter(_files.is_file, seen.entries):
        if _files.status(entry).st_mode & (stat.S_ISUID | stat.S_ISGID):
            path = os.path.relpath(entry.path, top)
            if path not in packages.listed or not RIGHTS.fullmatch(path):
                yield entry.path


def lies(top: Path, packages: _dpkg.Packages) -> Iterator[str]:
    """All in which the files leave the database, kind by kind."""
    seen = _files.tree(top)
    code = _bytecode.files([top / "usr/lib", top / "opt/python"])
    _, forged = _bytecode.forged(code, ())
    _verdict.show(
        files=len(packages.listed), sums=len(packages.sums), seen=len(seen.entries), code=len(code)
    )
    kinds = {
        "is not as its package brought it": _dpkg.changed(top, packages),
        "is gone, which a package brought": _dpkg.gone(top, packages),
        "is no link to a package's file any more": _dpkg.replaced(top, packages),
        "belongs to no package": strays(top, seen, packages),
        "runs with another's rights": list(powers(top, seen, packages)),
    }
    yield from (f"{_files.some(paths)} {what}" for what, paths in kinds.items() if paths)
    yield from forged[:3]


def main(top: Path = Path("/")) -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    packages = _dpkg.read(top)
    _verdict.demand(packages.sums, "dpkg's database tells of no file")
    found = list(lies(top, packages))
    _verdict.demand(not found, "; ".join(found))


if __name__ == "__main__":
    main()
