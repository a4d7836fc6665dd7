"""A small convolution network learns, and agrees with NumPy and, on a GPU, with the CPU.

needs: gpu
seconds: 300
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is to mean float32, in cuDNN and cuBLAS
import _convolution
import _gpu
import _tag
import _verdict
import torch
from torch.nn import functional

torch.backends.cudnn.allow_tf32 = False
torch.backends.cuda.matmul.allow_tf32 = False


def logits(images: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    value = images
    for kernel in weights[:-1]:
        convolved = functional.conv2d(value, kernel.permute(3, 2, 0, 1), padding=1)
        value = functional.avg_pool2d(functional.relu(convolved), 2)
    return value.permute(0, 2, 3, 1).flatten(1) @ weights[-1]


def train(device: str, given: _convolution.Problem) -> _convolution.Training:
    images = torch.from_numpy(given.images).permute(0, 3, 1, 2).to(device)
    labels = torch.from_numpy(given.labels).long().to(device)

    def step(weights: list[torch.Tensor]) -> tuple:
        held = [weight.detach().requires_grad_() for weight in weights]
        scores = logits(images, held)
        loss = functional.cross_entropy(scores, labels)
        return scores.detach(), loss.detach(), torch.autograd.grad(loss, held)

    weights = [torch.from_numpy(weight).to(device) for weight in given.weights]
    return _convolution.train(weights, step, lambda tensor: tensor.cpu().numpy())


def main() -> None:
    on_cuda = _tag.cell().get("cuda") or _gpu.expected() or torch.version.cuda
    gpus = _gpu.require(_gpu.look()) if on_cuda else []
    given = _convolution.problem()
    runs = {"cpu": train("cpu", given)}
    if gpus:
        _verdict.demand(torch.cuda.is_available(), f"torch does not see the {gpus[0].name}")
        runs["gpu"] = train("cuda", given)
        addresses = [weight.data_ptr() for weight in runs["gpu"].held]
        _verdict.demand(all(map(_gpu.holds, addresses)), "the weights are in no GPU's memory")
        _verdict.demand(_gpu.cudnn_engines(), "no engine of cuDNN was loaded: what convolved?")
    device = torch.cuda.get_device_name(0) if gpus else "cpu"
    _convolution.judge(given, runs, device=device, cudnn=_gpu.cudnn_engines())


if __name__ == "__main__":
    main()
