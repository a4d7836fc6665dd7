"""Shell lines that install engine, driver and container toolkit on Debian and Ubuntu. Pure.

`dlimg doctor` fills them with values, and the script for cloud-init with shell variables, so both
install the same packages from the same sources. The lines are to stop at the first failure.

- Driver: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide (Debian, Ubuntu). Since
  branch 590 no package has its branch in its name; `nvidia-driver-pinning-BRANCH`, installed before
  the driver, chooses the branch in every release. Debian needs its component contrib.
- Open kernel modules (`nvidia-open`) are for Turing and later and the only ones from Blackwell on;
  closed ones (`cuda-drivers`) are for Maxwell, Pascal and Volta, which branch 580 is the last to
  support: the same guide, "Kernel Modules"; `last_driver` in the facts about GPUs.
- Toolkit: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html
- Engine: the distribution's, but Docker's own where that is too old:
  https://docs.docker.com/engine/install/debian
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NVIDIA_DRIVERS: Final = "https://developer.download.nvidia.com/compute/cuda/repos"
NVIDIA_TOOLKIT: Final = "https://nvidia.github.io/libnvidia-container"
DOCKER: Final = "https://download.docker.com/linux"
# The last driver branch for GPUs before Turing.
LAST_CLOSED_BRANCH: Final = 580
# The first PCI device number of Turing.
TURING: Final = 0x1E00
# The first Docker that reads layers in zstd.
OLDEST_DOCKER: Final = "23"
_LISTS: Final = "/etc/apt/sources.list.d"
_KEYS: Final = "/usr/share/keyrings"
_KEYRING: Final = "cuda-keyring_1.1-1_all.deb"
# On a new machine the first automatic update may still be running.
_APT: Final = "apt-get -o DPkg::Lock::Timeout=600"
_INSTALL: Final = f"{_APT} install -y --no-install-recommends"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """The addresses of NVIDIA's package sources."""

    drivers: str = NVIDIA_DRIVERS
    toolkit: str = NVIDIA_TOOLKIT


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSystem:
    """A release of a distribution: NVIDIA's folder for it, and whether its Docker is too old."""

    folder: str
    codename: str
    old_docker: bool = False


SYSTEMS: Final[Mapping[tuple[str, str], MachineSystem]] = {
    ("debian", "12"): MachineSystem(folder="debian12", codename="bookworm", old_docker=True),
    ("debian", "13"): MachineSystem(folder="debian13", codename="trixie"),
    ("ubuntu", "22.04"): MachineSystem(folder="ubuntu2204", codename="jammy"),
    ("ubuntu", "24.04"): MachineSystem(folder="ubuntu2404", codename="noble"),
    ("ubuntu", "26.04"): MachineSystem(folder="ubuntu2604", codename="resolute"),
}
SUPPORTED: Final = "Debian 12, 13 and Ubuntu 22.04, 24.04, 26.04 on x86_64 and aarch64"
# NVIDIA's folder of each architecture, and the name that dpkg has for it.
ARCHITECTURES: Final = {"x86_64": "x86_64", "aarch64": "sbsa"}
DPKG_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "sbsa"}
# In Debian the client is a package of its own.
DOCKER_PACKAGES: Final = {
    "debian": "docker.io docker-cli docker-buildx rsync",
    "ubuntu": "docker.io docker-buildx rsync",
}


def driver_package(*, is_open: bool) -> str:
    return "nvidia-open" if is_open else "cuda-drivers"


def driver_branch(floor: str, *, is_open: bool) -> int:
    """Return the branch to install: the driver floor's, if it has packages for these modules."""
    major = floor.partition(".")[0]
    if is_open and major.isdecimal():
        return max(LAST_CLOSED_BRANCH, int(major))
    return LAST_CLOSED_BRANCH


def driver_lines(
    sources: PackageSources, *, folder: str, architecture: str, branch: str, package: str
) -> tuple[str, ...]:
    """Return the lines that install NVIDIA's driver; on Debian, `contrib_lines` come first."""
    address = f"{sources.drivers}/{folder}/{architecture}/{_KEYRING}"
    return (
        *install_lines("ca-certificates", "curl"),
        f"curl -fsSL {address} -o /tmp/{_KEYRING}",
        f"dpkg --install /tmp/{_KEYRING}",
        *install_lines(f"nvidia-driver-pinning-{branch}"),
        f'{_INSTALL} "linux-headers-$(uname -r)" {package}',
    )


def contrib_lines(codename: str) -> tuple[str, ...]:
    """Return the lines that add Debian's component contrib."""
    return (
        f'echo "deb http://deb.debian.org/debian {codename} contrib" >{_LISTS}/dlimg-contrib.list',
    )


def toolkit_lines(sources: PackageSources) -> tuple[str, ...]:
    """Return the lines that install NVIDIA's container toolkit."""
    key = f"{_KEYS}/nvidia-container-toolkit.asc"
    # apt itself replaces $(ARCH).
    line = f"deb [signed-by={key}] {sources.toolkit}/stable/deb/$(ARCH) /"
    return (
        *install_lines("ca-certificates", "curl"),
        f"curl -fsSL {sources.toolkit}/gpgkey -o {key}",
        f"echo '{line}' >{_LISTS}/nvidia-container-toolkit.list",
        *install_lines("nvidia-container-toolkit"),
    )


def docker_lines(distribution: str, codename: str) -> tuple[str, ...]:
    """Return the lines that install Docker's own packages of its engine."""
    key = f"{_KEYS}/docker.asc"
    source = f"{DOCKER}/{distribution}"
    return (
        *install_lines("ca-certificates", "curl", "rsync"),
        f"curl -fsSL {source}/gpg -o {key}",
        f'echo "deb [signed-by={key}] {source} {codename} stable" >{_LISTS}/docker.list',
        *install_lines("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin"),
    )


def install_lines(*packages: str) -> tuple[str, str]:
    """Return the lines that update apt's lists and install packages."""
    return (f"{_APT} update", f"{_INSTALL} {' '.join(packages)}")
