"""The steps that make a machine ready for runs: engine, driver and toolkit. Pure.

A plan has only steps that are still to be done, so the same command goes on after a reboot.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.run.doctor import DoctorFinding
from dlimg.run.machine_packages import (
    ARCHITECTURES,
    DOCKER_PACKAGES,
    SUPPORTED,
    SYSTEMS,
    TURING,
    MachineSystem,
    PackageSources,
    contrib_lines,
    docker_lines,
    driver_branch,
    driver_lines,
    driver_package,
    install_lines,
    toolkit_lines,
)
from dlimg.run.machine_probe import MachineProbe

# The checks whose findings an installation mends.
_MENDED: Final = {"engine", "driver", "container toolkit", "CDI file", "GPU in containers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """A step: its name, and shell lines to be run as root until one fails."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """The steps in order; `obstacle` says why there are none, `reboot` why a reboot is due."""

    steps: tuple[SetupStep, ...] = ()
    obstacle: str = ""
    reboot: str = ""


def setup_plan(
    probe: MachineProbe,
    findings: tuple[DoctorFinding, ...],
    sources: PackageSources,
    *,
    floor: str = "",
) -> SetupPlan:
    """Return the steps that mend failed findings; `floor` is the oldest driver that is enough."""
    system = SYSTEMS.get((probe.os, probe.os_version))
    failed = {finding.check for finding in findings if finding.state == "failed"}
    if failed.isdisjoint(_MENDED):
        return SetupPlan(reboot=_reboot(probe))
    if system is None or probe.arch not in ARCHITECTURES:
        return SetupPlan(obstacle=f"dlimg has lines for {SUPPORTED} only")
    steps = []
    if "engine" in failed and not probe.has_docker:
        steps.append(_engine_step(probe, system))
    if "driver" in failed and not probe.installed and not probe.module:
        steps.append(_driver_step(probe, system, sources, floor))
    if "container toolkit" in failed:
        lines = toolkit_lines(sources)
        steps.append(SetupStep(name="NVIDIA's container toolkit", lines=lines))
    steps += _settings(probe, failed)
    return SetupPlan(steps=tuple(steps), reboot=_reboot(probe))


def _reboot(probe: MachineProbe) -> str:
    """Return why the machine has to be rebooted; empty if it does not."""
    if probe.has_gpu and probe.installed and not probe.driver:
        if probe.module and probe.module != probe.installed:
            return f"driver {probe.module} is loaded, {probe.installed} is installed"
        if not probe.module:
            return f"driver {probe.installed} is installed and not loaded"
    return ""


def _engine_step(probe: MachineProbe, system: MachineSystem) -> SetupStep:
    if system.old_docker:
        lines = docker_lines(probe.os, system.codename)
    else:
        lines = install_lines(DOCKER_PACKAGES[probe.os])
    return SetupStep(name="the container engine", lines=lines)


def _driver_step(
    probe: MachineProbe, system: MachineSystem, sources: PackageSources, floor: str
) -> SetupStep:
    is_open = _is_turing(probe)
    branch = driver_branch(floor, is_open=is_open)
    lines = driver_lines(
        sources,
        folder=system.folder,
        architecture=ARCHITECTURES[probe.arch],
        branch=str(branch),
        package=driver_package(is_open=is_open),
    )
    contrib = contrib_lines(system.codename) if probe.os == "debian" else ()
    return SetupStep(
        name=f"NVIDIA's driver, branch {branch}",
        lines=(*contrib, *lines, "modprobe nvidia || true"),
    )


def _is_turing(probe: MachineProbe) -> bool:
    """Return whether all GPUs are of Turing or later, by their PCI device numbers."""
    try:
        return bool(probe.pci) and all(int(device, 16) >= TURING for device in probe.pci)
    except ValueError:
        return False


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
