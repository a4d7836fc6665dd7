"""JAX's matrix product on the GPU is the CPU's."""

import os
import sys

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a GPU may have other users
import jax
import numpy as np

try:
    gpus = jax.devices("cuda")
except RuntimeError as error:
    print(f"JAX sees no GPU: {str(error).splitlines()[0]}")
    sys.exit(77)
left = np.random.RandomState(0).standard_normal((512, 512)).astype(np.float32)
with jax.default_matmul_precision("highest"):
    product = np.asarray(jax.numpy.dot(*jax.device_put((left, left), gpus[0])))
np.testing.assert_allclose(product, left @ left, rtol=1e-3, atol=1e-2)
print(f"{len(gpus)} GPU: {gpus[0].device_kind}")
