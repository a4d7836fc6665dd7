"""PyTorch's part in the checks of work on a GPU; `_work` tells what a family has to have."""

import contextlib
from collections.abc import Callable

import _convolution
import numpy as np
import torch
from torch.nn import functional

NAME = f"torch {torch.__version__}"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def is_cuda_build() -> bool:
    return bool(torch.version.cuda)


def device() -> str:
    """The GPU's name, or nothing where PyTorch sees none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def on(place: str) -> contextlib.AbstractContextManager:  # noqa: ARG001 - as all families have it
    """Where work is done: here, where its arguments are."""
    return contextlib.nullcontext()


def put(array: np.ndarray, place: str) -> torch.Tensor:
    return torch.from_numpy(array).to(DEVICES[place])


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def cast(tensor: torch.Tensor, kind: str) -> torch.Tensor:
    return tensor.to(getattr(torch, kind))


def wait(tensor: torch.Tensor) -> None:
    """Until it is computed, and with it all that was asked for before it."""
    if tensor.is_cuda:
        torch.cuda.synchronize()


def address(tensor: torch.Tensor) -> int:
    return tensor.data_ptr()


def bytes_in_use() -> int:
    """What PyTorch counts as taken of the GPU's memory."""
    return torch.cuda.memory_allocated()


def allow_tf32(*, allowed: bool) -> None:
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def convolve(images: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """NHWC with HWIO, zeros around."""
    planes, filters = images.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1)
    return functional.conv2d(planes, filters, padding="same").permute(0, 2, 3, 1)


def logits(images: torch.Tensor, weights: list, kind: str) -> torch.Tensor:
    """The network of `_convolution`, its convolutions and its matrix computed in `kind`."""
    dtype = getattr(torch, kind)
    value = images
    for kernel in weights[:-1]:
        rectified = functional.relu(convolve(value.to(dtype), kernel.to(dtype)).float())
        count, height, width, channels = rectified.shape
        blocks = (count, height // 2, 2, width // 2, 2, channels)
        value = rectified.reshape(blocks).mean(dim=(2, 4))
    return (value.flatten(1).to(dtype) @ weights[-1].to(dtype)).float()


def step(given: _convolution.Problem, place: str, kind: str) -> Callable[[list], tuple]:
    """What gives logits, loss and gradients under some weights."""
    images, labels = put(given.images, place), put(given.labels, place).long()

    def call(weights: list) -> tuple:
        held = [weight.detach().requires_grad_() for weight in weights]
        scores = logits(images, held, kind)
        loss = functional.cross_entropy(scores, labels)
        return scores.detach(), loss.detach(), torch.autograd.grad(loss, held)

    return call
