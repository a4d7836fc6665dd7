"""A convolution gives the same on CPU and GPU; how long each takes is a figure.

Slow is no failure, wrong is. The CPU convolves as many of the images as it can in half a second,
the GPU all of them; times are those of one image. A deviation from the CPU's result is measured
in the standard deviation of a result, which is the root of the number of products in a sum.

needs: framework, gpu
seconds: 120
applies: cuda
alone: the speed of the CPU and of the GPU are its figures
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _gpu_work
import _verdict
import numpy as np

IMAGES, KERNEL = (64, 32, 32, 256), (3, 3, 256, 256)  # 1.2 GFLOP an image
COPY = 1 << 28  # bytes: more than any GPU's cache
CPU_SECONDS = 0.5  # for one run on the CPU, about
SECONDS, RUNS = 1.5, 20  # for all runs of one kind, and the most of them
WARM = 0.2  # seconds of work until the clocks are up
STRETCH = 0.02  # seconds of a run: many short calls follow each other without a wait


class Mode(NamedTuple):
    """A precision with the largest and the smallest deviation that it may have."""

    kind: str
    tf32: bool
    allowed: float
    least: float = 0.0


# Seen on a CPU: 1e-5 off float64, 4e-3 with factors cut off as TF32 cuts them, 2e-2. cuDNN may
# sum by Winograd's method, which costs float32 a digit.
MODES = {
    "float32": Mode("float32", tf32=False, allowed=3e-4),
    "tf32": Mode("float32", tf32=True, allowed=1e-2),
    "bfloat16": Mode("bfloat16", tf32=False, allowed=1e-1, least=1e-3),
}


class Measured(NamedTuple):
    """The last result, as NumPy has it, and the seconds of one call in each run."""

    result: np.ndarray
    runs: list[float]


def seconds_of(
    call: Callable[[], object],
    wait: Callable[[object], None],
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the seconds of a call in each of up to RUNS runs, after warm-up calls."""
    begin = clock()
    wait(call())
    while True:
        start = clock()
        wait(call())
        single = clock() - start
        if clock() - begin >= WARM:
            break
    calls = max(1, min(1000, int(STRETCH / max(single, 1e-6))))
    begin = clock()
    runs: list[float] = []
    while not runs or (len(runs) < RUNS and clock() - begin < SECONDS):
        start = clock()
        for _ in range(calls - 1):
            call()
        wait(call())
        runs.append((clock() - start) / calls)
    return runs


def problem() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(6)  # a frozen stream
    images, kernel = (draw.standard_normal(shape).astype(np.float32) for shape in (IMAGES, KERNEL))
    return images, kernel


def affordable(framework: _adapter.Adapter, images: np.ndarray, kernel: np.ndarray) -> int:
    """Return how many images the CPU convolves in CPU_SECONDS, at least one."""
    with framework.on("cpu"):
        given = framework.put(images[:1], "cpu"), framework.put(kernel, "cpu")
        taken = []
        for _ in range(2):  # the first one loads
            start = time.perf_counter()
            framework.wait(framework.convolve(*given))
            taken.append(time.perf_counter() - start)
    return max(1, min(len(images), int(CPU_SECONDS / max(taken[-1], 1e-6))))


def measure(
    framework: _adapter.Adapter,
    given: tuple[np.ndarray, np.ndarray],
    place: str,
    kind: str,
    look: Callable[[object], None] = lambda _: None,
) -> Measured:
    """Measure the convolution on this device in this precision; `look` inspects a result."""
    with framework.on(place):
        inputs = [framework.cast(framework.put(run, place), kind) for run in given]
        runs = seconds_of(lambda: framework.convolve(*inputs), framework.wait)
        result = framework.convolve(*inputs)
        look(result)
        return Measured(framework.numpy(framework.cast(result, "float32")), runs)


def copying(framework: _adapter.Adapter) -> float:
    """Return the GPU's memory bandwidth in GB/s: COPY bytes are read, and as many written."""
    with framework.on("gpu"):
        block = framework.put(np.ones(COPY // 4, np.float32), "gpu")
        runs = seconds_of(lambda: -block, framework.wait)
    return 2 * COPY / statistics.median(runs) / 1e9


def main(machine: _gpu_work.Machine) -> None:
    framework, device = _gpu_work.begin_on_gpu(machine)
    images, kernel = problem()
    framework.allow_tf32(allowed=False)
    count = affordable(framework, images, kernel)
    cpu = measure(framework, (images[:count], kernel), "cpu", "float32")

    def look(result: object) -> None:
        _gpu_work.demand_on_gpu(framework, [result], machine, "the convolved images")

    gpu = {}
    for title, mode in MODES.items():
        framework.allow_tf32(allowed=mode.tf32)
        gpu[title] = measure(framework, (images, kernel), "gpu", mode.kind, look)
    judge(framework.NAME, device, cpu, gpu, copying(framework))


def judge(name: str, device: str, cpu: Measured, gpu: dict[str, Measured], copied: float) -> None:
    """Show the figures, then fail unless each precision keeps its tolerances."""
    count, every = len(cpu.result), IMAGES[0]
    seconds = {"cpu": statistics.median(cpu.runs) / count}
    seconds |= {title: statistics.median(run.runs) / every for title, run in gpu.items()}
    work = 2 * np.prod(IMAGES[1:]) * np.prod(KERNEL) / KERNEL[2] / 1e9
    scale = np.sqrt(np.prod(KERNEL[:3]))
    deviations = {
        title: _gpu_work.deviation(run.result[:count], cpu.result, scale)
        for title, run in gpu.items()
    }
    _verdict.show(
        framework=name,
        device=device,
        gflop=rounded(work),
        images={"cpu": count, "gpu": every},
        milliseconds={title: rounded(1e3 * taken) for title, taken in seconds.items()},
        gflops={title: rounded(work / taken) for title, taken in seconds.items()},
        ratios={title: rounded(seconds["cpu"] / seconds[title]) for title in gpu},
        deviations=deviations,
        copy_gb_per_second=rounded(copied),
        runs={"cpu": len(cpu.runs), **{title: len(run.runs) for title, run in gpu.items()}},
    )
    for title, off in deviations.items():
        mode = MODES[title]
        _gpu_work.demand_within({f"{title}: off the CPU's convolution": (off, mode.allowed)})
        _verdict.demand(off >= mode.least, f"{title}: off by {off:.3g} only: nothing is rounded")


def rounded(figure: float) -> float:
    """Return the figure with four digits."""
    return float(f"{figure:.4g}")


if __name__ == "__main__":
    main(_gpu_work.this_machine())
