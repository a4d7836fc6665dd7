"""TensorFlow's matrix product on the GPU is the CPU's."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a GPU may have other users
import numpy as np
import tensorflow as tf

gpus = tf.config.list_physical_devices("GPU")
if not gpus:
    print("TensorFlow sees no GPU")
    sys.exit(77)
tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
tf.config.set_soft_device_placement(enabled=False)
left = np.random.RandomState(0).standard_normal((512, 512)).astype(np.float32)
with tf.device("/GPU:0"):
    product = tf.matmul(left, left).numpy()
np.testing.assert_allclose(product, left @ left, rtol=1e-3, atol=1e-2)
print(f"{len(gpus)} GPU: {tf.config.experimental.get_device_details(gpus[0]).get('device_name')}")
