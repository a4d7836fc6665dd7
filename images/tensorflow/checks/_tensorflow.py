"""TensorFlow's part in the checks of work on a GPU; `_work` tells what a family has to have."""

import contextlib
import os
from collections.abc import Callable

os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a GPU may have other users
import _convolution
import _memory
import numpy as np
import tensorflow as tf

tf.config.set_soft_device_placement(enabled=False)  # raise, rather than run elsewhere
NAME = f"tensorflow {tf.__version__}"
DEVICES = {"cpu": "/CPU:0", "gpu": "/GPU:0"}
address = _memory.address


def is_cuda_build() -> bool:
    return tf.test.is_built_with_cuda()


def device() -> str:
    """The GPU's name, or nothing where TensorFlow sees none."""
    found = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(found[0])["device_name"] if found else ""


def on(place: str) -> contextlib.AbstractContextManager:
    """Where work is done: without it on the GPU, wherever its arguments are."""
    return tf.device(DEVICES[place])


def put(array: np.ndarray, place: str) -> tf.Tensor:
    with on(place):
        return tf.identity(tf.constant(array))


def numpy(tensor: tf.Tensor) -> np.ndarray:
    return tensor.numpy()


def cast(tensor: tf.Tensor, kind: str) -> tf.Tensor:
    return tf.cast(tensor, kind)


def wait(tensor: tf.Tensor) -> None:  # noqa: ARG001 - as all families have it
    """Until it is computed, and with it all that was asked for before it."""
    tf.test.experimental.sync_devices()


def bytes_in_use() -> int:
    """What TensorFlow counts as taken of the GPU's memory."""
    return tf.config.experimental.get_memory_info("GPU:0")["current"]


def allow_tf32(*, allowed: bool) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(enabled=allowed)


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """NHWC with HWIO, zeros around."""
    return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")


def logits(images: tf.Tensor, weights: list, kind: str) -> tf.Tensor:
    """The network of `_convolution`, its convolutions and its matrix computed in `kind`."""
    value = images
    for kernel in weights[:-1]:
        convolved = tf.nn.conv2d(tf.cast(value, kind), tf.cast(kernel, kind), 1, "SAME")
        rectified = tf.nn.relu(tf.cast(convolved, tf.float32))
        value = tf.nn.avg_pool2d(rectified, 2, 2, "VALID")
    flat = tf.cast(tf.reshape(value, (len(images), -1)), kind)
    return tf.cast(flat @ tf.cast(weights[-1], kind), tf.float32)


def step(given: _convolution.Problem, place: str, kind: str) -> Callable[[list], tuple]:
    """What gives logits, loss and gradients under some weights."""
    images, labels = put(given.images, place), put(given.labels, place)

    def call(weights: list) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            scores = logits(images, weights, kind)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            mean = tf.reduce_mean(loss)
        return scores, mean, tape.gradient(mean, weights)

    return call
