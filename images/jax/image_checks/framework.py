"""JAX computes a gradient, on the CPU."""

import jax

with jax.default_device(jax.devices("cpu")[0]):
    gradient = jax.grad(lambda weights: (weights * weights).sum())(jax.numpy.ones(3)).sum()
assert gradient == 6, f"the gradient is {gradient}, not 6"
print(f"jax {jax.__version__} from {jax.__file__.rpartition('/')[0]}")
