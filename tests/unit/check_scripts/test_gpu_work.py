"""Work on a GPU, judged: an honest framework passes, one that computes elsewhere or wrongly fails.

The framework is NumPy, and the driver holds whatever it is told to hold.
"""

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.check_scripts import (
    FAILED,
    NOT_RUN,
    PASSED,
    Run,
    code_of,
    no_gpu_here,
)

gpu = importlib.import_module("_gpu")
adapter = importlib.import_module("_adapter")
gpu_work = importlib.import_module("_gpu_work")
convolution = importlib.import_module("_convolution")
matrix_product = importlib.import_module("matrix_product")
cudnn_is_used = importlib.import_module("cudnn_is_used")
mixed_precision = importlib.import_module("mixed_precision")
benchmark = importlib.import_module("benchmark")
is_gpu_available = importlib.import_module("is_gpu_available")
compiled_step = importlib.import_module("compiled_step")
memory = importlib.import_module("gpu_memory_released")
nccl = importlib.import_module("nccl_all_reduce")

H200 = gpu.Gpu("GPU-1", "NVIDIA H200", "580.159", "9.0", 143771)
NONE = gpu.Sight([], [], "there is no libnvidia-ml.so.1")
ONE = gpu.Sight([H200], [], "")
TWO = gpu.Sight([H200, H200._replace(uuid="GPU-2")], [], "")
GIVEN = convolution.problem()
LOGITS = convolution.logits(GIVEN.images, GIVEN.weights)
CHECKS = (
    "benchmark",
    "compiled_step",
    "cudnn_is_used",
    "matrix_product",
    "gpu_memory_released",
    "mixed_precision",
    "nccl_all_reduce",
)


class Array(np.ndarray):
    """NumPy's array as a framework's tensor: its memory has an address, and it is somewhere."""

    device: Any = "gpu:0"  # NumPy's own is "cpu" only


def put(array: Any, place: str) -> Any:
    tensor = np.array(array).view(Array)
    tensor.device = place
    return tensor


def cast(tensor: Any, kind: str) -> Any:
    """Where the numbers lie stays; as bfloat16 they lose the lower half of their digits."""
    if kind == "bfloat16":
        return put((tensor.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32), tensor.device)
    return tensor.astype(kind)


def convolve(images: Any, kernel: Any) -> Any:
    return (images @ kernel[0, 0]).view(Array)


def step(_: Any, place: str, kind: str) -> Callable[[list[Any]], tuple[Any, Any, Any]]:
    """Logits as they have to be, but for bfloat16's rounding; a loss that falls by half."""
    off = 1e-2 if kind == "bfloat16" else 0.0

    def call(weights: list[Any]) -> tuple[Any, Any, Any]:
        # The weights count the steps.
        count = float(weights[0].flat[0] - GIVEN.weights[0].flat[0]) / convolution.RATE
        gradients = [put(0 * weight - 1, place) for weight in weights]
        return put(LOGITS + off, place), 1.8 / 2 ** round(count), gradients

    return call


def framework(**changes: Any) -> Any:
    """A family's module that does all as it should, but for these changes."""
    honest = {
        "NAME": "numpy",
        "is_cuda_build": lambda: True,
        "device": lambda: "NVIDIA H200",
        "on": lambda _: nullcontext(),
        "put": put,
        "numpy": np.asarray,
        "cast": cast,
        "wait": lambda _: None,
        "address": lambda _: 64,
        "allow_tf32": lambda **_: None,
        "convolve": convolve,
        "step": step,
        "compile_step": compile_well,
        "total": lambda tensor: put(tensor.sum(), tensor.device),
        "device_count": lambda: 1,
        "build": lambda: adapter.Build("1.0"),
    }
    return SimpleNamespace(**(honest | changes))


def machine(given: Any, sight: Any = ONE, **changes: Any) -> Any:
    engines = iter([[], ["libcudnn_engines_precompiled.so.9"]])
    parts = {
        "look": lambda: sight,
        "load": lambda: given,
        "holds": lambda address: address == 64,
        "engines": lambda: next(engines),
    }
    return gpu_work.Machine(**(parts | changes))


MAINS: dict[str, Callable[[Any], None]] = {
    "matrix_product": matrix_product.main,
    "cudnn_is_used": cudnn_is_used.main,
    "mixed_precision": mixed_precision.main,
    "benchmark": benchmark.main,
    "compiled_step": compiled_step.main,
    "is_gpu_available": is_gpu_available.main,
}


def compile_well(step: Any, weights: list[Any]) -> tuple[Any, str]:
    return step(weights), "a program"


@pytest.fixture(autouse=True)
def no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DLIMG_CELL", "DLIMG_GPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(benchmark, "IMAGES", (2, 8, 8, 4))
    monkeypatch.setattr(benchmark, "KERNEL", (3, 3, 4, 4))
    monkeypatch.setattr(benchmark, "COPY", 1 << 12)
    for name in ("SECONDS", "WARM", "STRETCH", "CPU_SECONDS"):
        monkeypatch.setattr(benchmark, name, 0.001)


Look = Callable[[str, Any], tuple[int, str]]


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """The exit code and the reason of a check on a machine."""

    def call(name: str, there: Any) -> tuple[int, str]:
        code = code_of(lambda: MAINS[name](there))
        return code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("family", "handed", "code"),
    [
        ("pytorch", "none", NOT_RUN),
        ("pytorch", "expected", FAILED),
        pytest.param("jax", "expected", FAILED, marks=pytest.mark.slow),
        pytest.param("tensorflow", "expected", FAILED, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", CHECKS)
@no_gpu_here
def test_without_a_gpu_a_script_says_so_before_the_framework_is_asked(
    family: str, name: str, handed: str, code: int, forked: Run
) -> None:
    cell = json.dumps({"framework": family, "cuda": "13.2"})
    done = forked(f"common/checks/{name}.py", DLIMG_GPU=handed, DLIMG_CELL=cell)
    assert done.returncode == code, done.stderr
    assert "there is no libnvidia-ml.so.1" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


@pytest.mark.parametrize("name", MAINS)
def test_an_honest_framework_passes(name: str, look: Look) -> None:
    assert look(name, machine(framework())) == (PASSED, "")


@pytest.mark.parametrize("name", MAINS)
@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (
            lambda: machine(framework(device=str)),
            "NVIDIA H200 with driver 580.159 is here, but numpy sees",
        ),
        (lambda: machine(framework(device=lambda: "Tesla T4")), "numpy computes on Tesla T4"),
        (lambda: machine(framework(address=lambda _: 65)), "in no GPU's memory"),
        (lambda: machine(framework(), holds=lambda _: False), "in no GPU's memory"),
    ],
    ids=["hidden", "another", "elsewhere", "unknown to the driver"],
)
def test_work_that_is_not_on_the_gpu_fails(
    name: str, there: Callable[[], Any], reason: str, look: Look
) -> None:
    code, verdict = look(name, there())
    assert code == FAILED
    assert reason in verdict


@pytest.mark.parametrize("name", MAINS)
def test_without_a_gpu_nothing_is_run(name: str, look: Look) -> None:
    code, verdict = look(name, machine(framework(), NONE))
    assert code == NOT_RUN
    assert "no GPU here" in verdict


def spoilt(change: Callable[[Any], Any], place: str = "gpu") -> Callable[[Any, str], Any]:
    """A `put` after which whatever lies in this place has changed."""
    return lambda array, there: put(change(array) if there == place else array, there)


def rounded(array: Any) -> Any:
    """To 11 binary digits, as TF32 rounds."""
    return array.astype(np.float16).astype(array.dtype)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (spoilt(rounded), "float32: the gpu's product off NumPy's"),
        (spoilt(rounded, "cpu"), "float32: the cpu's product off NumPy's"),
        (spoilt(lambda array: array * np.nan), "float32: the gpu's product off NumPy's: nan"),
        (spoilt(lambda array: array[::-1]), "float32: the gpu's product off NumPy's"),
        (spoilt(lambda array: array.astype(np.float32)), "products of float64 are float32, float"),
    ],
)
def test_a_product_that_is_wrong_fails(change: Any, reason: str, look: Look) -> None:
    code, verdict = look("matrix_product", machine(framework(put=change)))
    assert code == FAILED
    assert reason in verdict


def test_the_tolerances_of_a_product_are_kept(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setattr(matrix_product, "ALLOWED", {"float32": 1e-9})
    code, verdict = look("matrix_product", machine(framework()))
    assert (code, "> 1e-09" in verdict) == (FAILED, True)


@pytest.mark.parametrize(
    ("loaded", "change", "reason"),
    [
        ([[], []], put, "no engine of cuDNN was loaded"),
        ([["libcudnn_engines"], ["libcudnn_engines"]], put, "unasked: that proves no use"),
        ([[], ["one"]], spoilt(lambda array: array * 1.01), "convolution off the CPU's"),
        ([[], ["one"]], spoilt(lambda array: array[:, :1]), "convolution off the CPU's: inf"),
    ],
)
def test_a_convolution_without_cudnn_fails(
    loaded: list[list[str]], change: Any, reason: str, look: Look
) -> None:
    states = iter(loaded)
    there = machine(framework(put=change), engines=lambda: next(states))
    code, verdict = look("cudnn_is_used", there)
    assert code == FAILED
    assert reason in verdict


def losses(*factors: float) -> list[float]:
    """A loss that falls by half each step; the last of them times these."""
    result = [1.8 / 2**power for power in range(convolution.STEPS + 1)]
    for place, factor in enumerate(reversed(factors), 1):
        result[-place] *= factor
    return result


def training(**changes: Any) -> Any:
    honest = convolution.Training(LOGITS, (), losses(), GIVEN.weights, 0.1, [])
    return honest._replace(**changes)


BF16 = LOGITS + 1e-2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"cpu": {"logits": LOGITS + 1e-3}}, "cpu: logits off NumPy's"),
        ({"float32": {"logits": LOGITS + 8e-4}}, "float32: logits off NumPy's: 0.0008 > 0.0001"),
        ({"float32": {"losses": losses(1.01)}}, "float32: losses off the CPU's"),
        ({"tf32": {"logits": LOGITS + 8e-4, "losses": losses(1.01)}}, ""),
        ({"tf32": {"logits": LOGITS + 1e-2}}, "tf32: logits off NumPy's"),
        ({"tf32": {"losses": losses(1.05)}}, "tf32: losses off the CPU's"),
        ({"bfloat16": {"logits": LOGITS + 0.1}}, "bfloat16: logits off NumPy's"),
        ({"bfloat16": {"logits": LOGITS * np.nan}}, "bfloat16: logits off NumPy's: nan"),
        ({"bfloat16": {"losses": losses(1.2)}}, "bfloat16: losses off the CPU's"),
        ({"bfloat16": {"losses": losses(float("nan"))}}, "bfloat16: losses off the CPU's: nan"),
        ({"bfloat16": {"logits": LOGITS}}, "bfloat16: logits off by 0 only: nothing is rounded"),
    ],
)
def test_a_precision_keeps_its_tolerances(
    changes: Mapping[str, Mapping[str, Any]], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"cpu": training(), "float32": training(), "tf32": training()}
    runs["bfloat16"] = training(logits=BF16)
    for name, change in changes.items():
        runs[name] = runs[name]._replace(**change)
    cpu = runs.pop("cpu")
    code = code_of(lambda: mixed_precision.judge(GIVEN, cpu, runs, "gpu"))
    assert code == (FAILED if reason else PASSED)
    assert reason in capsys.readouterr().err


def test_a_loss_that_does_not_fall_fails(capsys: pytest.CaptureFixture[str]) -> None:
    still = training(losses=[1.8] * 31)
    code = code_of(lambda: mixed_precision.judge(GIVEN, still, {"float32": still}, "gpu"))
    assert code == FAILED
    assert "float32: the loss went from 1.8 to 1.8" in capsys.readouterr().err


def test_tf32_is_off_but_for_its_own_run(look: Look) -> None:
    results: list[str] = []

    def spy(given: Any, place: str, kind: str) -> Any:
        results.append(f"{place} {kind}")
        return step(given, place, kind)

    def allow(*, allowed: bool) -> None:
        results.append("on" if allowed else "off")

    look("mixed_precision", machine(framework(step=spy, allow_tf32=allow)))
    assert " ".join(results) == "off cpu float32 off gpu float32 on gpu float32 off gpu bfloat16"


def test_a_slow_gpu_passes_and_its_times_are_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(lambda: MAINS["benchmark"](machine(framework()))) == PASSED
    figures = json.loads(capsys.readouterr().out)
    places = {"cpu", "float32", "tf32", "bfloat16"}
    for name in ("milliseconds", "gflops", "runs"):
        assert figures[name].keys() == places
        assert min(figures[name].values()) > 0
    assert figures["ratios"].keys() == figures["deviations"].keys() == places - {"cpu"}
    assert figures["copy_gb_per_second"] > 0
    assert figures["images"]["gpu"] == 2


@pytest.mark.parametrize("change", [lambda array: array * 1.01, lambda array: array * np.nan])
def test_a_fast_gpu_that_is_wrong_fails(change: Any, look: Look) -> None:
    code, verdict = look("benchmark", machine(framework(put=spoilt(change))))
    assert code == FAILED
    assert "float32: off the CPU's convolution" in verdict


def measured(off: float = 0.0) -> Any:
    return benchmark.Measured(np.full((2, 2), off * np.sqrt(36)), [1.0, 2.0, 9.0])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"float32": 1e-3}, "float32: off the CPU's convolution: 0.001 > 0.0003"),
        ({"tf32": 4e-3}, ""),
        ({"tf32": 2e-2}, "tf32: off the CPU's convolution: 0.02 > 0.01"),
        ({"bfloat16": 0.2}, "bfloat16: off the CPU's convolution"),
        ({"bfloat16": float("nan")}, "bfloat16: off the CPU's convolution: nan"),
        ({"bfloat16": 1e-5}, "bfloat16: off by 1e-05 only: nothing is rounded"),
    ],
)
def test_each_precision_of_the_benchmark_keeps_its_tolerance(
    changes: Mapping[str, float], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    offs = {"float32": 0.0, "tf32": 0.0, "bfloat16": 2e-2, **changes}
    gpu_runs = {title: measured(off) for title, off in offs.items()}
    code = code_of(lambda: benchmark.judge("numpy", "H200", measured(), gpu_runs, 4e3))
    printed = capsys.readouterr()
    assert code == (FAILED if reason else PASSED)
    assert reason in printed.err
    assert json.loads(printed.out)["milliseconds"]["cpu"] == 1000


def test_the_benchmark_switches_tf32_on_for_its_own_run_only(look: Look) -> None:
    results: list[str] = []

    def spy(tensor: Any, kind: str) -> Any:
        results.append(kind)
        return cast(tensor, kind)

    def allow(*, allowed: bool) -> None:
        results.append("on" if allowed else "off")

    look("benchmark", machine(framework(cast=spy, allow_tf32=allow)))
    plain = ["float32"] * 3  # two factors in, the result out
    bfloat16 = ["bfloat16"] * 2 + ["float32"]
    assert results == ["off", *plain, "off", *plain, "on", *plain, "off", *bfloat16]


@pytest.mark.parametrize(("each", "count"), [(1e-6, 20), (0.25, 6), (1.0, 2), (30.0, 1)], ids=str)
def test_a_run_is_timed_a_few_times_and_never_for_long(
    each: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("SECONDS", 1.5), ("WARM", 0.2), ("STRETCH", 0.02)):
        monkeypatch.setattr(benchmark, name, seconds)
    now = [0.0]
    asked = []

    def call() -> None:
        asked.append(1)

    def wait(_: object) -> None:
        # What was asked for is computed while somebody waits, as on a GPU.
        now[0] += each * len(asked)
        asked.clear()

    result = benchmark.seconds_of(call, wait, lambda: now[0])
    assert result == pytest.approx([each] * count)


def test_a_slow_cpu_convolves_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(benchmark, "IMAGES", (64, 8, 8, 4))
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    images, kernel = benchmark.problem()
    for seconds, count in ((0.5, 1), (8, 8), (1000, 64)):
        monkeypatch.setattr(benchmark, "CPU_SECONDS", seconds)
        assert benchmark.affordable(framework(), images, kernel) == count


@pytest.mark.parametrize(
    ("compiled", "reason"),
    [
        (lambda step, weights: (step(weights), ""), "nothing was compiled"),
        (lambda step, weights: ((LOGITS + 1e-3, *step(weights)[1:]), "it"), "logits off NumPy's"),
        (
            lambda step, weights: ((LOGITS, float("nan"), step(weights)[2]), "it"),
            "compiled: loss off the eager one: nan",
        ),
        (
            lambda step, weights: (
                (*step(weights)[:1], 1.8, [one + 1 for one in step(weights)[2]]),
                "it",
            ),
            "gradients off the eager ones: 1 > 0.0001",
        ),
    ],
)
def test_a_compiled_step_that_differs_fails(compiled: Any, reason: str, look: Look) -> None:
    def steady(*_: object) -> Any:
        return lambda weights: (
            put(LOGITS, "gpu"),
            1.8,
            [put(0 * weight, "gpu") for weight in weights],
        )

    code, verdict = look("compiled_step", machine(framework(step=steady, compile_step=compiled)))
    assert code == FAILED
    assert reason in verdict


@pytest.mark.parametrize(
    ("cuda", "is_cuda_build", "code"),
    [("", False, PASSED), ("", True, NOT_RUN), ("13.2", False, NOT_RUN), ("13.2", True, NOT_RUN)],
)
def test_a_step_is_compiled_on_the_cpu_only_where_no_gpu_is_promised(
    cuda: str, *, is_cuda_build: bool, code: int, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"cuda": cuda}))

    def steady(*_: object) -> Any:
        return lambda weights: (put(LOGITS, "cpu"), 1.8, [0 * weight for weight in weights])

    there = machine(framework(step=steady, is_cuda_build=lambda: is_cuda_build), NONE)
    assert look("compiled_step", there)[0] == code


def worker(*answer: Mapping[str, Any], code: int = 0) -> Any:
    lines: Iterator[Mapping[str, Any]] = iter(answer)
    return memory.Worker(lambda: next(lines), lambda: None, lambda: code)


HELD = {"last": 1.0, "counted": memory.SIZE, "on_gpu": True}
LEFT = {"left": 0}
TOTAL = 1 << 34
BEGUN = TOTAL - (1 << 29)


@pytest.mark.parametrize(
    ("held", "left", "free", "code", "reason"),
    [
        (HELD, LEFT, [TOTAL, BEGUN, BEGUN - memory.SIZE, TOTAL], 0, ""),
        (HELD, LEFT, [TOTAL, BEGUN, BEGUN - memory.SIZE, BEGUN, BEGUN, TOTAL], 0, ""),
        (HELD, LEFT, [TOTAL, BEGUN, BEGUN, TOTAL], 0, "the driver saw 0 taken"),
        (HELD, LEFT, [TOTAL, TOTAL, TOTAL, TOTAL], 0, "the driver saw 0 taken"),
        (HELD, LEFT, [TOTAL, BEGUN, BEGUN - memory.SIZE, BEGUN], 0, "still taken after the work"),
        (
            HELD | {"on_gpu": False},
            LEFT,
            [TOTAL, BEGUN, BEGUN - memory.SIZE, TOTAL],
            0,
            "in no GPU's memory",
        ),
        (HELD | {"counted": 4}, LEFT, [TOTAL, BEGUN, 0, TOTAL], 0, "4 are counted"),
        (HELD | {"last": 0.0}, LEFT, [TOTAL, BEGUN, 0, TOTAL], 0, "the last is 0.0"),
        (HELD, {"left": memory.SIZE}, [TOTAL, BEGUN, 0, TOTAL], 0, "after the block is gone"),
        (HELD, LEFT, [TOTAL, BEGUN, 0, TOTAL], 139, "the work ended with 139"),
    ],
)
def test_memory_is_taken_and_given_back(
    held: Mapping[str, Any],
    left: Mapping[str, Any],
    free: list[int],
    code: int,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = iter([*free, *[free[-1]] * 60])
    waited: list[float] = []
    process = worker({"begun": True}, held, left, code=code)
    result = code_of(lambda: memory.watch(lambda: next(figures), process, waited.append))
    assert result == (FAILED if reason else PASSED)
    assert reason in capsys.readouterr().err
    assert sum(waited) <= memory.PATIENCE


WORKER = """\
import sys
sys.path[:0] = {paths!r}
import numpy as np
from types import SimpleNamespace
import gpu_memory_released as memory
memory.SIZE = 64
used = iter([100, 164, 100])
framework = SimpleNamespace(
    put=lambda array, place: array, address=lambda _: 64, bytes_in_use=lambda: next(used)
)
print("a framework's chatter", flush=True)
assert sys.argv[1:] == ["hold"]
{more}
memory.hold(framework, lambda address: address == 64)
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The work of a script, begun as a process."""

    def call(more: str) -> Any:
        file = tmp_path / "work.py"
        file.write_text(WORKER.format(paths=sys.path, more=more))
        monkeypatch.setattr(sys, "argv", [str(file)])
        return memory.start()

    return call


def test_the_check_reports_the_memory_it_holds(started: Callable[[str], Any]) -> None:
    process = started("")
    results = []
    for _ in range(3):
        results.append(process.hear())
        process.go()
    assert process.end() == 0
    assert results == [{"begun": True}, {"last": 1.0, "counted": 64, "on_gpu": True}, {"left": 0}]


def test_work_that_dies_fails(
    started: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    process = started("sys.exit(9)")
    assert code_of(process.hear) == FAILED
    assert "the work ended with 9 before it was done" in capsys.readouterr().err


class FakeCuda:
    """libcuda with 5 free bytes; `refuses` names the function that answers with an error."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses

    def __getattr__(self, function: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            if function == "cuMemGetInfo_v2":
                arguments[0]._obj.value = 5  # noqa: SLF001
            return 100 if function.startswith(self.refuses or "-") else 0

        return call


def test_the_driver_counts_free_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.driver_memory(lambda _: FakeCuda())() == 5
    for refused in ("cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuMemGetInfo"):
        cuda = FakeCuda(refused)
        assert code_of(lambda cuda=cuda: memory.driver_memory(lambda _: cuda)()) == FAILED  # type: ignore[misc]
        assert f"{refused} answers with error 100" in capsys.readouterr().err


def test_a_driver_that_does_not_load_fails() -> None:
    def load(_: str) -> ctypes.CDLL:
        raise OSError("no such file")

    assert code_of(lambda: memory.driver_memory(load)) == FAILED


JOINED = "".join(f"NCCL INFO rank {rank} nranks 2 - Init COMPLETE\n" for rank in range(2))


def sums(places: tuple[str, str] = ("gpu:0", "gpu:1"), log: str = JOINED, off: float = 0.0) -> Any:
    def reduce(arrays: list[Any]) -> list[Any]:
        Path(os.environ["NCCL_DEBUG_FILE"]).write_text(f"NCCL version 2.30.7\n{log}")
        return [put(sum(arrays) + off, place) for place in places]

    return reduce


@pytest.fixture
def nccl_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # Set, so that what the check sets itself is undone.
    for name in ("NCCL_DEBUG", "NCCL_DEBUG_FILE"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("nccl_environment")
@pytest.mark.parametrize(
    ("reduce", "changes", "reason"),
    [
        (sums(), {}, ""),
        (sums(("gpu:0", "gpu:0")), {}, "not on two GPUs"),
        (sums(("gpu:0",)), {}, "not on two GPUs"),  # type: ignore[arg-type]
        (sums(off=1.0), {}, "gpu:0: the sum is off by 1"),
        (sums(off=float("nan")), {}, "gpu:0: the sum is off by nan"),
        (sums(log=""), {}, "NCCL's log tells of 0 GPUs that joined"),
        (sums(log=JOINED.replace("nranks 2", "nranks 1")), {}, "tells of 0 GPUs"),
        (sums(log=JOINED.splitlines()[0]), {}, "tells of 1 GPUs"),
        (sums(), {"holds": lambda _: False}, "the sums: in no GPU's memory"),
    ],
)
def test_nccl_all_reduce_adds_up(
    reduce: Any, changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = machine(framework(all_reduce=reduce), TWO, **changes)
    code = code_of(lambda: nccl.main(there))
    assert code == (FAILED if reason else PASSED)
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("handed", ["none", "expected"])
def test_one_gpu_is_too_few_for_nccl(
    handed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DLIMG_GPU", handed)
    assert code_of(lambda: nccl.main(machine(framework(all_reduce=sums())))) == NOT_RUN
    assert "one GPU here" in capsys.readouterr().err
