"""The user that images run as, in a matrix: name, number, group and home."""

import re
from collections.abc import Mapping
from typing import Final

from dlimg.document import patterns
from dlimg.document.validate import Validator
from dlimg.document.yaml_tree import Node
from dlimg.model import USERS_GROUP, ImageUser

KEYS: Final = ("name", "number", "group", "home")
# The numbers that Debian and Ubuntu leave to people; lower ones are the system's.
LOWEST: Final = 1000
HIGHEST: Final = 60_000
# Accounts and groups of Debian, of Ubuntu, and of packages that images often have.
_TAKEN_NAMES: Final = """
    _apt _chrony _ssh adm audio avahi backup bin cdrom clock crontab daemon dialout dip
    disk dnsmasq fax floppy fuse games gnats input irc kmem kvm landscape list lp lpadmin
    lxd mail man messagebus netdev news nobody nogroup ntp operator plugdev polkitd
    postfix postgres proxy redis render root sasl sgx shadow src sshd ssl-cert staff sudo
    sync sys systemd-journal systemd-network systemd-resolve systemd-timesync tape tcpdump
    tftp tss tty users utmp uucp uuidd video voice wheel www-data
"""
# Folders of the system and of the layout; a home is beside or below them, and none of them.
_TAKEN_FOLDERS: Final = frozenset(
    f"/{name}"
    for name in (
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt"),
        *("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
        *("code", "data", "output"),
    )
)


def read_user(form: Validator, node: Node | None, subject: str, default: ImageUser) -> ImageUser:
    """Return the stated user; what is left out is the default's, a home that of the name."""
    table = form.table(node, subject, known=KEYS, example="{name: jovyan, number: 1000}")
    name = form.matching(table.get("name"), f"name of {subject}", patterns.ACCOUNT, default.name)
    if "name" in table and name in _TAKEN_NAMES.split():
        message = f"name of {subject}: {name} is an account or a group of the system"
        form.refuse(table["name"].line, message, "choose another, e.g. user or jovyan")
    number = _number(form, table, "number", subject, default.number)
    group = _number(form, table, "group", subject, default.group)
    home = default.home if name == default.name else f"/home/{name}"
    return ImageUser(name=name, number=number, group=group, home=_home(form, table, subject, home))


def _number(
    form: Validator, table: Mapping[str, Node], key: str, subject: str, default: int
) -> int:
    node = table.get(key)
    text = form.text(node, f"{key} of {subject}")
    if node is None or not text:
        return default
    allowed = f"{LOWEST} to {HIGHEST}" + (f", or {USERS_GROUP} for `users`" * (key == "group"))
    if re.fullmatch(r"[1-9][0-9]{0,9}", text):
        number = int(text)
        if LOWEST <= number <= HIGHEST or (key == "group" and number == USERS_GROUP):
            return number
    hint = f"use {allowed}; lower ones are root's and the system's"
    form.refuse(node.line, f"{key} of {subject}: {text!r} is none for a user", hint)
    return default


def _home(form: Validator, table: Mapping[str, Node], subject: str, default: str) -> str:
    node = table.get("home")
    home = form.matching(node, f"home of {subject}", patterns.HOME, default)
    if node is not None and home in _TAKEN_FOLDERS:
        message = f"home of {subject}: {home} is a folder of the system or of the layout"
        form.refuse(node.line, message, f"write e.g. {default}")
    return home
