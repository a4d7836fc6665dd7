"""cuDNN convolves: none of its engines is loaded by the import, one is by the first convolution."""

import _gpu
import _loaded
import _verdict
import _work
import numpy as np

ALLOWED = 1e-4  # largest absolute deviation from the CPU's, of sums of 144 products of about 1


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, C) and a kernel (H, W, I, O)."""
    draw = np.random.RandomState(5)  # a frozen stream
    shapes = (8, 24, 24, 16), (3, 3, 16, 32)
    return tuple(draw.standard_normal(shape).astype(np.float32) for shape in shapes)


def main(name: str, machine: _work.Machine = _work.Machine()) -> None:  # noqa: B008 - immutable
    gpus = _gpu.require(machine.look())
    framework = machine.load(name)
    before = machine.engines()
    device = _work.device_of(framework, gpus)
    framework.allow_tf32(allowed=False)
    images, kernel = problem()
    found = {}
    for place in ("cpu", "gpu"):
        with framework.on(place):
            given = framework.put(images, place), framework.put(kernel, place)
            found[place] = framework.convolve(*given)
    _work.demand_on_gpu(framework, [found["gpu"]], machine, "the convolved images")
    off = _work.furthest(*(framework.numpy(found[place]) for place in ("gpu", "cpu")))
    after = machine.engines()
    libraries = list(map(str, _loaded.mapped_files("libcudnn.so")))
    _verdict.show(device=device, before=before, after=after, cudnn=libraries, deviation=off)
    _verdict.demand(not before, f"{framework.NAME} loads {before} unasked: that proves no use")
    _verdict.demand(after, "no engine of cuDNN was loaded: what convolved?")
    _work.demand_within({"convolution off the CPU's": (off, ALLOWED)})
