"""vLLM's adapter for the checks: how it was built, and its GPUs."""

from pathlib import Path

import _adapter
import _tag
import torch
import vllm

NAME = f"vllm {vllm.__version__}"


def build() -> _adapter.Build:
    """Return vLLM's build; CUDA and the GPU code are those of its PyTorch.

    Of vLLM's own kernels some are for a few GPUs only.
    """
    return _adapter.Build(
        version=_tag.distributions().get("vllm", ""),
        cuda=torch.version.cuda or "",
        library=Path(torch.__file__).parent / "lib/libtorch_cuda.so",
    )


def device() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def device_count() -> int:
    return int(torch.cuda.device_count())
