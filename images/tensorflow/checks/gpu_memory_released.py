"""The GPU's memory that TensorFlow takes is given back: when work lets go of it, and when it ends.

needs: gpu
seconds: 120
applies: cuda
flaky: other programs on the GPU take and give memory meanwhile
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _gpu_memory_released

if __name__ == "__main__":
    _gpu_memory_released.main("_tensorflow")
