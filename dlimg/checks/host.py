"""The host that checks run on: its hardware and software, but never its name.

Evidence is published with images. A host's name proves nothing and reveals whose machine it is.
"""

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dlimg.engine.client import Engine, engine_errors
from dlimg.model import Host

CPUINFO: Final = Path("/proc/cpuinfo")


@engine_errors()
def host_of(engine: Engine, *, cpuinfo: Path = CPUINFO) -> Host:
    """Return the host as its engine describes it; the processor only for a local engine."""
    info: Mapping[str, Any] = engine.sdk.info()
    is_local = engine.host.startswith("unix://")
    return Host(
        system=str(info.get("OperatingSystem") or ""),
        kernel=str(info.get("KernelVersion") or ""),
        arch=str(info.get("Architecture") or ""),
        processor=processor_name(cpuinfo) if is_local else "",
        cores=int(info.get("NCPU") or 0),
        memory=int(info.get("MemTotal") or 0),
    )


def this_host(*, cpuinfo: Path = CPUINFO, meminfo: Path = Path("/proc/meminfo")) -> Host:
    """Return this host, for checks that run without an engine."""
    return Host(
        system=_system(),
        kernel=platform.release(),
        arch=platform.machine(),
        processor=processor_name(cpuinfo),
        cores=len(re.findall(r"(?m)^processor\s*:", _read_text(cpuinfo))),
        memory=_memory(meminfo),
    )


@engine_errors()
def engine_text(engine: Engine) -> str:
    """Return engine and version, such as `Docker Engine - Community 28.5.2`."""
    version: Mapping[str, Any] = engine.sdk.version()
    name = str((version.get("Platform") or {}).get("Name") or "").strip() or "Docker"
    return name if engine.version in name else f"{name} {engine.version}"


def processor_name(cpuinfo: Path) -> str:
    """Return the name of the first processor, or an empty text."""
    match = re.search(r"(?m)^(?:model name|Model)\s*:\s*(.+)$", _read_text(cpuinfo))
    return match[1].strip() if match else ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _memory(meminfo: Path) -> int:
    match = re.search(r"(?m)^MemTotal:\s*(\d+) kB$", _read_text(meminfo))
    return int(match[1]) * 1024 if match else 0


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
