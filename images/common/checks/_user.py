"""Checks of the user that the image runs as."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

GIVEN = Path("/proc/self/environ")


def given() -> dict[str, str]:
    """Return the variables that this process was started with, without those of Python's start."""
    rows = GIVEN.read_bytes().decode(errors="surrogateescape").split("\0")
    return dict(row.split("=", 1) for row in rows if "=" in row)


def current() -> dict[str, str]:
    """Return the current user's name, home and ids; without a passwd entry only the ids.

    The group is that of this process and, where it differs, also that of the passwd entry.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        row = pwd.getpwuid(uid)
    except KeyError:
        return {"user": "", "uid": str(uid), "gid": str(gid), "home": ""}
    groups = " and ".join(map(str, dict.fromkeys((gid, row.pw_gid))))
    return {"user": row.pw_name, "uid": str(uid), "gid": groups, "home": row.pw_dir}


def mismatches(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return where this user differs from the expected one; root is named as such."""
    if actual["uid"] == "0":
        return ["user: this runs as root"]
    return [
        f"{axis}: {expected[axis]} is promised, this is {actual[axis] or 'none'}"
        for axis in ("user", "uid", "gid", "home")
        if actual[axis] != expected[axis]
    ]
