"""TensorFlow convolves by cuDNN, and as the CPU does.

needs: gpu
seconds: 120
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _cudnn_is_used

if __name__ == "__main__":
    _cudnn_is_used.main("_tensorflow")
