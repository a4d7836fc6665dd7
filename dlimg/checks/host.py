"""The machine that checks run on: what it is, and never what it is called.

Evidence is published beside images. A host's name says nothing about what was proved and much
about whose machine it is, so it is not asked for.
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
    """The engine's machine in its own words; the processor only where that is this machine."""
    about: Mapping[str, Any] = engine.sdk.info()
    is_local = engine.host.startswith("unix://")
    return Host(
        system=str(about.get("OperatingSystem") or ""),
        kernel=str(about.get("KernelVersion") or ""),
        arch=str(about.get("Architecture") or ""),
        processor=processor_name(cpuinfo) if is_local else "",
        cores=int(about.get("NCPU") or 0),
        memory=int(about.get("MemTotal") or 0),
    )


def this_host(*, cpuinfo: Path = CPUINFO, meminfo: Path = Path("/proc/meminfo")) -> Host:
    """The machine that dlimg runs on, for checks that run there without an engine."""
    return Host(
        system=_system(),
        kernel=platform.release(),
        arch=platform.machine(),
        processor=processor_name(cpuinfo),
        cores=len(re.findall(r"(?m)^processor\s*:", _text(cpuinfo))),
        memory=_memory(meminfo),
    )


@engine_errors()
def engine_text(engine: Engine) -> str:
    """The engine and its version: `Docker Engine - Community 28.5.2`, `Docker 20.10.24+dfsg1`."""
    about: Mapping[str, Any] = engine.sdk.version()
    name = str((about.get("Platform") or {}).get("Name") or "").strip() or "Docker"
    return name if engine.version in name else f"{name} {engine.version}"


def processor_name(cpuinfo: Path) -> str:
    """The name of the first processor, or an empty text where the kernel gives none."""
    found = re.search(r"(?m)^(?:model name|Model)\s*:\s*(.+)$", _text(cpuinfo))
    return found[1].strip() if found else ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _memory(meminfo: Path) -> int:
    found = re.search(r"(?m)^MemTotal:\s*(\d+) kB$", _text(meminfo))
    return int(found[1]) * 1024 if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
