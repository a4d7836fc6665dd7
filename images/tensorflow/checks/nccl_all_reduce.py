"""NCCL adds up what TensorFlow has on two GPUs.

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
    import tensorflow as tf

    @tf.function
    def add(rows: list) -> list:
        sums = []
        for place, row in enumerate(rows):
            with tf.device(f"/GPU:{place}"):
                total = tf.raw_ops.NcclAllReduce(
                    input=row, reduction="sum", num_devices=len(rows), shared_name="sum"
                )
                sums.append(total)
        return sums

    held = []
    for place, array in enumerate(arrays):
        with tf.device(f"/GPU:{place}"):
            held.append(tf.identity(framework.put(array, "cpu")))
    return add(held)


if __name__ == "__main__":
    _nccl_all_reduce.main("_tensorflow", reduce)
