"""vLLM is found, and its PyTorch computes a gradient on the CPU."""

from importlib.metadata import version

import torch

weights = torch.ones(3, requires_grad=True)
(weights * weights).sum().backward()
gradient = weights.grad.sum().item()
assert gradient == 6, f"the gradient is {gradient}, not 6"
print(f"vllm {version('vllm')}, torch {torch.__version__}")
