"""A small convolution network learns, and agrees with NumPy and, on a GPU, with the CPU.

needs: framework, gpu
seconds: 300
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is to mean float32, in cuDNN and cuBLAS
import _convolution
import _gpu_work
import _verdict


def main(machine: _gpu_work.Machine) -> None:
    framework, device = _gpu_work.begin(machine)
    framework.allow_tf32(allowed=False)
    problem = _convolution.problem()
    runs = {"cpu": _convolution.train_on(framework, problem, "cpu", "float32")}
    if device:
        runs["gpu"] = _convolution.train_on(framework, problem, "gpu", "float32")
        _gpu_work.demand_on_gpu(framework, runs["gpu"].tensors, machine, "the weights")
    engines = machine.engines()
    if device:
        _verdict.demand(engines, "no engine of cuDNN was loaded: what convolved?")
    _convolution.judge(problem, runs, device=device or "cpu", cudnn=engines)


if __name__ == "__main__":
    main(_gpu_work.this_machine())
