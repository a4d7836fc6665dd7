"""Training in float32, TF32 and bfloat16 on the GPU agrees with the CPU, as far as each can.

needs: gpu
seconds: 180
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _mixed_precision

if __name__ == "__main__":
    _mixed_precision.main("_pytorch")
