"""A matrix product of JAX on the GPU agrees with the CPU's, and both with NumPy's.

needs: gpu
seconds: 120
applies: cuda
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _matrix_product

if __name__ == "__main__":
    _matrix_product.main("_jax")
