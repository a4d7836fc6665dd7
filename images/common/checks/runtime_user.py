"""The default user is unprivileged, in UTC, with a home and folders that it can write to.

needs: image
seconds: 30
"""

import os
import pwd
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _user
import _verdict

WRITABLE = ("/code", "/data", "/output", "/tmp")  # noqa: S108  # what an image promises
OTHERS = ("/", "/etc", "/usr", "/usr/local/bin", "/var", "/opt", "/opt/env", "/opt/env/bin")
PRIVILEGES = ("CapPrm", "CapEff", "CapAmb")
UTC_NAMES = ("UTC", "Etc/UTC", "UTC0")


def identity(user: int, group: int, groups: Iterable[int], status: str) -> list[str]:
    """Return root's privileges that this user has; `status` is the text of /proc/self/status."""
    mismatches = [] if user else ["this runs as root"]
    mismatches += [] if {0}.isdisjoint({group, *groups}) else ["this runs in root's group"]
    rows = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    capabilities = [name for name in PRIVILEGES if int(rows.get(name, "0"), 16)]
    return (
        [*mismatches, f"this has capabilities: {', '.join(capabilities)}"]
        if capabilities
        else mismatches
    )


def zone() -> list[str]:
    """Return settings of the time zone that are not UTC: TZ, and the system's own."""
    mismatches = [_zone_lie(f"TZ is {os.environ['TZ']}")] if "TZ" in os.environ else []
    before = os.environ.pop("TZ", None)
    time.tzset()
    mismatches.append(_zone_lie("/etc/localtime"))
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()
    return [lie for lie in mismatches if lie]


def _zone_lie(where: str) -> str:
    # A zone that is not installed counts as UTC under its own name; London's winter is UTC, too.
    is_utc = time.tzname[0] in UTC_NAMES and not time.timezone and not time.daylight
    return "" if is_utc else f"time is not UTC: {where}, {time.tzname[0]} {-time.timezone} s"


def home(given: str) -> list[str]:
    """Return the faults of the home folder."""
    if not given.strip("/"):
        return [f"HOME is no home: {given or 'not set'}"]
    return closed([given])


def closed(folders: Iterable[str]) -> list[str]:
    """Return the folders that should be writable and are not."""
    return [f"{folder} cannot be written to: {why}" for folder in folders if (why := _try(folder))]


def _try(folder: str) -> str:
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"dlimg")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def open_ones(folders: Iterable[str]) -> list[str]:
    """Return the folders of the image that the user can write to and should not."""
    return [f"{folder} can be written to" for folder in folders if os.access(folder, os.W_OK)]


def named(user: int) -> list[str]:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return [f"the user {user} has no name"]
    return []


def main() -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    own_home = _user.given().get("HOME", "")
    user, status = os.geteuid(), Path("/proc/self/status").read_text()
    _verdict.show(user=user, group=os.getegid(), home=own_home, zone=time.tzname[0])
    mismatches = [
        *identity(user, os.getegid(), os.getgroups(), status),
        *named(user),
        *zone(),
        *home(own_home),
        *closed(WRITABLE),
        *open_ones(OTHERS),
    ]
    _verdict.demand(not mismatches, "; ".join(mismatches))


if __name__ == "__main__":
    main()
