"""PyTorch sees the GPU that the driver sees, and computes there.

needs: gpu
seconds: 120
applies: cuda
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu
import _verdict


def main(
    look: Callable[[], _gpu.Sight] = _gpu.look, holds: Callable[[int], bool] = _gpu.holds
) -> None:
    gpus = _gpu.require(look())
    import torch

    build = f"torch {torch.__version__} for CUDA {torch.version.cuda}"
    _verdict.demand(
        torch.cuda.is_available(),
        f"{gpus[0].name} with driver {gpus[0].driver} is here, but {build} sees no GPU",
    )
    numbers = torch.arange(2048, dtype=torch.int32, device="cuda")
    total = (numbers * 2 + 1).sum()
    device = torch.cuda.get_device_name(0)
    _verdict.show(
        framework=build,
        device=device,
        count=torch.cuda.device_count(),
        driver_count=len(gpus),
        architectures=torch.cuda.get_arch_list(),
    )
    _verdict.demand(numbers.is_cuda and total.is_cuda, f"the numbers are on {numbers.device}")
    _verdict.demand(holds(numbers.data_ptr()), "the driver knows no such GPU memory")
    _verdict.demand(total.item() == 2048**2, f"the sum of odd numbers is {total.item()}")
    _verdict.demand(_gpu.is_one_of(device, gpus), f"torch computes on {device}, here is {gpus}")


if __name__ == "__main__":
    main()
