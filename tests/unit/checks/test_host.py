"""The machine that checks ran on: the engine's own words, and never its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dlimg.checks.host import engine_text, host_of, processor_name, this_host
from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.model import Host

ABOUT = {
    "Name": "build-host-7.corp",
    "OperatingSystem": "Debian GNU/Linux 13 (trixie)",
    "KernelVersion": "6.12.48",
    "Architecture": "x86_64",
    "NCPU": 16,
    "MemTotal": 128_000_000_000,
}
X86 = "processor\t: 0\nmodel name\t: AMD EPYC 9554\n\nprocessor\t: 1\nmodel name\t: other\n"
ARM = "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5\n"


class FakeSdk:
    def __init__(self, about: Mapping[str, Any], platform: Mapping[str, Any]) -> None:
        self.about, self.platform = about, platform

    def info(self) -> Mapping[str, Any]:
        return self.about

    def version(self) -> Mapping[str, Any]:
        return self.platform


def engine(
    host: str = "unix:///s",
    about: Mapping[str, Any] = ABOUT,
    platform: Mapping[str, Any] | None = None,
) -> Engine:
    sdk: Any = FakeSdk(about, platform or {})
    return Engine(
        host=host,
        private=False,
        version="28.5.2",
        docker=Path("docker"),
        context=Context.of({}, print),
        root="",
        sdk=sdk,
    )


@pytest.mark.parametrize(
    ("address", "name"), [("unix:///s", "AMD EPYC 9554"), ("tcp://far:2376", "")]
)
def test_the_host_of_an_engine_is_described(tmp_path: Path, address: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    result = host_of(engine(address), cpuinfo=tmp_path / "cpuinfo")
    assert result == Host(
        system="Debian GNU/Linux 13 (trixie)",
        kernel="6.12.48",
        arch="x86_64",
        processor=name,
        cores=16,
        memory=128_000_000_000,
    )
    assert "build-host" not in repr(result)


def test_unknown_values_of_a_host_are_empty(tmp_path: Path) -> None:
    about = {"OperatingSystem": None, "NCPU": None}
    assert host_of(engine(about=about), cpuinfo=tmp_path / "none") == Host()


@pytest.mark.parametrize(
    ("text", "name"), [(X86, "AMD EPYC 9554"), (ARM, "Raspberry Pi 5"), ("", ""), ("x: y", "")]
)
def test_the_processor_name_is_read(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert processor_name(tmp_path / "cpuinfo") == name


def test_the_local_host_is_described(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(X86)
    (tmp_path / "meminfo").write_text("MemTotal:       24684084 kB\nMemFree: 1 kB\n")
    result = this_host(cpuinfo=tmp_path / "cpuinfo", meminfo=tmp_path / "meminfo")
    assert (result.cores, result.memory) == (2, 24_684_084 * 1024)
    assert result.system
    assert result.kernel
    assert result.arch
    nothing = this_host(cpuinfo=tmp_path / "none", meminfo=tmp_path / "none")
    assert (nothing.processor, nothing.cores, nothing.memory) == ("", 0, 0)


@pytest.mark.parametrize(
    ("platform", "text"),
    [
        ({"Platform": {"Name": "Docker Engine - Community"}}, "Docker Engine - Community 28.5.2"),
        ({"Platform": {"Name": ""}}, "Docker 28.5.2"),
        ({"Platform": None}, "Docker 28.5.2"),
        ({}, "Docker 28.5.2"),
        ({"Platform": {"Name": "Docker Desktop 28.5.2"}}, "Docker Desktop 28.5.2"),
    ],
)
def test_the_engine_text_has_name_and_version(platform: Mapping[str, Any], text: str) -> None:
    assert engine_text(engine(platform=platform)) == text
