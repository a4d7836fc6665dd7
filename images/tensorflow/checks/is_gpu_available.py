"""TensorFlow sees the GPU that the driver sees, and computes there.

`tf.config.list_physical_devices("GPU")` is what became of `tf.test.is_gpu_available()`.

needs: gpu
seconds: 180
applies: cuda
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a GPU may have other users
import _gpu
import _verdict


def main(
    look: Callable[[], _gpu.Sight] = _gpu.look, holds: Callable[[int], bool] = _gpu.holds
) -> None:
    gpus = _gpu.require(look())
    import _memory
    import tensorflow as tf

    seen = tf.config.list_physical_devices("GPU")
    _verdict.demand(
        seen,
        f"{gpus[0].name} with driver {gpus[0].driver} is here, "
        f"but TensorFlow {tf.__version__} sees no GPU",
    )
    tf.config.set_soft_device_placement(enabled=False)  # raise, rather than run elsewhere
    with tf.device("/GPU:0"):
        numbers = tf.constant(range(2048), dtype=tf.float32)
        total = tf.reduce_sum(numbers * 2 + 1)
    details = tf.config.experimental.get_device_details(seen[0])
    device = details.get("device_name", "")
    _verdict.show(
        framework=f"tensorflow {tf.__version__}",
        device=device,
        capability=details.get("compute_capability"),
        count=len(seen),
        driver_count=len(gpus),
    )
    _verdict.demand("GPU:0" in numbers.device, f"the numbers are on {numbers.device}")
    _verdict.demand("GPU:0" in total.device, f"the sum is on {total.device}")
    _verdict.demand(holds(_memory.address(numbers)), "the driver knows no such GPU memory")
    _verdict.demand(float(total) == 2048**2, f"the sum of odd numbers is {float(total)}")
    _verdict.demand(
        _gpu.is_one_of(device, gpus), f"TensorFlow computes on {device}, here is {gpus}"
    )


if __name__ == "__main__":
    main()
