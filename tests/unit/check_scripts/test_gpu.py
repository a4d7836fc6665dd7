"""Is there a GPU, and is it used? The driver, nvidia-smi and a framework by hand-written fakes."""

import ctypes
import importlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from tests.support.check_scripts import FAILED, NOT_RUN, PASSED, code_of, raiser

gpu = importlib.import_module("_gpu")
builds = importlib.import_module("_adapter")
gpu_work = importlib.import_module("_gpu_work")
is_gpu_available = importlib.import_module("is_gpu_available")
nvidia_smi = importlib.import_module("nvidia_smi")

H200 = gpu.Gpu("GPU-1", "NVIDIA H200", "580.159", "9.0", 143771)
NOTHING: Mapping[str, int] = MappingProxyType({})
NONE = gpu.Sight([], [], "libnvidia-ml.so.1 does not load")
ONE = gpu.Sight([H200], ["/dev/nvidia0"], "")
ROW = "GPU-1, NVIDIA H200, 580.159, 9.0, 143771"


class FakeNvml:
    """libnvidia-ml with one GPU; `errors` names the functions that refuse, and their code."""

    def __init__(self, errors: Mapping[str, int] = NOTHING) -> None:
        self.errors = errors
        self.is_down = False

    def __getattr__(self, function: str) -> Callable[..., int]:
        texts = {
            "nvmlSystemGetDriverVersion": b"580.159",
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlDeviceGetUUID": b"GPU-1",
        }

        def call(*arguments: Any) -> int:
            if function in self.errors:
                return self.errors[function]
            if function in texts:
                arguments[-2].value = texts[function]
            elif function == "nvmlDeviceGetCount_v2":
                arguments[0]._obj.value = 1  # noqa: SLF001
            elif function == "nvmlDeviceGetCudaComputeCapability":
                arguments[1]._obj.value, arguments[2]._obj.value = 9, 0  # noqa: SLF001
            elif function == "nvmlDeviceGetMemoryInfo":
                arguments[1]._obj.total = 143771 << 20  # noqa: SLF001
            elif function == "nvmlShutdown":
                self.is_down = True
            return 0

        return call


def test_nvml_is_read() -> None:
    nvml = FakeNvml()
    assert gpu.ask_driver(lambda _: nvml) == [H200]
    assert nvml.is_down


def test_a_gpu_that_shares_the_hosts_memory_has_no_figure() -> None:
    nvml = FakeNvml({"nvmlDeviceGetMemoryInfo": 3})
    assert gpu.ask_driver(lambda _: nvml)[0].memory is None


@pytest.mark.parametrize(
    "function",
    ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo"],
)
def test_an_nvml_that_refuses_is_no_answer(function: str) -> None:
    nvml = FakeNvml({function: 9})
    with pytest.raises(gpu.DriverError, match=f"{function} answers with error 9"):
        gpu.ask_driver(lambda _: nvml)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("libnvidia-ml.so.1: No such file or directory", "there is no libnvidia-ml.so.1"),
        ("invalid ELF header", "libnvidia-ml.so.1 does not load: invalid ELF header"),
    ],
)
def test_a_missing_nvml_is_no_answer(error: str, message: str) -> None:
    with pytest.raises(gpu.DriverError, match=message):
        gpu.ask_driver(raiser(OSError(error)))


@pytest.mark.parametrize(
    ("sight", "handed", "code"),
    [
        (ONE, "none", PASSED),
        (ONE, "expected", PASSED),
        (NONE, "", NOT_RUN),
        (NONE, "none", NOT_RUN),
        (NONE, "expected", FAILED),
        (gpu.Sight([], ["/dev/nvidia0"], "NVML counts no GPU"), "none", FAILED),
        (gpu.Sight([], ["/dev/nvidia0"], "NVML counts no GPU"), "expected", FAILED),
    ],
)
def test_where_no_gpu_answers_a_check_never_goes_on(
    sight: Any, handed: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLIMG_GPU", handed)
    assert code_of(lambda: gpu.require(sight)) == code


def test_a_driver_without_a_gpu_is_none(tmp_path: Path) -> None:
    for name in ("nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpu.device_nodes(tmp_path) == []
    (tmp_path / "nvidia3").touch()
    assert gpu.device_nodes(tmp_path) == [str(tmp_path / "nvidia3")]


class FakeCuda:
    """libcuda that calls every address what it was told to."""

    def __init__(self, code: int, kind: int) -> None:
        self.code = code
        self.kind = kind

    def cuPointerGetAttribute(self, kind: Any, attribute: int, address: ctypes.c_uint64) -> int:  # noqa: N802
        assert (attribute, address.value) == (2, 64)
        kind._obj.value = self.kind  # noqa: SLF001
        return self.code


@pytest.mark.parametrize(
    ("code", "kind", "is_held"), [(0, 2, True), (0, 1, False), (1, 2, False), (1, 0, False)]
)
def test_memory_is_a_gpus_when_the_driver_says_so(code: int, kind: int, is_held: bool) -> None:  # noqa: FBT001
    assert gpu.holds(64, lambda _: FakeCuda(code, kind)) is is_held


def test_without_a_driver_no_memory_is_a_gpus() -> None:
    assert gpu.holds(64, raiser(OSError("no such file"))) is False


def test_cudnn_is_used_once_its_engines_are_loaded(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00 r-xp 00 00:00 1 /x/libcudnn.so.9\n7f01 r-xp 00 00:00 0\n")
    assert gpu.cudnn_engines(maps) == []
    maps.write_text("7f00 r-xp 00 00:00 1   /x/lib/libcudnn_engines_precompiled.so.9\n" * 2)
    assert gpu.cudnn_engines(maps) == ["libcudnn_engines_precompiled.so.9"]


@pytest.mark.parametrize(
    ("sight", "table", "code", "reason"),
    [
        (ONE, ROW, PASSED, ""),
        (ONE, ROW.replace("143771", "140000"), PASSED, ""),
        (ONE, ROW.replace("143771", "71885"), FAILED, "NVML says"),
        (ONE, ROW.replace("H200", "H100"), FAILED, "NVML says"),
        (ONE, ROW.replace("580", "535"), FAILED, "NVML says"),
        (ONE, ROW.replace("9.0", "8.0"), FAILED, "NVML says"),
        (ONE, ROW.replace("GPU-1", "GPU-2"), FAILED, "NVML says"),
        (ONE, ROW.replace("143771", "[N/A]"), FAILED, "NVML says"),
        (ONE, f"{ROW}\n{ROW}", FAILED, "NVML sees 1 GPUs, nvidia-smi 2"),
        (ONE, "", FAILED, "nvidia-smi does not: it reports no GPU"),
        (ONE, "all is well", FAILED, "prints no table of 5 columns"),
        (ONE, None, FAILED, "nvidia-smi is not on the PATH"),
        (NONE, ROW, FAILED, "nvidia-smi reports NVIDIA H200, but libnvidia-ml.so.1"),
        (NONE, None, NOT_RUN, "no GPU here"),
        (NONE, "", NOT_RUN, "no GPU here"),
    ],
)
def test_nvidia_smi_and_nvml_agree(
    sight: Any,
    table: str | None,
    code: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DLIMG_GPU", "none")
    missing = raiser(gpu.DriverError("nvidia-smi is not on the PATH"))
    ask = missing if table is None else lambda: nvidia_smi.read(table)
    assert code_of(lambda: nvidia_smi.main(ask, lambda: sight)) == code
    assert reason in capsys.readouterr().err


class Numbers:
    """A tensor, and whatever is computed from it."""

    def __init__(self, total: int, *, address: int = 64) -> None:
        self.total = total
        self.address = address
        self.device = "cuda:0" if address == 64 else "cpu"

    def __mul__(self, _: int) -> "Numbers":
        return self

    __add__ = __mul__


def framework(*, name: str = "NVIDIA H200", total: int = 2048**2, address: int = 64) -> Any:
    """As much of an adapter as is_gpu_available uses."""
    return SimpleNamespace(
        NAME="torch 2.15.0+cu132",
        device=lambda: name,
        device_count=lambda: 1,
        build=lambda: builds.Build("2.15.0", architectures=["sm_90"]),
        on=lambda _: nullcontext(),
        put=lambda *_: Numbers(total, address=address),
        total=lambda numbers: numbers,
        address=lambda numbers: numbers.address,
        numpy=lambda numbers: numbers.total,
    )


Look = Callable[..., tuple[int, str]]


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """The check's exit code and reason, for this adapter where the driver sees `name`."""

    def call(adapter: Any, name: str = "NVIDIA H200") -> tuple[int, str]:
        sight = gpu.Sight([H200._replace(name=name)], [], "")
        machine = gpu_work.Machine(
            look=lambda: sight,
            load=lambda: adapter,
            holds=lambda address: address == 64,
            engines=list,
        )
        code = code_of(lambda: is_gpu_available.main(machine))
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA H2"])
def test_a_framework_that_uses_the_gpu_passes(look: Look, name: str) -> None:
    assert look(framework(), name) == (PASSED, "")


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (framework(name=""), "but torch 2.15.0+cu132 sees no GPU"),
        (framework(address=65), "the numbers, on cpu: in no GPU's memory"),
        (framework(total=1), "the sum of odd numbers is 1"),
    ],
)
def test_a_framework_that_does_not_use_the_gpu_fails(look: Look, adapter: Any, reason: str) -> None:
    code, error = look(adapter)
    assert code == FAILED
    assert reason in error


def test_another_gpu_than_the_drivers_fails(look: Look) -> None:
    code, error = look(framework(), "Tesla T4")
    assert code == FAILED
    assert "torch 2.15.0+cu132 computes on NVIDIA H200" in error
