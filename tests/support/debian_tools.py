"""Tools from the distribution's packages, unpacked into folders; nothing is installed."""

from pathlib import Path
from typing import Final

from dlimg.debian import packages
from dlimg.engine.private_home import SUITES

_PLUGINS: Final = ("usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins")


class DebianTools:
    """Downloads packages from the suite that engines come from, or from the machine's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = packages.read_apt_host()
        self.suites: dict[str, packages.AptSuite] = {}

    def _suite(self, *, newest: bool) -> packages.AptSuite:
        newer = SUITES.get(self.host.release.vendor, ())
        name = newer[0] if newest and newer else self.host.release.suite
        if name not in self.suites:
            self.suites[name] = packages.open_suite(self.host, name, self.folder / f"apt-{name}")
        return self.suites[name]

    def unpack(self, *names: str, newest: bool, libraries: tuple[str, ...] = ()) -> Path:
        """Return a folder with those of the packages that exist, and with missing libraries."""
        apt = self._suite(newest=newest)
        existing = packages.available_packages(apt, names)
        assert existing, f"{apt.suite} has none of {', '.join(names)}"
        missing = packages.packages_to_install(apt, existing) if libraries else ()
        needed = [name for name in missing if name.startswith(libraries)]
        root = self.folder / "-".join((apt.suite, *existing))
        root.mkdir()
        packages.fetch_packages(apt, tuple(dict.fromkeys((*existing, *needed))), root)
        return root

    def compose(self) -> Path:
        """Return the program of Docker Compose, which also runs without Docker's command."""
        root = self.unpack("docker-compose", "docker-compose-v2", newest=True)
        programs = (root / folder / "docker-compose" for folder in _PLUGINS)
        return next(program for program in programs if program.exists())
