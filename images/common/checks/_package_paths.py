"""Claims for the paths of the distribution's packages: owners, modes and types.

dpkg records neither owners nor modes. So one rule holds: they are root's, nobody else may change
them, and in `/usr` everybody may read them. What is in them, `os_packages_unmodified` compares.
"""

import re
from functools import partial

import _dpkg
import _tree
from _claims import LINK_MODE, Claims, Image

# Programs that run with another's rights, by the packages that images and users most often have.
RIGHTS = re.compile(
    r"usr/s?bin/(chage|chfn|chsh|crontab|dotlockfile|expiry|fusermount3?|gpasswd|mount|newgidmap"
    r"|newgrp|newuidmap|pam_extrausers_chkpwd|passwd|pkexec|ssh-agent|su|sudo|umount|unix_chkpwd"
    r"|wall|write(\.ul)?)"
    r"|usr/lib/(openssh/ssh-keysign|dbus-1\.0/dbus-daemon-launch-helper"
    r"|[^/]+/utempter/utempter|polkit-1/polkit-agent-helper-1)"
)
# Paths with a mode of their own, by packages' maintainer scripts or in their archives.
SHARED = (0o1777, 0)
OWN_MODES = {
    "root": ((0o700, 0),),
    "tmp": (SHARED,),
    "var/tmp": (SHARED,),
    "run/lock": (SHARED,),
    "var/local": ((0o2775, 50), (0o755, 0)),  # by release, the group `staff` or none
    "var/mail": ((0o2775, 8),),
    "var/cache/ldconfig": ((0o700, 0),),
}
MADE_AT_START = ("run/", "proc/", "dev/", "sys/")
SYSTEM = range(1000)  # accounts and groups of the system
SPECIAL = 0o7000


def claims(image: Image) -> Claims:
    """Return claims for the paths of packages, except regular files without a sum."""
    packages = image.packages
    summed = packages.sums.keys() | packages.settings.keys()
    return {path: partial(judge, has_sum=path in summed) for path in packages.listed}


def strange(image: Image, entry: _tree.Entry, known: Claims) -> str:
    """Return the fault of a package's link whose target has no source; dpkg notes no targets.

    What is made as a system starts, or was left out, need not be there.
    """
    if entry.kind != "link" or entry.path not in image.packages.listed:
        return ""
    real = _tree.resolved(image.tree.entries, entry.path)
    is_made = f"{real}/".startswith((*MADE_AT_START, *_dpkg.LEFT_OUT))
    is_known = (real in known and real != entry.path) or real in image.tree.mounted
    return "" if is_known or is_made else f"leads to {entry.target}, which no package brought"


def judge(entry: _tree.Entry, *, has_sum: bool) -> str:
    """Return the fault of an entry, or an empty text."""
    if entry.kind not in ("file", "folder", "link"):
        return f"is a {entry.kind}, which no package brings"
    if entry.path in OWN_MODES:
        is_so = entry.kind == "folder" and entry.uid == 0
        is_so = is_so and (entry.mode, entry.gid) in OWN_MODES[entry.path]
        return "" if is_so else shown(entry)
    if entry.kind == "file" and not has_sum:
        return "is a file, of which its package has no sum"
    if entry.kind == "link":
        return "" if (entry.uid, entry.gid, entry.mode) == (0, 0, LINK_MODE) else shown(entry)
    return "" if is_right(entry) else shown(entry)


def is_right(entry: _tree.Entry) -> bool:
    if entry.mode & 0o022:
        return False
    if entry.kind == "file" and RIGHTS.fullmatch(entry.path):
        return entry.uid == 0 and entry.gid in SYSTEM
    if entry.mode & SPECIAL:
        return False
    if entry.path.startswith("var/") and entry.kind == "folder":
        return entry.uid in SYSTEM and entry.gid in SYSTEM
    wanted = 0o555 if entry.kind == "folder" else 0o444
    is_public = entry.mode & wanted == wanted or not entry.path.startswith("usr/")
    return (entry.uid, entry.gid) == (0, 0) and is_public


def shown(entry: _tree.Entry) -> str:
    return f"is a package's, and has mode {entry.mode:o} and owner {entry.uid}:{entry.gid}"
