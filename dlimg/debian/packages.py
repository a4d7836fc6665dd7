"""The distribution's packages, downloaded by apt and unpacked into a folder.

apt runs with state of its own: nothing is installed, and the host's package lists do not change.
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
    """The host's release, and the apt sources of its own distribution."""

    release: OsRelease
    own: tuple[AptSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSuite:
    """One suite, with the options that limit apt to it."""

    suite: str
    options: tuple[str, ...]


def read_apt_host(etc: Path = Path("/etc")) -> AptHost:
    """Read the host's release and apt sources; raise `NoEngine` without any, as outside Debian."""
    release_file = etc / "os-release"
    text = release_file.read_text(encoding="utf-8") if release_file.exists() else ""
    release = parse_release(text)
    own = own_sources(_all_sources(etc / "apt"), release)
    if not own:
        raise NoEngine(
            f"no apt source for this host's own release ({release.suite or 'unknown'})",
            where=str(etc / "apt"),
            hint="install Docker Engine 24 or newer with its buildx plugin yourself",
        )
    return AptHost(release=release, own=own)


def open_suite(host: AptHost, suite: str, state: Path) -> AptSuite:
    """Download the package lists of a suite; raise `NetworkFailure` when that fails."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    # The host's own release has updates at its mirror; another release may have only the suite.
    pockets = ALL_POCKETS if suite == host.release.suite else MAIN_ONLY
    components = COMPONENTS.get(host.release.vendor, ("main",))
    sources = state / "dlimg.sources"
    text = source_list(host.own, suite, pockets=pockets, components=components)
    sources.write_text(text, encoding="utf-8")
    apt = AptSuite(suite=suite, options=_options(state, sources))
    completed = process.run(
        ["apt-get", *apt.options, "-o", "APT::Update::Error-Mode=any", "--quiet", "update"],
        env=plain_environment(),
        timeout=FETCH_SECONDS,
    )
    if completed.returncode != 0:
        raise NetworkFailure(
            f"the package lists of {suite} were not downloaded: {process.failure_text(completed)}",
            hint="check this host's apt sources and the connection to the mirror",
        )
    return apt


def available_packages(apt: AptSuite, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the packages that the suite has."""
    completed = process.run(
        ["apt-cache", *apt.options, "show", "--no-all-versions", *names],
        env=plain_environment(),
    )
    lines = completed.stdout.splitlines()
    existing = {line.partition(": ")[2] for line in lines if line.startswith("Package: ")}
    return tuple(name for name in names if name in existing)


def packages_to_install(apt: AptSuite, names: Sequence[str]) -> tuple[str, ...]:
    """Return the packages that apt would install: these, and libraries that the host lacks."""
    argv = ["apt-get", *apt.options, "--simulate", "--no-install-recommends", "--no-upgrade"]
    completed = process.run([*argv, "install", *names], env=plain_environment())
    lines = (line.split() for line in completed.stdout.splitlines())
    return tuple(parts[1] for parts in lines if parts[:1] == ["Inst"])


def fetch_packages(apt: AptSuite, names: Sequence[str], folder: Path) -> None:
    """Download packages and unpack them into the folder; apt verifies their hashes."""
    with tempfile.TemporaryDirectory(dir=folder) as archives:
        completed = process.run(
            ["apt-get", *apt.options, "--quiet", "download", *names],
            env=plain_environment(),
            cwd=Path(archives),
            timeout=FETCH_SECONDS,
        )
        if completed.returncode != 0:
            raise NetworkFailure(
                f"packages of {apt.suite} could not be downloaded: "
                f"{process.failure_text(completed)}"
            )
        debs = sorted(Path(archives).glob("*.deb"))
        for archive in debs:
            process.run_checked(["dpkg-deb", "--extract", str(archive), str(folder)])
        with (folder / PACKAGE_LIST).open("a", encoding="utf-8") as file:
            file.writelines(f"{apt.suite} {archive.stem}\n" for archive in debs)


def replace_folder(root: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder and put it in the place of `root` in one step.

    If that fails, `root` stays unchanged.
    """
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
    """Return a PATH with the unpacked programs first."""
    # Older packages still use the folders from before the merged /usr.
    folders = [str(root / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
    return os.pathsep.join([*folders, path])


def library_path(root: Path) -> str:
    """Return an LD_LIBRARY_PATH with the unpacked libraries."""
    folders = (*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"))
    return os.pathsep.join(str(folder) for folder in sorted(folders))


def plain_environment() -> Mapping[str, str]:
    """Return the environment with apt's output in English."""
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


def _options(state: Path, sources: Path) -> tuple[str, ...]:
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    return tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))
