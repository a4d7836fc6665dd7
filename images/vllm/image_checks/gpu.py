"""PyTorch's matrix product on the GPU is the CPU's."""

import sys

import torch

if not torch.cuda.is_available():
    print("PyTorch sees no GPU")
    sys.exit(77)
torch.backends.cuda.matmul.allow_tf32 = False
left = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
product = (left.cuda() @ left.cuda()).cpu()
torch.testing.assert_close(product, left @ left, rtol=1e-3, atol=1e-2)
print(f"{torch.cuda.device_count()} GPU: {torch.cuda.get_device_name(0)}")
