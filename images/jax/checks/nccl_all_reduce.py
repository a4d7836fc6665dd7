"""NCCL adds up what JAX has on two GPUs.

needs: two gpus
seconds: 180
applies: cuda
"""

import sys
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _nccl_all_reduce


def reduce(framework: ModuleType, arrays: list) -> list:
    """Each array on a GPU of its own, and the sum of both on each."""
    import jax
    import numpy as np

    devices = jax.devices(framework.DEVICES["gpu"])[: len(arrays)]
    rows = jax.sharding.PartitionSpec("gpus")
    mesh = jax.sharding.Mesh(np.array(devices), ("gpus",))
    held = jax.device_put(np.stack(arrays), jax.sharding.NamedSharding(mesh, rows))

    def add(row: jax.Array) -> jax.Array:
        return jax.lax.psum(row, "gpus")

    # The sum is the same everywhere; kept as a row for each GPU, so that each one's is looked at.
    total = jax.shard_map(add, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return [shard.data[0] for shard in jax.jit(total)(held).addressable_shards]


if __name__ == "__main__":
    _nccl_all_reduce.main("_jax", reduce)
