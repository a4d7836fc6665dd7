"""Programs from the distribution's packages, unpacked into a folder of our own.

Package names come in; a folder that holds their files comes out. apt finds, checks and
fetches them with state of its own, so nothing is installed and the machine's lists stay as
they are.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.debian.apt_sources import (
    ALL_POCKETS,
    MAIN_ONLY,
    AptSource,
    OsRelease,
    own_sources,
    parse_deb822,
    parse_one_line,
    parse_release,
    source_list,
)
from dlimg.errors import NetworkFailure, NoEngine
from dlimg.host import process

FETCH_SECONDS: Final = 600.0
PACKAGE_LIST: Final = "dlimg-packages"
COMPONENTS: Final = {"ubuntu": ("main", "universe")}


@dataclass(frozen=True, slots=True, kw_only=True)
class AptHost:
    """The machine as apt sees it: its release and its distribution's own entries."""

    release: OsRelease
    own: tuple[AptSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSuite:
    """A private view of one suite: apt's options that lead to it."""

    suite: str
    options: tuple[str, ...]


def read_apt_host(etc: Path = Path("/etc")) -> AptHost:
    """The machine's release and apt entries; `NoEngine` when it is none of Debian's family."""
    release_file = etc / "os-release"
    text = release_file.read_text(encoding="utf-8") if release_file.exists() else ""
    release = parse_release(text)
    own = own_sources(_all_sources(etc / "apt"), release)
    if not own:
        raise NoEngine(
            f"no apt source of this machine's own release ({release.suite or 'unknown'}) found",
            where=str(etc / "apt"),
            hint="install Docker Engine 24 or newer with its buildx plugin yourself",
        )
    return AptHost(release=release, own=own)


def open_suite(machine: AptHost, suite: str, state: Path) -> AptSuite:
    """One suite as apt sees it, freshly read; `NetworkFailure` when its mirror does not answer."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    # The machine's own release is there with its updates; of another one only the suite is sure.
    pockets = ALL_POCKETS if suite == machine.release.suite else MAIN_ONLY
    components = COMPONENTS.get(machine.release.vendor, ("main",))
    listing = state / "dlimg.sources"
    text = source_list(machine.own, suite, pockets=pockets, components=components)
    listing.write_text(text, encoding="utf-8")
    apt = AptSuite(suite=suite, options=_options(state, listing))
    outcome = process.run(
        ["apt-get", *apt.options, "-o", "APT::Update::Error-Mode=any", "--quiet", "update"],
        env=plain_environment(),
        timeout=FETCH_SECONDS,
    )
    if outcome.returncode != 0:
        raise NetworkFailure(
            f"the package lists of {suite} could not be read: {process.failure_text(outcome)}",
            hint="check the machine's apt sources and its way to the mirror",
        )
    return apt


def available_packages(apt: AptSuite, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the names that the suite has."""
    outcome = process.run(
        ["apt-cache", *apt.options, "show", "--no-all-versions", *names],
        env=plain_environment(),
    )
    lines = outcome.stdout.splitlines()
    found = {line.partition(": ")[2] for line in lines if line.startswith("Package: ")}
    return tuple(name for name in names if name in found)


def packages_to_install(apt: AptSuite, names: Sequence[str]) -> tuple[str, ...]:
    """What apt would install for these names: those, and the libraries the machine lacks."""
    argv = ["apt-get", *apt.options, "--simulate", "--no-install-recommends", "--no-upgrade"]
    outcome = process.run([*argv, "install", *names], env=plain_environment())
    words = (line.split() for line in outcome.stdout.splitlines())
    return tuple(word[1] for word in words if word[:1] == ["Inst"])


def fetch_packages(apt: AptSuite, names: Sequence[str], folder: Path) -> None:
    """Download the packages into the folder and unpack them there, hashes checked by apt."""
    with tempfile.TemporaryDirectory(dir=folder) as archives:
        outcome = process.run(
            ["apt-get", *apt.options, "--quiet", "download", *names],
            env=plain_environment(),
            cwd=Path(archives),
            timeout=FETCH_SECONDS,
        )
        if outcome.returncode != 0:
            raise NetworkFailure(
                f"packages of {apt.suite} could not be fetched: {process.failure_text(outcome)}"
            )
        fetched = sorted(Path(archives).glob("*.deb"))
        for archive in fetched:
            process.run_checked(["dpkg-deb", "--extract", str(archive), str(folder)])
        with (folder / PACKAGE_LIST).open("a", encoding="utf-8") as note:
            note.writelines(f"{apt.suite} {archive.stem}\n" for archive in fetched)


def replace_folder(root: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder and put it in the place of `root` in one step, or not at all."""
    root.parent.mkdir(parents=True, exist_ok=True)
    for left_over in root.parent.glob(f"{root.name}.new-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(dir=root.parent, prefix=f"{root.name}.new-"))
    fresh.chmod(0o755)
    try:
        fill(fresh)
        if root.exists():
            shutil.rmtree(root)
        fresh.rename(root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def search_path(root: Path, path: str) -> str:
    """A PATH on which the unpacked programs come first."""
    # Older packages still use the folders of the time before /usr was merged.
    folders = [str(root / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
    return os.pathsep.join([*folders, path])


def library_path(root: Path) -> str:
    """The folders of the few libraries that the machine itself lacks."""
    folders = (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))
    return os.pathsep.join(str(folder) for folder in sorted(folders))


def plain_environment() -> Mapping[str, str]:
    """The environment, with apt's words in the one language that we read."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def _all_sources(apt: Path) -> tuple[AptSource, ...]:
    one_line = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    lines = [
        source
        for file in one_line
        if file.is_file()
        for source in parse_one_line(file.read_text(encoding="utf-8"))
    ]
    stanzas = [
        source
        for file in sorted((apt / "sources.list.d").glob("*.sources"))
        for source in parse_deb822(file.read_text(encoding="utf-8"))
    ]
    return (*lines, *stanzas)


def _options(state: Path, listing: Path) -> tuple[str, ...]:
    settings = {
        "Dir::Etc::sourcelist": listing,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    return tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))
