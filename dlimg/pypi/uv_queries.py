"""Queries to uv: URLs for a lock's wheels, the Pythons it offers.

A lock holds no URLs, so that it is valid for every mirror. uv gets exact versions and downloads
none of the wheels.
"""

import json
import re
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import uv
from packaging.version import Version

from dlimg.context import Context
from dlimg.errors import Negative, NetworkFailure
from dlimg.host import process
from dlimg.lock.solve import SECONDS, is_passed_to_uv
from dlimg.model import Wheel
from dlimg.pypi.mirrors import (
    default_index_names,
    index_address,
    uv_environment,
    uv_environment_for,
    without_login,
)

_NETWORK_HINT: Final = "check the network, the proxy and the index address (UV_DEFAULT_INDEX)"
_REASON_CHARACTERS: Final = 700
_NOT_FOUND: Final = re.compile(r"No solution found|not found in the package registry")


class WheelNotFound(Negative):
    """No index has a locked version."""


# A Python version and a platform.
Target = tuple[str, str]
# Returns a pylock.toml with these wheels for a target, from the index of this name or, without a
# name, from the default ones.
AskUv = Callable[[str, Sequence[Wheel], Target], str]
# The same for one index.
_AskIndex = Callable[[Sequence[Wheel], Target], str]


def wheel_urls(wheels: Sequence[Wheel], target: Target, ask: AskUv) -> Mapping[str, str]:
    """Return the URL of each wheel by sha256, without the wheels that their index does not have.

    A wheel that is routed to one of the matrix's indexes is looked for in that one alone.
    """
    by_index: dict[str, list[Wheel]] = {}
    for wheel in wheels:
        by_index.setdefault(wheel.index, []).append(wheel)
    urls: dict[str, str] = {}
    for index, of_index in by_index.items():
        for group in _one_version_groups(of_index):
            urls.update(_urls_of_group(group, target, partial(ask, index)))
    return {wheel.sha256: urls[wheel.sha256] for wheel in wheels if wheel.sha256 in urls}


def missing_wheel(wheel: Wheel) -> Negative:
    """Return the error for a wheel that no index has."""
    if wheel.index:
        return Negative(
            f"the index {wheel.index} has no {wheel.file} with the lock's sha256",
            hint=f"correct its url or its mirror (UV_INDEX={wheel.index}=URL), name a folder that "
            "has the file with --find-links, or run `dlimg lock`",
        )
    return Negative(
        f"no index has {wheel.file} with the lock's sha256",
        hint="name an index that has it (UV_DEFAULT_INDEX), or run `dlimg lock`",
    )


def uv_query(context: Context) -> AskUv:
    """Return a function that asks uv with the settings of this context.

    The function raises WheelNotFound when the index does not have all of the wheels, and
    NetworkFailure when it does not answer as it should.
    """
    program = uv.find_uv_bin()  # not in the function: `sysconfig` is not thread-safe

    def ask(index: str, wheels: Sequence[Wheel], target: Target) -> str:
        settings = uv_environment_for(index, context) if index else uv_environment(context)
        with tempfile.TemporaryDirectory(prefix="dlimg-addresses-") as folder:
            output = Path(folder, "pylock.toml")
            completed = process.run(
                query_argv(program, target, output),
                env={name: value for name, value in settings.items() if is_passed_to_uv(name)},
                cwd=Path(folder),
                stdin="".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels),
                timeout=SECONDS,
            )
            if completed.returncode != 0:
                asked = _shown_indexes(index, context)
                raise _failure(completed.tail, asked)
            return output.read_text(encoding="utf-8")

    return ask


def _shown_indexes(index: str, context: Context) -> str:
    if index:
        return f"{index} ({without_login(index_address(index, context))})"
    return ", ".join(default_index_names(context))


def query_argv(program: str, target: Target, output: Path) -> list[str]:
    """Return uv's command, which reads requirements from stdin."""
    python, platform = target
    return [
        *(program, "pip", "compile", "-", "--quiet", "--no-deps"),
        *("--python", sys.executable, "--no-python-downloads"),
        *("--python-version", python, "--python-platform", platform),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *("--format", "pylock.toml", "--output-file", str(output)),
    ]


def managed_pythons(context: Context) -> tuple[str, dict[str, tuple[str, str]]]:
    """Return uv's version, and by minor the oldest and newest Python that it installs.

    Only final releases of CPython for Linux with glibc on this host's architecture; neither
    free-threaded nor debug builds.
    """
    program = uv.find_uv_bin()
    version = process.run_checked([program, "--version"], env=context.environment).stdout.split()[1]
    options = ["--all-versions", "--only-downloads", "--output-format", "json"]
    listing = process.run_checked([program, "python", "list", *options], env=context.environment)
    versions: dict[str, list[str]] = {}
    for row in json.loads(listing.stdout):
        build = (row["implementation"], row.get("variant", "default"), row["libc"])
        if build == ("cpython", "default", "gnu") and not Version(row["version"]).is_prerelease:
            minor = row["version"].rpartition(".")[0]
            versions.setdefault(minor, []).append(row["version"])
    by_minor = {
        minor: sorted(versions[minor], key=Version) for minor in sorted(versions, key=Version)
    }
    return version, {minor: (builds[0], builds[-1]) for minor, builds in by_minor.items()}


def _urls_of_group(wheels: Sequence[Wheel], target: Target, ask: _AskIndex) -> Mapping[str, str]:
    """Return URLs by sha256; halve a group in which uv does not find a wheel."""
    try:
        return _parse_urls(ask(wheels, target))
    except WheelNotFound:
        middle = len(wheels) // 2
        halves = (wheels[:middle], wheels[middle:]) if middle else ()
        return {
            sha256: url
            for half in halves
            for sha256, url in _urls_of_group(half, target, ask).items()
        }


def _one_version_groups(wheels: Sequence[Wheel]) -> Sequence[Sequence[Wheel]]:
    """Split wheels into groups with one version of a package each: cells may hold several."""
    groups: list[dict[str, Wheel]] = []
    for wheel in wheels:
        group = next((group for group in groups if wheel.name not in group), None)
        if group is None:
            group = {}
            groups.append(group)
        group[wheel.name] = wheel
    return [list(group.values()) for group in groups]


def _parse_urls(pylock: str) -> Mapping[str, str]:
    """Return URLs by sha256 of all wheels in a pylock.toml."""
    try:
        packages = tomllib.loads(pylock)["packages"]
        wheels = [wheel for package in packages for wheel in package.get("wheels", ())]
        return {
            str(wheel["hashes"]["sha256"]): str(wheel["url"]) for wheel in wheels if "url" in wheel
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Negative(f"uv's answer cannot be read: {error!r}") from error


def _failure(message: str, asked: str) -> Exception:
    reason = " ".join(message.split())[:_REASON_CHARACTERS]
    if _NOT_FOUND.search(reason):
        return WheelNotFound(f"a locked package is not on the index {asked}: {reason}")
    return NetworkFailure(f"the package index {asked} cannot be used: {reason}", hint=_NETWORK_HINT)
