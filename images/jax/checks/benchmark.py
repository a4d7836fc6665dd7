"""The same convolution on CPU and GPU gives the same; how long each takes is a figure.

needs: gpu
seconds: 120
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _benchmark

if __name__ == "__main__":
    _benchmark.main("_jax")
