"""The tag is true: PyTorch, Python, CUDA, cuDNN, NCCL, OS, user and labels are what it says.

needs: image
seconds: 120
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _truth
import torch

# get_arch_list() names none where there is no GPU; what it would name is asked for here.
flags = getattr(torch._C, "_cuda_getArchFlags", lambda: "")() or ""  # noqa: SLF001
_truth.judge(
    _truth.Framework(
        version=torch.__version__,
        cuda=torch.version.cuda or "",
        architectures=flags.split(),
        library=Path(torch.__file__).parent / "lib" / "libtorch_cuda.so",
    )
)
