"""NCCL adds up what PyTorch has on two GPUs.

needs: two gpus
seconds: 180
applies: cuda
"""

import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _nccl_all_reduce


def reduce(framework: ModuleType, arrays: list) -> list:
    """Each array on a GPU of its own, and the sum of both on each."""
    import torch

    held = [framework.put(array, "gpu").to(f"cuda:{place}") for place, array in enumerate(arrays)]
    sums = [torch.empty_like(tensor) for tensor in held]
    torch.cuda.nccl.all_reduce(held, sums)
    return sums


if __name__ == "__main__":
    _nccl_all_reduce.main("_pytorch", reduce)
