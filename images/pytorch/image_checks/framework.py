"""PyTorch computes a gradient on the CPU."""

import torch

weights = torch.ones(3, requires_grad=True)
(weights * weights).sum().backward()
gradient = weights.grad.sum().item()
assert gradient == 6, f"the gradient is {gradient}, not 6"
print(f"torch {torch.__version__} from {torch.__file__.rpartition('/')[0]}")
