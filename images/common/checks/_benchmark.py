"""The same convolution on CPU and GPU: times and their ratio. Slow is no failure, wrong is."""

import statistics
import time
from collections.abc import Callable

import _verdict
import _work
import numpy as np

IMAGES, KERNEL = (16, 96, 96, 64), (3, 3, 64, 64)  # 10.9 GFLOP
ALLOWED = 1e-3  # largest absolute deviation from the CPU's, of sums of 576 products of about 1
SECONDS = 1.5  # for each of the two
RUNS = 20


def seconds_of(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> list:
    """How long each run takes, after one that loads and tunes; at least one, at most RUNS."""
    call()
    begin = clock()
    runs: list[float] = []
    while not runs or (len(runs) < RUNS and clock() - begin < SECONDS):
        start = clock()
        call()
        runs.append(clock() - start)
    return runs


def main(name: str, machine: _work.Machine = _work.Machine()) -> None:  # noqa: B008 - immutable
    framework, device = _work.begin(name, machine)
    framework.allow_tf32(allowed=False)
    draw = np.random.RandomState(6)  # a frozen stream
    images, kernel = (draw.standard_normal(one).astype(np.float32) for one in (IMAGES, KERNEL))
    found, runs = {}, {}
    for place in ("cpu", "gpu"):
        given = framework.put(images, place), framework.put(kernel, place)

        def call(given: tuple = given) -> object:
            result = framework.convolve(*given)
            float(result[0, 0, 0, 0])  # waits until it is there
            return result

        with framework.on(place):
            runs[place] = seconds_of(call)
            found[place] = call()
    _work.demand_on_gpu(framework, [found["gpu"]], machine, "the convolved images")
    off = _work.furthest(*(framework.numpy(found[place]) for place in ("gpu", "cpu")))
    middle = {place: statistics.median(times) for place, times in runs.items()}
    work = 2 * np.prod(IMAGES) * np.prod(KERNEL) / KERNEL[2] / 1e9
    _verdict.show(
        framework=framework.NAME,
        device=device,
        milliseconds={place: round(1e3 * taken, 3) for place, taken in middle.items()},
        gflops={place: round(work / taken) for place, taken in middle.items()},
        runs={place: len(times) for place, times in runs.items()},
        ratio=round(middle["cpu"] / middle["gpu"], 1),
        deviation=off,
    )
    _work.demand_within({"the GPU's convolution off the CPU's": (off, ALLOWED)})
