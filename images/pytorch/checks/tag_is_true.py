"""The tag is true: PyTorch, Python, CUDA, cuDNN, OS and user are what it says.

needs: nothing
seconds: 120
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import torch

_tag.judge(_tag.Framework(version=torch.__version__, cuda=torch.version.cuda or ""))
