"""The steps that make a machine ready for runs: engine, driver and toolkit. Pure.

Debian's and Ubuntu's own tools do it, from NVIDIA's package sources. A step that is done is in no
later plan, so the same command goes on after a reboot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.run.doctor import DoctorFinding
from dlimg.run.machine_probe import MachineProbe

# Where a `cuda-keyring` and the toolkit come from; tests set another one on loopback.
NVIDIA_DRIVERS: Final = "https://developer.download.nvidia.com/compute/cuda/repos"
NVIDIA_TOOLKIT: Final = "https://nvidia.github.io/libnvidia-container"
# The last driver branch for GPUs before Turing; for Turing and later the open modules are right.
BRANCH: Final = "580"
_TURING: Final = 0x1E00
_SYSTEMS: Final = {
    ("debian", "12"): "debian12",
    ("debian", "13"): "debian13",
    ("ubuntu", "22.04"): "ubuntu2204",
    ("ubuntu", "24.04"): "ubuntu2404",
    ("ubuntu", "26.04"): "ubuntu2604",
}
_ARCHITECTURES: Final = {"x86_64": "x86_64", "aarch64": "sbsa"}
_DEBIAN_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_LISTS: Final = "/etc/apt/sources.list.d"
# Its docker.io is of version 20.10.
_OLD_DOCKER: Final = frozenset({("debian", "12")})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """The addresses of package sources."""

    drivers: str = NVIDIA_DRIVERS
    toolkit: str = NVIDIA_TOOLKIT


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """A step: its name, and the lines of shell that root runs; they stop at the first failure."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """The steps in order; `obstacle` says why there are none, `reboot` why a reboot is due."""

    steps: tuple[SetupStep, ...] = ()
    obstacle: str = ""
    reboot: str = ""


def setup_plan(
    probe: MachineProbe, findings: tuple[DoctorFinding, ...], sources: PackageSources
) -> SetupPlan:
    """Return what mends the findings that an installation mends."""
    system = _SYSTEMS.get((probe.os, probe.os_version))
    failed = {finding.check for finding in findings if finding.state == "failed"}
    wanted = failed & {"engine", "driver", "container toolkit", "CDI file", "GPU in containers"}
    if not wanted:
        return SetupPlan(reboot=_reboot(probe))
    if system is None or probe.arch not in _ARCHITECTURES:
        known = "Debian 12, 13 and Ubuntu 22.04, 24.04, 26.04 on x86_64 and aarch64"
        return SetupPlan(obstacle=f"the lines are known for {known}")
    steps = []
    if "engine" in failed and not probe.has_docker:
        steps.append(_engine_step(probe))
    if "driver" in failed and not probe.installed and not probe.module:
        steps.append(_driver_step(probe, system, sources))
    if "container toolkit" in failed:
        steps.append(_toolkit_step(probe, sources))
    steps += _settings(probe, failed)
    return SetupPlan(steps=tuple(steps), reboot=_reboot(probe))


def _reboot(probe: MachineProbe) -> str:
    """Return why the machine has to be started anew; empty if it does not."""
    if probe.has_gpu and probe.installed and not probe.driver:
        if probe.module and probe.module != probe.installed:
            return f"driver {probe.module} is loaded, {probe.installed} is installed"
        if not probe.module:
            return f"driver {probe.installed} is installed and not loaded"
    return ""


def _engine_step(probe: MachineProbe) -> SetupStep:
    name = "the container engine"
    if (probe.os, probe.os_version) not in _OLD_DOCKER:
        lines = ("apt-get update", "apt-get install -y docker.io docker-buildx rsync")
        if probe.os == "debian":
            lines = ("apt-get update", "apt-get install -y docker.io docker-cli rsync")
        return SetupStep(name=name, lines=lines)
    source, key = "https://download.docker.com/linux/debian", "/usr/share/keyrings/docker.asc"
    return SetupStep(
        name=name,
        lines=(
            "apt-get update",
            "apt-get install -y ca-certificates curl rsync",
            f"curl -fsSL {source}/gpg -o {key}",
            f'echo "deb [signed-by={key}] {source} bookworm stable" >{_LISTS}/docker.list',
            "apt-get update",
            "apt-get install -y docker-ce docker-ce-cli containerd.io docker-buildx-plugin",
        ),
    )


def _driver_step(probe: MachineProbe, system: str, sources: PackageSources) -> SetupStep:
    folder = f"{sources.drivers}/{system}/{_ARCHITECTURES[probe.arch]}"
    keyring = "cuda-keyring_1.1-1_all.deb"
    package = f"nvidia-open-{BRANCH}" if _is_turing(probe) else f"cuda-drivers-{BRANCH}"
    return SetupStep(
        name=f"NVIDIA's driver, branch {BRANCH}",
        lines=(
            "apt-get update",
            "apt-get install -y ca-certificates curl",
            f"curl -fsSL {folder}/{keyring} -o /tmp/{keyring}",
            f"dpkg -i /tmp/{keyring}",
            "apt-get update",
            f'apt-get install -y "linux-headers-$(uname -r)" {package}',
            "modprobe nvidia || true",
        ),
    )


def _is_turing(probe: MachineProbe) -> bool:
    """Return whether all GPUs are Turing or later, by their PCI device numbers."""
    try:
        return bool(probe.pci) and all(int(device, 16) >= _TURING for device in probe.pci)
    except ValueError:
        return False


def _toolkit_step(probe: MachineProbe, sources: PackageSources) -> SetupStep:
    key = "/usr/share/keyrings/nvidia-container-toolkit.asc"
    folder = f"{sources.toolkit}/stable/deb/{_DEBIAN_ARCHITECTURES[probe.arch]}"
    return SetupStep(
        name="NVIDIA's container toolkit",
        lines=(
            "apt-get update",
            "apt-get install -y ca-certificates curl",
            f"curl -fsSL {sources.toolkit}/gpgkey -o {key}",
            f'echo "deb [signed-by={key}] {folder} /" >{_LISTS}/nvidia-container-toolkit.list',
            "apt-get update",
            "apt-get install -y nvidia-container-toolkit",
        ),
    )


def _settings(probe: MachineProbe, failed: set[str]) -> Iterator[SetupStep]:
    is_new = "container toolkit" in failed
    if "GPU in containers" in failed or is_new:
        restart = "systemctl restart docker || service docker restart"
        lines = ("nvidia-ctk runtime configure --runtime=docker", restart)
        yield SetupStep(name="GPUs in the engine", lines=lines)
    if "CDI file" in failed or (is_new and not probe.cdi):
        file = probe.stale[0][1] if probe.stale else "/etc/cdi/nvidia.yaml"
        # Before a reboot there is no driver to describe; the toolkit's service writes it then.
        line = f"nvidia-ctk cdi generate --output={file} || [ ! -e /proc/driver/nvidia/version ]"
        yield SetupStep(name="the CDI file", lines=(line,))
