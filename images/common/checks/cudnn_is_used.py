"""cuDNN convolves: importing the framework loads none of its engines, a convolution does.

needs: framework, gpu
seconds: 120
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _cuda_libraries
import _gpu
import _gpu_work
import _verdict
import numpy as np

ALLOWED = 1e-4  # largest absolute deviation from the CPU's, of sums of 144 products of about 1


def problem() -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W, C) and a kernel (H, W, I, O)."""
    draw = np.random.RandomState(5)  # a frozen stream
    images = draw.standard_normal((8, 24, 24, 16)).astype(np.float32)
    return images, draw.standard_normal((3, 3, 16, 32)).astype(np.float32)


def main(machine: _gpu_work.Machine) -> None:
    gpus = _gpu.require(machine.look())
    framework = machine.load()
    before = machine.engines()
    device = _gpu_work.device_of(framework, gpus)
    framework.allow_tf32(allowed=False)
    images, kernel = problem()
    results = {}
    for place in ("cpu", "gpu"):
        with framework.on(place):
            given = framework.put(images, place), framework.put(kernel, place)
            results[place] = framework.convolve(*given)
    _gpu_work.demand_on_gpu(framework, [results["gpu"]], machine, "the convolved images")
    off = _gpu_work.deviation(*(framework.numpy(results[place]) for place in ("gpu", "cpu")))
    after = machine.engines()
    libraries = list(map(str, _cuda_libraries.mapped_files("libcudnn.so")))
    _verdict.show(device=device, before=before, after=after, cudnn=libraries, deviation=off)
    _verdict.demand(not before, f"{framework.NAME} loads {before} unasked: that proves no use")
    _verdict.demand(after, "no engine of cuDNN was loaded: what convolved?")
    _gpu_work.demand_within({"convolution off the CPU's": (off, ALLOWED)})


if __name__ == "__main__":
    main(_gpu_work.this_machine())
