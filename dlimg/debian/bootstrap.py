"""A root file system made from the distribution's own packages, where no registry answers.

An operating system comes in; a tar file comes out, the same bytes for the same packages,
with the identity of what is in it. Needs mmdebstrap, which is fetched where it is missing.
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
from dlimg.host import local_state, process
from dlimg.model import OperatingSystem

# Files that are made, rather than unpacked, get this time: 2024-01-01, before any of them.
EPOCH: Final = 1704067200
SECONDS: Final = 1200.0
INCLUDED: Final = ("ca-certificates",)
# As in the registries' slim images: no manuals and translations, but every licence; and no
# waiting for the disk, because a build that breaks off is thrown away.
DPKG: Final = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
# What differs from machine to machine, or says when it was made.
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
    """Write the root file system to `tar`; its identity comes back.

    Raises `NoEngine` when this machine cannot make it, with the reason.
    """
    machine = packages.read_apt_host()
    check_keyring(os_, machine.release, _KEYRINGS)
    root = _mmdebstrap(tools, machine, log)
    log(f"bootstrapping {os_.distribution} from its packages (about a minute)")
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder, "dlimg.sources")
        if os_.vendor == machine.release.vendor:
            text = source_list(machine.own, os_.suite, pockets=ALL_POCKETS)
            listing.write_text(text, encoding="utf-8")
        outcome = process.run(
            mmdebstrap_argv(os_, tar, root=root, listing=listing if listing.exists() else None),
            env=_environment(tools),
            timeout=SECONDS,
        )
    if outcome.returncode != 0:
        raise NoEngine(f"no base for {os_.name}: {process.failure_text(outcome)}")
    return identity_of(installed_packages(tar))


def mmdebstrap_argv(
    os_: OperatingSystem, tar: Path, *, root: Path, listing: Path | None
) -> tuple[str, ...]:
    """The command of the mmdebstrap under `root`; without a source list it knows a mirror."""
    removed = " ".join(f'"$1"/{pattern}' for pattern in REMOVED)
    components = () if listing else (f"--components={','.join(components_of(os_.vendor))}",)
    return (
        str(root / _PROGRAM),
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(INCLUDED)}",
        # Without it an older suite gets the usrmerge package, and with it all of Perl.
        f"--hook-dir={root / _HOOKS}",
        *(f"--dpkgopt={option}" for option in DPKG),
        f"--customize-hook=rm -f {removed}",
        *components,
        os_.suite,
        str(tar),
        *((str(listing),) if listing else ()),
    )


def recipe_digest(os_: OperatingSystem) -> str:
    """A digest over how the base is made, so that a changed way is not taken for the old one."""
    words = (*mmdebstrap_argv(os_, Path("base.tar"), root=Path("/"), listing=None), str(EPOCH))
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def components_of(vendor: str) -> tuple[str, ...]:
    """The parts of the archive that an image may install from."""
    return packages.COMPONENTS.get(vendor, ("main",))


def check_keyring(os_: OperatingSystem, release: OsRelease, keyrings: Path) -> None:
    """Nothing; `NoEngine` when the machine cannot check the other distribution's signatures."""
    keyring = keyrings / f"{os_.vendor}-archive-keyring.gpg"
    if os_.vendor != release.vendor and not keyring.exists():
        raise NoEngine(
            f"no base for {os_.name}: {keyring} is not there to check its packages with",
            hint=f"install {os_.vendor}-keyring or {os_.vendor}-archive-keyring,"
            f" or let the registry of {os_.image} be reached",
        )


def installed_packages(tar: Path) -> Mapping[str, str]:
    """Each package in the root file system with its version, from dpkg's own list."""
    with tarfile.open(tar) as archive:
        member = archive.extractfile(_STATUS)
        text = member.read().decode("utf-8") if member else ""
    return parse_status(text)


def parse_status(text: str) -> Mapping[str, str]:
    """The installed packages and versions in the text of dpkg's status file."""
    found = {}
    for stanza in text.split("\n\n"):
        lines = (line.partition(": ") for line in stanza.splitlines() if line[:1].isupper())
        fields = {name: value for name, _, value in lines}
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def identity_of(versions: Mapping[str, str]) -> str:
    """The sha256 over the sorted `package=version` lines."""
    lines = "".join(f"{name}={version}\n" for name, version in sorted(versions.items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _mmdebstrap(tools: Path, machine: packages.AptHost, log: Callable[[str], None]) -> Path:
    """Where mmdebstrap is: the machine's own root, or the folder that it was fetched into."""
    if Path("/", _PROGRAM).exists() and Path("/", _HOOKS).exists():
        return Path("/")
    # Two distributions may be bootstrapped at once, with the same tools.
    lock = tools.with_name(f"{tools.name}.lock")
    with local_state.file_lock(lock, doing="fetching mmdebstrap", log=log):
        if not (tools / _PROGRAM).exists():
            log("fetching mmdebstrap from the distribution's packages")
            with tempfile.TemporaryDirectory() as state:
                apt = packages.open_suite(machine, machine.release.suite, Path(state))
                names = dict.fromkeys(
                    ("mmdebstrap", *packages.packages_to_install(apt, ["mmdebstrap"]))
                )
                packages.replace_folder(
                    tools, lambda fresh: packages.fetch_packages(apt, tuple(names), fresh)
                )
    return tools


def _environment(tools: Path) -> Mapping[str, str]:
    # mmdebstrap's own filter is written in Python: ours will do.
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
