"""The Pythons that uv offers to install."""

import json
from collections.abc import Mapping

import uv
from packaging.version import Version

from dlimg.host.process import check


def managed_pythons(environment: Mapping[str, str]) -> tuple[str, dict[str, tuple[str, str]]]:
    """The version of uv, and by minor the oldest and the newest build for Linux on x86_64.

    Only final releases of the plain CPython: no free-threaded ones, no debug builds.
    """
    program = uv.find_uv_bin()
    version = check([program, "--version"], env=environment).stdout.split()[1]
    words = ["python", "list", "--all-versions", "--only-downloads", "--output-format", "json"]
    listed = json.loads(check([program, *words], env=environment).stdout)
    found: dict[str, list[str]] = {}
    for one in listed:
        plain = (one["implementation"], one.get("variant", "default"), one["libc"])
        if plain == ("cpython", "default", "gnu") and not Version(one["version"]).is_prerelease:
            minor = one["version"].rpartition(".")[0]
            found.setdefault(minor, []).append(one["version"])
    ordered = {minor: sorted(every, key=Version) for minor, every in found.items()}
    names = sorted(ordered, key=Version)
    return version, {minor: (ordered[minor][0], ordered[minor][-1]) for minor in names}
