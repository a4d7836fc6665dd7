"""Bootstrapping a root file system from the distribution's packages, with mmdebstrap.

The same packages give the same bytes. Where mmdebstrap is missing, it is downloaded.
"""

import hashlib
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from dlimg.debian import packages
from dlimg.debian.apt_sources import ALL_POCKETS, OsRelease, source_list
from dlimg.errors import NoEngine
from dlimg.host import process
from dlimg.host.file_lock import file_lock
from dlimg.model import OperatingSystem

# The time of files that are generated rather than unpacked: 2024-01-01.
EPOCH: Final = 1704067200
SECONDS: Final = 1200.0
INCLUDED: Final = ("ca-certificates",)
# As in the registries' slim images: no manuals and translations, but every licence. No fsync,
# because an interrupted bootstrap is discarded.
DPKG: Final = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# Files that depend on the host or on the time.
REMOVED: Final = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dpkg/*-old",
    "var/log/*.log",
    "var/log/apt/*",
)
_PROGRAM: Final = Path("usr/bin/mmdebstrap")
_HOOKS: Final = Path("usr/share/mmdebstrap/hooks/maybe-merged-usr")
_KEYRINGS: Final = Path("/usr/share/keyrings")
_STATUS: Final = "./var/lib/dpkg/status"


def make_rootfs(os_: OperatingSystem, tar: Path, *, tools: Path, log: Callable[[str], None]) -> str:
    """Write the root file system to `tar` and return its identity.

    Raises `NoEngine` with the reason when this host cannot make it.
    """
    host = packages.read_apt_host()
    check_keyring(os_, host.release, _KEYRINGS)
    root = _install_mmdebstrap(tools, host, log)
    log(f"bootstrapping {os_.distribution} from its packages (about a minute)")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder, "dlimg.sources")
        if os_.vendor == host.release.vendor:
            text = source_list(host.own, os_.suite, pockets=ALL_POCKETS)
            sources.write_text(text, encoding="utf-8")
        completed = process.run(
            mmdebstrap_argv(os_, tar, root=root, sources=sources if sources.exists() else None),
            env=_environment(tools),
            timeout=SECONDS,
        )
    if completed.returncode != 0:
        raise NoEngine(f"no base for {os_.name}: {process.failure_text(completed)}")
    return identity_of(installed_packages(tar))


def mmdebstrap_argv(
    os_: OperatingSystem, tar: Path, *, root: Path, sources: Path | None
) -> tuple[str, ...]:
    """Return the command of the mmdebstrap under `root`.

    Without a source list, mmdebstrap uses its own mirror.
    """
    removed = " ".join(f'"$1"/{pattern}' for pattern in REMOVED)
    components = () if sources else (f"--components={','.join(components_of(os_.vendor))}",)
    return (
        str(root / _PROGRAM),
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(INCLUDED)}",
        # Without this hook, an older suite gets the package usrmerge, which installs all of Perl.
        f"--hook-dir={root / _HOOKS}",
        *(f"--dpkgopt={option}" for option in DPKG),
        f"--customize-hook=rm -f {removed}",
        *components,
        os_.suite,
        str(tar),
        *((str(sources),) if sources else ()),
    )


def recipe_digest(os_: OperatingSystem) -> str:
    """Return a digest of the bootstrap command, which changes when the command does."""
    command = (*mmdebstrap_argv(os_, Path("base.tar"), root=Path("/"), sources=None), str(EPOCH))
    return hashlib.sha256("\0".join(command).encode()).hexdigest()[:12]


def components_of(vendor: str) -> tuple[str, ...]:
    """Return the components of the archive that an image may install from."""
    return packages.COMPONENTS.get(vendor, ("main",))


def check_keyring(os_: OperatingSystem, release: OsRelease, keyrings: Path) -> None:
    """Raise `NoEngine` when this host lacks the keyring of another distribution."""
    keyring = keyrings / f"{os_.vendor}-archive-keyring.gpg"
    if os_.vendor != release.vendor and not keyring.exists():
        raise NoEngine(
            f"no base for {os_.name}: {keyring}, which verifies its packages, is missing",
            hint=f"install {os_.vendor}-keyring or {os_.vendor}-archive-keyring,"
            f" or make the registry of {os_.image} reachable",
        )


def installed_packages(tar: Path) -> Mapping[str, str]:
    """Return the versions of the packages in a root file system, from dpkg's status."""
    with tarfile.open(tar) as archive:
        member = archive.extractfile(_STATUS)
        text = member.read().decode("utf-8") if member else ""
    return parse_status(text)


def parse_status(text: str) -> Mapping[str, str]:
    """Return the versions of installed packages in the text of dpkg's status file."""
    versions = {}
    for stanza in text.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value for name, _, value in lines}
        if fields.get("Status", "").endswith(" installed"):
            versions[fields["Package"]] = fields["Version"]
    return versions


def identity_of(versions: Mapping[str, str]) -> str:
    """Return the sha256 of the sorted `package=version` lines."""
    lines = "".join(f"{name}={version}\n" for name, version in sorted(versions.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _install_mmdebstrap(tools: Path, host: packages.AptHost, log: Callable[[str], None]) -> Path:
    """Return the folder whose root has mmdebstrap: `/`, or `tools` after a download."""
    if Path("/", _PROGRAM).exists() and Path("/", _HOOKS).exists():
        return Path("/")
    # Two processes may need the same tools at once.
    lock = tools.with_name(f"{tools.name}.lock")
    with file_lock(lock, doing="fetching mmdebstrap", log=log):
        if not (tools / _PROGRAM).exists():
            log("fetching mmdebstrap from the distribution's packages")
            with tempfile.TemporaryDirectory() as state:
                apt = packages.open_suite(host, host.release.suite, Path(state))
                names = dict.fromkeys(
                    ("mmdebstrap", *packages.packages_to_install(apt, ["mmdebstrap"]))
                )
                packages.replace_folder(
                    tools, lambda fresh: packages.fetch_packages(apt, tuple(names), fresh)
                )
    return tools


def _environment(tools: Path) -> Mapping[str, str]:
    # mmdebstrap runs a filter with Python; the interpreter of dlimg serves.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    modules = (*tools.glob("usr/share/perl*/*"), *tools.glob("usr/lib/*/perl*/*"))
    perl = [str(folder) for folder in (tools / "usr/share/perl5", *modules) if folder.is_dir()]
    return {
        **packages.plain_environment(),
        "SOURCE_DATE_EPOCH": str(EPOCH),
        "PATH": f"{packages.search_path(tools, path)}:/usr/sbin:/sbin",
        "LD_LIBRARY_PATH": packages.library_path(tools),
        "PERL5LIB": os.pathsep.join(perl),
    }
