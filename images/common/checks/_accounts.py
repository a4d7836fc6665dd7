"""Checks of users and groups: only the distribution's own, packages' and `user` may exist.

The distribution's own are in base-passwd's lists; a package that brings an account names it in its
maintainer script. None of them has a password, and none but root has root's number.
"""

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest

from _claims import Claims, Image, file, joined

MASTER = "usr/share/base-passwd"
HIDDEN = (0o640, (0, 42))  # for root and the group `shadow`
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")
# Of accounts that base-passwd does not have: those of packages, and they may not log in.
SYSTEM = range(1, 1000)
LOCKED = re.compile(r"[!*]{1,2}")
MAKERS = ("adduser", "addgroup", "useradd", "groupadd")
RANGE = "100000:65536"
SHELL = "/bin/bash"
Expected = dict[str, str]


def claims(image: Image, expected: Expected) -> Claims:
    """Return claims for the six lists; `expected` has name, ids and home of the user."""

    def about(judge: Callable[..., Iterator[str]], *more: object) -> Callable[[], str]:
        return lambda: joined(judge(image, *more))

    mode, owner = HIDDEN
    return {
        "etc/passwd": file(about(users, expected)),
        "etc/group": file(about(groups, expected)),
        "etc/shadow": file(about(passwords), modes=(mode,), owner=owner),
        "etc/gshadow": file(about(group_passwords), modes=(mode,), owner=owner),
        "etc/subuid": file(about(ranges, expected, "etc/subuid")),
        "etc/subgid": file(about(ranges, expected, "etc/subgid")),
    }


def rows(text: str) -> list[list[str]]:
    return [line.split(":") for line in text.splitlines()]


def users(image: Image, expected: Expected) -> Iterator[str]:
    """Yield accounts that neither base-passwd nor a package has, and repeated ones."""
    entries = rows(image.text("etc/passwd"))
    known = {row[0]: row for row in rows(image.text(f"{MASTER}/passwd.master"))}
    yield from repeated(entries, 0, "account")
    yield from repeated(entries, 2, "uid")
    for row in entries:
        if len(row) != 7:
            yield "has a row that is no account"
        elif row[1] != "x":
            yield f"{row[0]} has its password here"
        elif row[0] == expected["user"]:
            if row[2:4] + row[5:] != [expected["uid"], expected["gid"], expected["home"], SHELL]:
                yield f"{row[0]} is not as the layout makes it"
        elif row[0] in known:
            yield from unlike_master(row, known[row[0]])
        else:
            yield from foreign_account(image, row)
    if expected["user"] not in [row[0] for row in entries]:
        yield f"{expected['user']} is not there"


def unlike_master(row: list[str], known: list[str]) -> Iterator[str]:
    """Yield a fault for an account that differs from base-passwd's entry; comments may differ."""
    if row[2:4] + row[5:] != known[2:4] + known[5:]:
        yield f"{row[0]} is not as base-passwd brought it"


def foreign_account(image: Image, row: list[str]) -> Iterator[str]:
    """Yield a fault for an account outside base-passwd that no package creates either."""
    name, _, uid, _, _, _, shell = row
    if not (uid.isdecimal() and int(uid) in SYSTEM and shell in NO_LOGIN):
        yield f"{name} is no account of the distribution"
    elif not is_named_by_package(image, name):
        yield f"no package names the account {name}"


def groups(image: Image, expected: Expected) -> Iterator[str]:
    """Yield groups that neither base-passwd nor a package has, and groups with members.

    The image's user may have a group of its own name.
    """
    entries = rows(image.text("etc/group"))
    known = known_groups(image, expected)
    yield from repeated(entries, 0, "group")
    yield from repeated(entries, 2, "gid")
    for row in entries:
        if len(row) != 4:
            yield "has a row that is no group"
            return
        name, password, gid, members = row
        if password not in ("x", "*"):
            yield f"the group {name} has a password"
        elif members:
            yield f"the group {name} has members: {members}"
        elif name in known:
            if gid != known[name]:
                yield f"the group {name} is not as base-passwd or the layout made it"
        elif not (gid.isdecimal() and int(gid) in SYSTEM and is_named_by_package(image, name)):
            yield f"no package names the group {name}"


def known_groups(image: Image, expected: Expected) -> dict[str, str]:
    """Return the numbers by name of base-passwd's groups, and of one that the layout made."""
    known = {row[0]: row[2] for row in rows(image.text(f"{MASTER}/group.master"))}
    return (
        known if expected["gid"] in known.values() else {**known, expected["user"]: expected["gid"]}
    )


def passwords(image: Image) -> Iterator[str]:
    """Yield accounts with a password, and accounts in only one of passwd and shadow."""
    entries = rows(image.text("etc/shadow"))
    yield from repeated(entries, 0, "account")
    for row in entries:
        if len(row) != 9 or not LOCKED.fullmatch(row[1]):
            yield f"{row[0]} can log in with a password, or none"
    yield from unlike(image, entries, "etc/passwd")


def group_passwords(image: Image) -> Iterator[str]:
    entries = rows(image.text("etc/gshadow"))
    for row in entries:
        if len(row) != 4 or not LOCKED.fullmatch(row[1]):
            yield f"the group {row[0]} has a password"
        elif row[2] or row[3]:
            yield f"the group {row[0]} has members"
    yield from unlike(image, entries, "etc/group")


def ranges(image: Image, expected: Expected, path: str) -> Iterator[str]:
    """Yield subordinate ids other than those that `useradd` gives the image's user."""
    for line in image.text(path).splitlines():
        if line != f"{expected['user']}:{RANGE}":
            yield f"{line.partition(':')[0]} has numbers of others"


def unlike(image: Image, entries: list[list[str]], path: str) -> Iterator[str]:
    """Yield the first name that is in only one of the two lists."""
    names, others = ({row[0] for row in part} for part in (entries, rows(image.text(path))))
    if names != others:
        yield f"does not have the same names as /{path}: {min(names ^ others)}"


def repeated(entries: list[list[str]], column: int, label: str) -> Iterator[str]:
    values = sorted(row[column] for row in entries if len(row) > column)
    for value, following in zip_longest(values, values[1:]):
        if value == following:
            yield f"has two of {label} {value}"


def is_named_by_package(image: Image, name: str) -> bool:
    """Return whether a maintainer script or a list for systemd-sysusers names this account."""
    word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
    info = "var/lib/dpkg/info"
    scripts = [f"{info}/{file}" for file in image.names(info) if file.endswith(("inst", "config"))]
    lists = [f"usr/lib/sysusers.d/{file}" for file in image.names("usr/lib/sysusers.d")]
    packaged = [path for path in lists if image.is_packaged(path)]
    return any(
        path in packaged or any(command in text for command in MAKERS)
        for path in (*scripts, *packaged)
        if word.search(text := image.text(path))
    )
