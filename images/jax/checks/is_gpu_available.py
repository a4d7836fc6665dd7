"""JAX sees the GPU that the driver sees, and computes there.

needs: gpu
seconds: 120
applies: cuda
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a GPU may have other users
import _gpu
import _verdict


def main(
    look: Callable[[], _gpu.Sight] = _gpu.look, holds: Callable[[int], bool] = _gpu.holds
) -> None:
    gpus = _gpu.require(look())
    import jax
    from jax import numpy as jnp

    seen = [device for device in jax.devices() if device.platform in ("gpu", "cuda")]
    _verdict.demand(
        seen,
        f"{gpus[0].name} with driver {gpus[0].driver} is here, "
        f"but jax {jax.__version__} sees only {jax.devices()}",
    )
    device = seen[0].device_kind
    with jax.default_device(seen[0]):
        numbers = jnp.arange(2048, dtype=jnp.int32)
        total = (numbers * 2 + 1).sum()
    _verdict.show(
        framework=f"jax {jax.__version__}",
        device=device,
        count=len(seen),
        driver_count=len(gpus),
        default=str(jax.devices()[0]),
    )
    _verdict.demand(numbers.devices() == {seen[0]}, f"the numbers are on {numbers.devices()}")
    _verdict.demand(total.devices() == {seen[0]}, f"the sum is on {total.devices()}")
    _verdict.demand(holds(numbers.unsafe_buffer_pointer()), "the driver knows no such GPU memory")
    _verdict.demand(int(total) == 2048**2, f"the sum of odd numbers is {int(total)}")
    _verdict.demand(_gpu.is_one_of(device, gpus), f"jax computes on {device}, here is {gpus}")


if __name__ == "__main__":
    main()
