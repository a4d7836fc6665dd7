"""The framework sees the GPU that the driver sees, and computes there.

needs: framework, gpu
seconds: 180
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _gpu_work
import _verdict
import numpy as np

COUNT = 2048  # the sum of this many odd numbers is its square, exact in float32


def main(machine: _gpu_work.Machine) -> None:
    gpus = _gpu.require(machine.look())
    framework = machine.load()
    device = _gpu_work.device_of(framework, gpus)
    with framework.on("gpu"):
        numbers = framework.put(np.arange(COUNT, dtype=np.float32), "gpu")
        total = framework.total(numbers * 2 + 1)
    _verdict.show(
        framework=framework.NAME,
        device=device,
        count=framework.device_count(),
        driver_count=len(gpus),
        architectures=list(framework.build().architectures),
    )
    _gpu_work.demand_on_gpu(framework, [numbers], machine, f"the numbers, on {numbers.device}")
    _gpu_work.demand_on_gpu(framework, [total], machine, f"the sum, on {total.device}")
    result = float(framework.numpy(total))
    _verdict.demand(result == COUNT**2, f"the sum of odd numbers is {result:g}")


if __name__ == "__main__":
    main(_gpu_work.this_machine())
