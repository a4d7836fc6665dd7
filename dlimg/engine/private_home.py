"""The private engine's home: the paths in it, and the installation of its programs."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from dlimg.context import Context
from dlimg.debian import packages
from dlimg.engine.client import INSTALL_HINT
from dlimg.errors import DlimgError, NoEngine
from dlimg.host.process import failure_text, run

DEFAULT: Final = Path("/var/lib/dlimg/engine")
VARIABLE: Final = "DLIMG_ENGINE_HOME"

# Newer suites whose engine runs on older releases, too; the host's own suite comes last.
SUITES: Final = {"debian": ("forky", "trixie")}
ENGINE_PACKAGES: Final = (
    "docker.io",
    "docker-cli",  # part of docker.io before trixie and on Ubuntu
    "docker-buildx",
    "containerd",
    "docker-compose",
    "docker-compose-v2",  # Ubuntu's name
    "tini-static",  # docker-init
)
# A newer suite's runc needs a newer C library; isal has igzip, which unpacks layers faster.
HOST_SUITE_PACKAGES: Final = ("runc", "iptables", "isal", "tini")
LIBRARY_PACKAGES: Final = ("iproute2", "libsystemd0", "libseccomp2")
PLUGINS: Final = Path("usr/libexec/docker/cli-plugins")
VERSION_COMMANDS: Final = (
    ("usr/sbin/dockerd", "--version"),
    ("usr/bin/containerd", "--version"),
    ("usr/sbin/runc", "--version"),
    ("usr/bin/docker", "--version"),
    (str(PLUGINS / "docker-buildx"), "version"),
)
_SOCKET_LIMIT: Final = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateHome:
    """The folder of one private engine, with all files that it writes."""

    path: Path

    @property
    def root(self) -> Path:
        """The unpacked packages."""
        return self.path / "root"

    @property
    def data(self) -> Path:
        """Images, containers and the build cache."""
        return self.path / "data"

    @property
    def runtime(self) -> Path:
        """Files that exist only while the engine runs."""
        return self.path / "run"

    @property
    def socket(self) -> Path:
        return self.runtime / "docker.sock"

    @property
    def pid_file(self) -> Path:
        return self.runtime / "docker.pid"

    @property
    def exec_root(self) -> Path:
        return self.runtime / "exec"

    @property
    def daemon_config(self) -> Path:
        return self.path / "daemon.json"

    @property
    def client_config(self) -> Path:
        return self.path / "config"

    @property
    def log(self) -> Path:
        return self.path / "dockerd.log"

    @property
    def network(self) -> Path:
        return self.path / "network.json"

    @property
    def docker_networks(self) -> Path:
        """Docker's own record of its networks and their addresses."""
        return self.data / "network/files/local-kv.db"

    @property
    def lock(self) -> Path:
        """The lock file, beside the home, so that a purge does not remove it."""
        return self.path.with_name(f"{self.path.name}.lock")

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def docker(self) -> Path:
        return self.root / "usr/bin/docker"

    @property
    def bridge(self) -> str:
        """The bridge's name, of at most 15 characters, different for each home."""
        if self.path == DEFAULT:
            return "dlimg0"
        return f"dlimg-{hashlib.sha256(str(self.path).encode()).hexdigest()[:8]}"


def home_of(context: Context) -> PrivateHome:
    """Return the home in DLIMG_ENGINE_HOME, or the default one.

    Raises `NoEngine` for a path that is too long for the sockets in it.
    """
    home = PrivateHome(path=Path(context.environment.get(VARIABLE) or DEFAULT).absolute())
    longest = home.exec_root / "containerd/containerd-debug.sock"
    if len(str(longest)) > _SOCKET_LIMIT:
        raise NoEngine(
            f"the engine's home {home.path} is too long for the sockets in it",
            where=VARIABLE,
            hint=f"use a path at least {len(str(longest)) - _SOCKET_LIMIT} characters shorter",
        )
    return home


def install_engine(home: PrivateHome, log: Callable[[str], None]) -> None:
    """Install a current engine's programs; raise `NoEngine` when no suite's engine runs here."""
    host = packages.read_apt_host()
    own_suite = host.release.suite
    log("fetching a container engine from the distribution's packages")
    with tempfile.TemporaryDirectory() as state:
        own = packages.open_suite(host, own_suite, Path(state, own_suite))
        reasons = []
        for suite in candidate_suites(host.release.vendor, own_suite):
            try:
                apt = own
                if suite != own_suite:
                    apt = packages.open_suite(host, suite, Path(state, suite))
                packages.replace_folder(home.root, partial(_fill, own=own, suite=apt))
            except DlimgError as error:
                reasons.append(f"{suite}: {error.problems[0].message}")
                log(f"cannot use the engine of {reasons[-1]}")
            else:
                return
    raise NoEngine(
        "no suite's container engine runs here:\n" + "\n".join(reasons), hint=INSTALL_HINT
    )


def candidate_suites(vendor: str, own: str) -> tuple[str, ...]:
    """Return the suites whose engine to try, best first."""
    return tuple(dict.fromkeys((*SUITES.get(vendor, ()), own)))


def daemon_settings(pool: str, *, cdi: Sequence[Path], nvidia: str | None) -> Mapping[str, Any]:
    """Return the content of `daemon.json`; `nvidia` is the path of NVIDIA's runtime, if any."""
    settings: dict[str, Any] = {
        "features": {"containerd-snapshotter": True, "cdi": True},
        "shutdown-timeout": 5,
        "default-address-pools": [{"base": pool, "size": 24}],
    }
    if cdi:
        settings["cdi-spec-dirs"] = [str(folder) for folder in cdi]
    if nvidia:
        settings["runtimes"] = {"nvidia": {"path": nvidia}}
    return settings


def daemon_argv(home: PrivateHome, bridge: str) -> list[str]:
    """Return the command that starts the engine, which manages no iptables rules itself."""
    options = {
        "--config-file": home.daemon_config,
        "--data-root": home.data,
        "--exec-root": home.exec_root,
        "--pidfile": home.pid_file,
        "--host": home.host,
        "--bridge": bridge,
    }
    argv = [str(home.root / "usr/sbin/dockerd"), "--iptables=false", "--ip6tables=false"]
    return [*argv, *(str(part) for option in options.items() for part in option)]


def tool_environment(home: PrivateHome) -> dict[str, str]:
    """Return the environment for the daemon and its tools, with their programs and libraries."""
    path = os.environ.get("PATH", os.defpath)
    host_path = os.pathsep.join([path, "/usr/sbin", "/sbin"])
    environment = dict(os.environ)
    environment.pop("TMPDIR", None)  # of a session, which the daemon outlives
    environment["PATH"] = packages.search_path(home.root, host_path)
    environment["LD_LIBRARY_PATH"] = packages.library_path(home.root)
    if shutil.which("iptables", path=host_path) is None:
        extensions = next(home.root.glob("usr/lib/*/xtables"), None)
        environment["XTABLES_LIBDIR"] = str(extensions or "")
    return environment


def _fill(folder: Path, *, own: packages.AptSuite, suite: packages.AptSuite) -> None:
    needed = packages.packages_to_install(
        own, packages.available_packages(own, (*HOST_SUITE_PACKAGES, *LIBRARY_PACKAGES))
    )
    from_own = dict.fromkeys((*packages.available_packages(own, HOST_SUITE_PACKAGES), *needed))
    packages.fetch_packages(own, tuple(from_own), folder)
    packages.fetch_packages(suite, packages.available_packages(suite, ENGINE_PACKAGES), folder)
    for program, argument in VERSION_COMMANDS:
        environment = {**os.environ, "LD_LIBRARY_PATH": packages.library_path(folder)}
        completed = run([str(folder / program), argument], env=environment, timeout=60)
        if completed.returncode != 0:
            raise NoEngine(failure_text(completed))
