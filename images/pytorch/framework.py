"""PyTorch's adapter for the checks, as `_adapter.Adapter` describes it."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import _adapter
import _convolution
import _verdict
import numpy as np
import torch
from torch.nn import functional

# The gradient of a sum of squares at ones: twice their number.
GRADIENT = """\
import torch
weights = torch.ones(3, requires_grad=True)
(weights * weights).sum().backward()
print(weights.grad.sum().item())
"""

NAME = f"torch {torch.__version__}"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def build() -> _adapter.Build:
    # get_arch_list() is empty without a GPU; the flags are what it would return.
    flags = getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or ""  # noqa: SLF001
    return _adapter.Build(
        version=torch.__version__,
        cuda=torch.version.cuda or "",
        architectures=flags.split(),
        library=Path(torch.__file__).parent / "lib/libtorch_cuda.so",
    )


def is_cuda_build() -> bool:
    return bool(torch.version.cuda)


def device() -> str:
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else ""


def device_count() -> int:
    return int(torch.cuda.device_count())


def on(place: str) -> contextlib.AbstractContextManager[None]:  # noqa: ARG001
    """Do nothing: PyTorch computes on the device of the arguments."""
    return contextlib.nullcontext()


def put(array: np.ndarray, place: str) -> torch.Tensor:
    return torch.from_numpy(array).to(DEVICES[place])


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu())


def cast(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    return tensor.to(getattr(torch, kind))


def total(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.sum()


def wait(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


def address(tensor: torch.Tensor) -> int:
    return int(tensor.data_ptr())


def bytes_in_use() -> int:
    return int(torch.cuda.memory_allocated())


def allow_tf32(*, allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def convolve(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    planes, filters = images.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1)
    return functional.conv2d(planes, filters, padding="same").permute(0, 2, 3, 1)


def _logits(images: torch.Tensor, weights: list[torch.Tensor], kind: str) -> torch.Tensor:
    """Compute the network of `_convolution`, convolutions and matrix product in `kind`."""
    dtype = getattr(torch, kind)
    value = images
    for kernel in weights[:-1]:
        rectified = functional.relu(convolve(value.to(dtype), kernel.to(dtype)).float())
        count, height, width, channels = rectified.shape
        blocks = (count, height // 2, 2, width // 2, 2, channels)
        value = rectified.reshape(blocks).mean(dim=(2, 4))
    return (value.flatten(1).to(dtype) @ weights[-1].to(dtype)).float()


def step(problem: _convolution.Problem, place: str, kind: str) -> _adapter.Step:
    images, labels = put(problem.images, place), put(problem.labels, place).long()

    def call(weights: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        leaves = [weight.detach().requires_grad_() for weight in weights]
        scores = _logits(images, leaves, kind)
        loss = functional.cross_entropy(scores, labels)
        return scores.detach(), loss.detach(), list(torch.autograd.grad(loss, leaves))

    return call


def compile_step(
    step: _adapter.Step, weights: list[torch.Tensor]
) -> tuple[tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]], str]:
    """Compile by torch.compile; the proof is the number of Triton's kernels, or of C++ on a CPU."""
    compilers = ("g++", "clang++", os.environ.get("CXX", ""))
    _verdict.demand(any(map(shutil.which, compilers)), "torch.compile finds no C++ compiler here")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder, "triton"))
        result = torch.compile(step)(weights)
        kind = ".cubin" if result[0].is_cuda else ".so"
        count = sum(file.suffix == kind for file in Path(folder).rglob("*"))
    return result, f"{count} {kind} files" if count else ""


def all_reduce(arrays: Sequence[np.ndarray]) -> list[torch.Tensor]:
    tensors = [put(array, "gpu").to(f"cuda:{number}") for number, array in enumerate(arrays)]
    sums = [torch.empty_like(tensor) for tensor in tensors]
    torch.cuda.nccl.all_reduce(tensors, sums)
    return sums
