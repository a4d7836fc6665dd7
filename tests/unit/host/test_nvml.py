"""GPUs from NVML: every error is a finding, none a crash."""

# ruff: noqa: N802 - the names are NVIDIA's

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dlimg.host.nvml import detect_gpus, load_nvml
from dlimg.model import DetectedGpu, LocalMachine


class Trouble(Exception):
    """An NVML error: a number and a message."""

    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(f"NVML error {value}")


NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND = Trouble(3), Trouble(4), Trouble(6)
NOT_LOADED, NO_LIBRARY, LOST, MISMATCH, UNKNOWN = map(Trouble, (9, 12, 15, 18, 999))


@dataclass
class Card:
    name: str | bytes
    capability: tuple[int, int]
    mig: tuple[int, int] | None = None
    parts: Sequence[str] = ()
    lost: Trouble | None = None


@dataclass
class Fake:
    """The functions of `pynvml` that dlimg uses, with invented GPUs."""

    cards: Sequence[Card] = ()
    driver: str | bytes = "580.159.03"
    cuda: int = 13000
    at_start: Trouble | None = None
    at_driver: Trouble | None = None
    at_cuda: Trouble | None = None
    ended: int = 0
    NVMLError: type[Exception] = Trouble
    calls: list[str] = field(default_factory=list)

    def nvmlInit(self) -> None:
        if self.at_start:
            raise self.at_start

    def nvmlShutdown(self) -> None:
        self.ended += 1

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        if self.at_driver:
            raise self.at_driver
        return self.driver

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        if self.at_cuda:
            raise self.at_cuda
        return self.cuda

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        card = self.cards[index]
        if card.lost:
            raise card.lost
        return card

    def nvmlDeviceGetName(self, handle: Any) -> str | bytes:
        return handle if isinstance(handle, str) else handle.name

    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]:
        return handle.capability  # type: ignore[no-any-return]

    def nvmlDeviceGetMigMode(self, handle: Any) -> tuple[int, int]:
        if handle.mig is None:
            raise NOT_SUPPORTED
        return handle.mig  # type: ignore[no-any-return]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:
        assert handle.mig
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> str:
        if index >= len(handle.parts):
            raise NOT_FOUND
        return handle.parts[index]  # type: ignore[no-any-return]


H200 = Card("NVIDIA H200", (9, 0), mig=(0, 0))
RTX_4090 = Card("NVIDIA GeForce RTX 4090", (8, 9))
T4 = Card(b"Tesla T4", (7, 5))


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def said(machine: LocalMachine) -> str:
    return "\n".join(map(str, machine.findings))


def test_gpus_and_driver_are_told(tmp_path: Path) -> None:
    fake = Fake(cards=(H200, RTX_4090, T4, T4), cuda=13020)
    assert detect_gpus(fake, tmp_path) == LocalMachine(
        gpus=(
            DetectedGpu(name="NVIDIA H200", capability="9.0"),
            DetectedGpu(name="NVIDIA GeForce RTX 4090", capability="8.9"),
            DetectedGpu(name="Tesla T4", capability="7.5"),
            DetectedGpu(name="Tesla T4", capability="7.5"),
        ),
        driver="580.159.03",
        cuda="13.2",
    )
    assert fake.ended == 1


def test_gpus_of_one_kind_are_one_kind(tmp_path: Path) -> None:
    seen = detect_gpus(Fake(cards=(T4, T4, RTX_4090)), tmp_path)
    assert [gpu.architecture for gpu in seen.kinds] == ["sm_75", "sm_89"]


def test_bindings_that_give_bytes(tmp_path: Path) -> None:
    assert detect_gpus(Fake(cards=(T4,), driver=b"470.82.01"), tmp_path).driver == "470.82.01"


def _nothing(_root: Path) -> None:
    pass


def _module(root: Path) -> None:
    put(root, "proc/driver/nvidia/version", "NVRM version: ...")


def _device(root: Path) -> None:
    put(root, "dev/nvidiactl")


def _container(root: Path) -> None:
    put(root, ".dockerenv")


def _podman(root: Path) -> None:
    put(root, "run/.containerenv")


def _card(root: Path, name: str = "0000:01:00.0", kind: str = "0x030000") -> None:
    put(root, f"sys/bus/pci/devices/{name}/vendor", "0x10de\n")
    put(root, f"sys/bus/pci/devices/{name}/class", f"{kind}\n")


def _sound(root: Path) -> None:
    _card(root, "0000:01:00.1", "0x040300")


def _two_cards(root: Path) -> None:
    _card(root)
    _card(root, "0000:02:00.0", "0x030200")
    _sound(root)


def _wsl(root: Path) -> None:
    put(root, "proc/sys/kernel/osrelease", "6.6.87.2-microsoft-standard-WSL2\n")


@pytest.mark.parametrize(
    ("trouble", "grounds", "message", "hint"),
    [
        (NO_LIBRARY, [_nothing], "no NVIDIA GPU and no driver in this machine", ""),
        (NO_LIBRARY, [_sound], "no NVIDIA GPU and no driver in this machine", ""),
        (NO_LIBRARY, [_container], "no NVIDIA GPU and no driver in this container", "--gpus all"),
        (NO_LIBRARY, [_podman], "no NVIDIA GPU and no driver in this container", "--gpus all"),
        (NO_LIBRARY, [_card], "an NVIDIA GPU is in this machine, but no driver", "install"),
        (NO_LIBRARY, [_two_cards], "2 NVIDIA GPUs are in this machine, but no driver", "install"),
        (
            NO_LIBRARY,
            [_card, _container],
            "an NVIDIA GPU is in this machine",
            "give the container GPUs",
        ),
        (NOT_LOADED, [_card], "an NVIDIA GPU is in this machine, but no driver", "install"),
        (NO_LIBRARY, [_module], "its library libnvidia-ml.so.1 is missing", "same version"),
        (
            NO_LIBRARY,
            [_device, _container],
            "libnvidia-ml.so.1 is missing",
            "give the container GPUs",
        ),
        (NO_LIBRARY, [_wsl], "Windows gives this WSL no NVIDIA GPU", "driver for Windows"),
        (MISMATCH, [_module], "the driver does not answer: NVML error 18", "restart the machine"),
        (NO_PERMISSION, [_module], "the driver does not answer", "let this user read"),
        (UNKNOWN, [_nothing], "the driver does not answer: NVML error 999", "kernel's log"),
    ],
)
def test_no_driver_says_why(
    tmp_path: Path,
    trouble: Trouble,
    grounds: list[Callable[[Path], None]],
    message: str,
    hint: str,
) -> None:
    for lay in grounds:
        lay(tmp_path)
    seen = detect_gpus(Fake(at_start=trouble), tmp_path)
    assert (seen.gpus, seen.driver, len(seen.findings)) == ((), "", 1)
    assert message in seen.findings[0].message
    assert hint in seen.findings[0].hint


def test_a_driver_that_stops_answering(tmp_path: Path) -> None:
    fake = Fake(cards=(H200,), at_driver=UNKNOWN)
    seen = detect_gpus(fake, tmp_path)
    assert seen.gpus == ()
    assert "the driver does not answer: NVML error 999" in said(seen)
    assert fake.ended == 1


def test_a_driver_without_gpus(tmp_path: Path) -> None:
    seen = detect_gpus(Fake(), tmp_path)
    assert seen.driver == "580.159.03"
    assert "driver 580.159.03 shows no GPU" in said(seen)


def test_one_gpu_is_lost_and_the_other_counts(tmp_path: Path) -> None:
    seen = detect_gpus(Fake(cards=(Card("H100", (9, 0), lost=LOST), T4)), tmp_path)
    assert [gpu.name for gpu in seen.gpus] == ["Tesla T4"]
    assert "GPU 0 does not answer: NVML error 15" in said(seen)
    assert "off the bus" in said(seen)


def test_an_old_driver_does_not_say_its_cuda(tmp_path: Path) -> None:
    seen = detect_gpus(Fake(cards=(T4,), at_cuda=Trouble(13)), tmp_path)
    assert (seen.driver, seen.cuda, seen.findings) == ("580.159.03", "", ())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("NVIDIA H200 MIG 1g.18gb", "NVIDIA H200 MIG 3g.71gb"), "3g.71gb"),
        ((), "no instance, so nothing can run on it"),
    ],
)
def test_mig_is_told(tmp_path: Path, parts: Sequence[str], message: str) -> None:
    split = Card("NVIDIA H200", (9, 0), mig=(1, 1), parts=parts)
    seen = detect_gpus(Fake(cards=(split,)), tmp_path)
    assert [gpu.architecture for gpu in seen.gpus] == ["sm_90"]
    assert message in said(seen)


def test_mig_that_is_off_is_not_told(tmp_path: Path) -> None:
    assert detect_gpus(Fake(cards=(H200,)), tmp_path).findings == ()


def test_wsl_with_a_gpu_is_told(tmp_path: Path) -> None:
    _wsl(tmp_path)
    put(tmp_path, "dev/dxg")
    seen = detect_gpus(Fake(cards=(RTX_4090,)), tmp_path)
    assert seen.gpus
    assert "the driver is that of Windows" in said(seen)


def test_nvml_of_this_host_is_asked() -> None:
    seen = detect_gpus(load_nvml())
    assert seen.gpus or seen.findings
    assert all(gpu.message for gpu in seen.findings)
