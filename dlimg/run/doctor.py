"""Checks of a machine for runs; each finding that is not `ok` has one remedy. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from dlimg.document.versions import numbers
from dlimg.run.machine_probe import MachineProbe
from dlimg.run.model import SHM_BYTES
from dlimg.units import bytes_text

State = Literal["ok", "warning", "failed", "not checked"]

OLDEST_ENGINE: Final = "24.0"
# Layers of wheels unpack to about three times their size, those of a system to four.
UNPACKED: Final = 3.5
_CLOCK_SECONDS: Final = 30
_SPARE: Final = 2**30
_DRIVER_PLAN: Final = "`dlimg doctor --fix{on}` prints the lines that install it"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """The result of one check of a machine."""

    check: str
    state: State
    message: str
    remedy: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNeed:
    """The needs of the chosen image: its name, driver floor with source, and bytes to pull.

    `wants_gpu` is false for the CPU; `obstacle` is why no image runs on the machine. `on` is the
    option for the machine, for remedies. `now` is the time of the machine that asks. With
    `own_engine` a run here starts dlimg's own engine where none runs.
    """

    image: str = ""
    floor: str = ""
    source: str = ""
    size: int = 0
    wants_gpu: bool = True
    obstacle: str = ""
    registry: str = ""
    on: str = ""
    now: float | None = None
    own_engine: bool = False

    @property
    def place(self) -> str:
        """The end of a remedy that is for another machine."""
        return " there" if self.on else ""


def findings(probe: MachineProbe, need: MachineNeed) -> tuple[DoctorFinding, ...]:
    """Return the findings in the order in which they are to be mended."""
    checks: list[Callable[[MachineProbe, MachineNeed], Iterator[DoctorFinding]]]
    checks = [_system, _engine]
    if need.wants_gpu:
        checks += [_gpu, _driver, _floor, _image, _toolkit, _cdi, _engine_gives_gpus]
    checks += [_disk, _shm, _quota, _clock, _ports, _registry, _rsync]
    return tuple(finding for check in checks for finding in check(probe, need))


def _ok(check: str, message: str) -> DoctorFinding:
    return DoctorFinding(check=check, state="ok", message=message)


def _failed(check: str, message: str, remedy: str, source: str = "") -> DoctorFinding:
    return DoctorFinding(check=check, state="failed", message=message, remedy=remedy, source=source)


def _warning(check: str, message: str, remedy: str) -> DoctorFinding:
    return DoctorFinding(check=check, state="warning", message=message, remedy=remedy)


def _system(probe: MachineProbe, _need: MachineNeed) -> Iterator[DoctorFinding]:
    name = f"{probe.os} {probe.os_version}".strip() or probe.kernel
    if not probe.kernel.startswith("Linux"):
        yield _failed("system", f"{probe.kernel}: runs need Linux", "take a machine with Linux")
    elif probe.arch not in {"x86_64", "aarch64"}:
        message = f"{probe.arch}: images are for x86_64, some for aarch64"
        yield _failed("system", message, "take a machine with such a CPU")
    else:
        yield _ok("system", f"{name}, {probe.kernel}, {probe.arch}")


def _engine(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    server = probe.docker_version.get("Server") or {}
    version = str(server.get("Version", "")) if isinstance(server, dict) else ""
    if need.own_engine and not version:
        yield _warning("engine", "none runs", "none: `dlimg run` starts dlimg's own")
    elif not probe.has_docker:
        yield _failed("engine", "there is no docker", _DRIVER_PLAN.format(on=need.on))
    elif not probe.may_use_docker:
        remedy = f"`sudo usermod -aG docker $USER`{need.place}, then log in anew"
        yield _failed("engine", "this user may not use docker", remedy)
    elif not version:
        reason = probe.docker_error or "it does not answer"
        yield _failed("engine", reason, f"`sudo systemctl enable --now docker`{need.place}")
    elif numbers(version) < numbers(OLDEST_ENGINE):
        message = f"docker {version} is older than {OLDEST_ENGINE}"
        yield _failed("engine", message, "install a newer one: docs.docker.com/engine/install")
    else:
        yield _ok("engine", f"docker {version}")


def _gpu(probe: MachineProbe, _need: MachineNeed) -> Iterator[DoctorFinding]:
    if probe.gpus:
        yield _ok("GPU", ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in probe.gpus))
    elif probe.pci:
        yield _ok("GPU", f"{len(probe.pci)} of NVIDIA's (PCI {', '.join(probe.pci)})")
    else:
        remedy = "rent a machine with a GPU, or pass it through; `--cpu` needs none"
        yield _failed("GPU", "this machine has no GPU of NVIDIA's", remedy)


def _driver(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if not probe.has_gpu:
        return
    plan = _DRIVER_PLAN.format(on=need.on)
    if probe.driver:
        yield _ok("driver", f"{probe.driver} is loaded")
    elif "mismatch" in probe.smi_error or (
        probe.module and probe.installed and probe.module != probe.installed
    ):
        versions = f"{probe.module} is loaded, {probe.installed or 'another'} is installed"
        yield _failed("driver", f"the driver was updated: {versions}", "reboot: `sudo reboot`")
    elif probe.installed and not probe.module:
        blocked = " (nouveau has the GPU)" if probe.nouveau or probe.reboot else ""
        remedy = "reboot: `sudo reboot`" if blocked else "`sudo modprobe nvidia`, or reboot"
        yield _failed("driver", f"{probe.installed} is installed, not loaded{blocked}", remedy)
    elif probe.has_smi:
        yield _failed("driver", f"nvidia-smi fails: {probe.smi_error}", plan)
    else:
        yield _failed("driver", "there is no NVIDIA driver", plan)


def _floor(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if not (probe.driver and need.floor):
        return
    if numbers(probe.driver) >= numbers(need.floor):
        yield _ok("driver floor", f"{need.image} needs {need.floor} or newer")
        return
    yield _failed(
        "driver floor",
        f"driver {probe.driver} is older than {need.floor}, which {need.image} needs",
        f"`dlimg pick --driver {probe.driver}` says which images run there, or install a newer one",
        source=need.source,
    )


def _image(_probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if need.obstacle:
        yield _failed("image", need.obstacle, "`dlimg pick --gpu NAME` says what runs on it")


def _toolkit(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if not probe.has_gpu:
        return
    if probe.toolkit:
        yield _ok("container toolkit", probe.toolkit)
    elif _gives_gpus(probe):
        yield _ok("container toolkit", "the engine gives GPUs without it")
    else:
        plan = _DRIVER_PLAN.format(on=need.on)
        yield _failed("container toolkit", "NVIDIA's container toolkit is missing", plan)


def _cdi(probe: MachineProbe, _need: MachineNeed) -> Iterator[DoctorFinding]:
    for path, file in probe.stale[:1]:
        message = f"{file} is stale: {path} does not exist; the driver has changed"
        yield _failed("CDI file", message, f"`sudo nvidia-ctk cdi generate --output={file}`")
    if probe.cdi and not probe.stale:
        yield _ok("CDI file", f"{', '.join(probe.cdi)} is fresh")


def _engine_gives_gpus(probe: MachineProbe, _need: MachineNeed) -> Iterator[DoctorFinding]:
    if not (probe.driver and probe.docker_info):
        return
    if _gives_gpus(probe):
        yield _ok("GPU in containers", "the engine gives GPUs to containers")
        return
    line = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    yield _failed("GPU in containers", "the engine gives no GPU to containers", f"`{line}`")


def _gives_gpus(probe: MachineProbe) -> bool:
    info: Any = probe.docker_info
    devices = [str(row.get("ID", "")) for row in info.get("DiscoveredDevices") or ()]
    return "nvidia" in (info.get("Runtimes") or {}) or any(
        name.startswith("nvidia.com/gpu=") for name in devices
    )


def _disk(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    size = int(need.size * (1 + UNPACKED)) + _SPARE
    pull = f"{need.image or 'an image'} takes about {bytes_text(size)} while it is pulled"
    for name, free, least, reason in (
        ("the engine's disk", probe.disk_docker, size, pull),
        ("home", probe.disk_home, _SPARE, "code and outputs lie there"),
    ):
        if free is None:
            continue
        if free >= least:
            yield _ok("disk", f"{name} has {bytes_text(free)} free")
            continue
        prune = "`docker system prune` there" if need.on else "`dlimg rm --ended`, `dlimg prune`"
        remedy = f"{prune}, or a larger disk"
        yield _failed("disk", f"{name} has {bytes_text(free)} free: {reason}", remedy)


def _shm(probe: MachineProbe, _need: MachineNeed) -> Iterator[DoctorFinding]:
    if probe.memory is None:
        return
    if probe.memory < SHM_BYTES:
        message = (
            f"runs may use {bytes_text(SHM_BYTES)} of shared memory, and there are only "
            f"{bytes_text(probe.memory)} in all"
        )
        yield _warning("shared memory", message, "fewer workers in data loaders")
    else:
        yield _ok(
            "shared memory", f"{bytes_text(SHM_BYTES)} of {bytes_text(probe.memory)} for a run"
        )


def _quota(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    quota, _, period = probe.cpu_max.partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        cpus = int(quota) / int(period)
        message = f"this machine is limited to {cpus:.1f} of {probe.cpus} CPUs"
        yield _warning("quota", message, "as many workers as CPUs; images know the limit")
    if probe.memory_max is not None and probe.memory and probe.memory_max < probe.memory:
        message = f"this machine is limited to {bytes_text(probe.memory_max)} of memory"
        yield _warning("quota", message, "a larger machine, or smaller batches")
    if probe.quota:
        message = f"the user's disk quota is used up: {probe.quota}"
        yield _failed("quota", message, f"remove files{need.place}, or ask for more")


def _clock(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if probe.time is None or need.now is None:
        return
    off = probe.time - need.now
    if abs(off) > _CLOCK_SECONDS:
        message = f"its clock is {abs(off):.0f} s {'ahead' if off > 0 else 'behind'} of this one's"
        yield _failed("clock", message, f"`sudo timedatectl set-ntp true`{need.place}")
    else:
        yield _ok("clock", "it agrees with this machine's")


def _ports(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    for port in probe.ports:
        message = f"port {port} is taken{need.place}"
        yield _warning("ports", message, "none: runs take a free one; with docker, `-p OTHER:PORT`")
    if not probe.ports:
        yield _ok("ports", "8888 and 2222 are free")


def _registry(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if not need.registry:
        return
    if probe.registry is None:
        yield DoctorFinding(
            check="network", state="not checked", message="the name was not looked up"
        )
    elif probe.registry and probe.registry_error:
        message = f"{need.registry} does not answer{need.place}: {probe.registry_error}"
        yield _warning("network", message, "check its network, firewall and proxy")
    elif probe.registry:
        yield _ok("network", f"the name {need.registry} can be resolved")
    else:
        message = f"the name {need.registry} cannot be resolved: no network, or no DNS"
        yield _failed("network", message, "check its network and /etc/resolv.conf")


def _rsync(probe: MachineProbe, need: MachineNeed) -> Iterator[DoctorFinding]:
    if need.on and not probe.rsync:
        message = "there is no rsync: changed files are sent whole, by tar"
        yield _warning("rsync", message, "`sudo apt-get install rsync` there")
