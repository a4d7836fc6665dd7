"""The probe of a machine: one script of the POSIX shell, and its answers parsed.

The script needs no root, changes nothing, and works where most of the programs that it calls are
missing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dlimg.model import DetectedGpu

SCRIPT: Final = r"""
PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin:/snap/bin
say() { printf '%s %s\n' "$1" "$(printf %s "$2" | tr '\n\t' '  ')"; }
have() { command -v "$1" >/dev/null 2>&1; }
soon() { if have timeout; then timeout 20 "$@"; else "$@"; fi; }
. /etc/os-release 2>/dev/null
say os "${ID:-} ${VERSION_ID:-}"
say kernel "$(uname -sr)"
say arch "$(uname -m)"
say time "$(date +%s)"
if [ "$(id -u)" = 0 ]; then say sudo root
elif have sudo && sudo -n true 2>/dev/null; then say sudo free
elif have sudo; then say sudo asks; else say sudo none; fi
for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/vendor" 2>/dev/null)" = 0x10de ] || continue
    case $(cat "$device/class") in 0x03*) say pci "$(cat "$device/device")" ;; esac
done
[ ! -r /sys/module/nvidia/version ] || say module "$(cat /sys/module/nvidia/version)"
grep -q '^nouveau ' /proc/modules 2>/dev/null && say nouveau yes
have modinfo && say installed "$(modinfo -F version nvidia 2>/dev/null)"
[ ! -e /var/run/reboot-required ] || say reboot yes
if have nvidia-smi; then
    soon nvidia-smi --query-gpu=compute_cap,driver_version,name --format=csv,noheader 2>&1 |
        while read -r line; do say smi "$line"; done
fi
if have nvidia-ctk; then say toolkit "$(nvidia-ctk --version 2>/dev/null | head -n 1)"; fi
for file in /etc/cdi/* /var/run/cdi/*; do
    grep -q 'nvidia.com/gpu' "$file" 2>/dev/null || continue
    say cdi "$file"
    grep -oE '"?hostPath"?: *"?[^",]+' "$file" | sed 's/^[^/]*//' | sort -u | while read -r path; do
        [ -e "$path" ] || say stale "$path $file"
    done
done
if have docker; then
    docker=docker
    error=$(soon docker version --format '{{json .}}' 2>&1 >/dev/null)
    case $error in *'permission denied'*)
        if sudo -n docker version >/dev/null 2>&1; then docker='sudo -n docker'; error=
        else say docker-group no; fi ;;
    esac
    say docker-error "$error"
    say docker-version "$(soon $docker version --format '{{json .}}' 2>/dev/null)"
    say docker-info "$(soon $docker info --format '{{json .}}' 2>/dev/null)"
    root=$($docker info --format '{{.DockerRootDir}}' 2>/dev/null)
    while [ -n "$root" ] && [ ! -d "$root" ]; do root=${root%/*}; done
    [ -z "$root" ] || say disk-docker "$(df -Pk "$root" 2>/dev/null | awk 'END {print $4}')"
fi
say disk-home "$(df -Pk "$HOME" 2>/dev/null | awk 'END {print $4}')"
say memory "$(awk '/^MemTotal/ {print $2}' /proc/meminfo 2>/dev/null)"
say cpus "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
say cpu-max "$(cat /sys/fs/cgroup/cpu.max 2>/dev/null)"
say memory-max "$(cat /sys/fs/cgroup/memory.max 2>/dev/null)"
if have quota; then say quota "$(soon quota -w 2>/dev/null | grep '\*' | head -n 1)"; fi
for port in 8888 2222; do
    grep -qiE "^ *[0-9]+: (0100007F|00000000):$(printf %04X $port) 0+:0000 0A" /proc/net/tcp \
        2>/dev/null && say port $port
done
have rsync && say rsync yes
if [ -n "$1" ]; then
    if getent hosts "${1%:*}" >/dev/null 2>&1; then say registry yes; else say registry no; fi
    ! have curl || say registry-error "$(curl -sS -m 15 -o /dev/null "$2" 2>&1)"
fi
say end yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineProbe:
    """A machine's answers; an empty text or None where it has none.

    Sizes are in bytes. `module` is the version of the loaded kernel module of NVIDIA's driver,
    `installed` that of the one on disk, `smi_error` why `nvidia-smi` fails. `pci` are the device
    numbers of NVIDIA's GPUs. `stale` has files that a CDI file names and that do not exist.
    """

    os: str = ""
    os_version: str = ""
    kernel: str = ""
    arch: str = ""
    time: int | None = None
    sudo: str = "none"
    pci: tuple[str, ...] = ()
    module: str = ""
    installed: str = ""
    nouveau: bool = False
    reboot: bool = False
    gpus: tuple[DetectedGpu, ...] = ()
    driver: str = ""
    smi_error: str = ""
    has_smi: bool = False
    toolkit: str = ""
    cdi: tuple[str, ...] = ()
    stale: tuple[tuple[str, str], ...] = ()
    has_docker: bool = False
    docker_error: str = ""
    may_use_docker: bool = True
    docker_version: Mapping[str, Any] = field(default_factory=dict)
    docker_info: Mapping[str, Any] = field(default_factory=dict)
    disk_docker: int | None = None
    disk_home: int | None = None
    memory: int | None = None
    cpus: int | None = None
    cpu_max: str = ""
    memory_max: int | None = None
    quota: str = ""
    ports: tuple[int, ...] = ()
    rsync: bool = False
    registry: bool | None = None
    registry_error: str = ""

    @property
    def has_gpu(self) -> bool:
        return bool(self.pci or self.gpus)


def parse_probe(text: str) -> MachineProbe | None:
    """Return the answers; None if the script did not come to its end."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        lines.setdefault(key, []).append(value.strip())
    if "end" not in lines:
        return None
    last = {key: values[-1] for key, values in lines.items()}
    gpus, driver, smi_error = parse_gpus(lines.get("smi", []))
    os_name, _, os_version = last.get("os", "").partition(" ")
    return MachineProbe(
        os=os_name,
        os_version=os_version,
        kernel=last.get("kernel", ""),
        arch=last.get("arch", ""),
        time=_number(last.get("time")),
        sudo=last.get("sudo", "none"),
        pci=tuple(lines.get("pci", ())),
        module=last.get("module", ""),
        installed=last.get("installed", ""),
        nouveau="nouveau" in last,
        reboot="reboot" in last,
        gpus=gpus,
        driver=driver,
        smi_error=smi_error,
        has_smi="smi" in last,
        toolkit=last.get("toolkit", ""),
        cdi=tuple(lines.get("cdi", ())),
        stale=tuple(_stale(value) for value in lines.get("stale", ())),
        has_docker="docker-error" in last,
        docker_error=last.get("docker-error", ""),
        may_use_docker="docker-group" not in last,
        docker_version=_json(last.get("docker-version", "")),
        docker_info=_json(last.get("docker-info", "")),
        disk_docker=_kilobytes(last.get("disk-docker")),
        disk_home=_kilobytes(last.get("disk-home")),
        memory=_kilobytes(last.get("memory")),
        cpus=_number(last.get("cpus")),
        cpu_max=last.get("cpu-max", ""),
        memory_max=_number(last.get("memory-max")),
        quota=last.get("quota", ""),
        ports=tuple(int(value) for value in lines.get("port", ()) if value.isdecimal()),
        rsync="rsync" in last,
        registry={"yes": True, "no": False}.get(last.get("registry", "")),
        registry_error=last.get("registry-error", ""),
    )


def parse_gpus(lines: list[str]) -> tuple[tuple[DetectedGpu, ...], str, str]:
    """Return GPUs and driver from lines of `nvidia-smi`, or else its message about a failure."""
    rows = [[part.strip() for part in line.split(",", 2)] for line in lines]
    rows = [row for row in rows if len(row) == 3 and row[0].replace(".", "").isdecimal()]
    gpus = tuple(DetectedGpu(name=row[2], capability=row[0]) for row in rows)
    error = "" if rows else " ".join(lines)
    return gpus, rows[0][1] if rows else "", error


def _stale(text: str) -> tuple[str, str]:
    path, _, file = text.rpartition(" ")
    return path, file


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _kilobytes(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else number * 1024


def _json(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
