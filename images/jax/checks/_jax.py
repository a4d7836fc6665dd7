"""JAX's part in the checks of work on a GPU; `_work` tells what a family has to have."""

import contextlib
import os
from collections.abc import Callable

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a GPU may have other users
import _convolution
import _tag
import jax
import numpy as np
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - float64 is to mean float64
NAME = f"jax {jax.__version__}"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def is_cuda_build() -> bool:
    return "cuda" in " ".join(_tag.distributions())


def device() -> str:
    """The GPU's name, or nothing where JAX sees none."""
    found = [one for one in jax.devices() if one.platform in ("gpu", "cuda")]
    return found[0].device_kind if found else ""


def on(place: str) -> contextlib.AbstractContextManager:  # noqa: ARG001 - as all families have it
    """Where work is done: here, where its arguments are."""
    return contextlib.nullcontext()


def put(array: np.ndarray, place: str) -> jax.Array:
    return jax.device_put(array, jax.devices(DEVICES[place])[0])


def numpy(array: jax.Array) -> np.ndarray:
    return np.asarray(array)


def cast(array: jax.Array, kind: str) -> jax.Array:
    return array.astype(kind)


def wait(array: jax.Array) -> None:
    """Until it is computed, and with it all that was asked for before it."""
    array.block_until_ready()


def address(array: jax.Array) -> int:
    return array.unsafe_buffer_pointer()


def bytes_in_use() -> int:
    """What JAX counts as taken of the GPU's memory."""
    return jax.devices("cuda")[0].memory_stats()["bytes_in_use"]


def allow_tf32(*, allowed: bool) -> None:
    """Of convolutions, too."""
    precision = "tensorfloat32" if allowed else "highest"
    jax.config.update("jax_default_matmul_precision", precision)


def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """NHWC with HWIO, zeros around."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", None, None, layout)


def logits(images: jax.Array, weights: list, kind: str) -> jax.Array:
    """The network of `_convolution`, its convolutions and its matrix computed in `kind`."""
    value = images
    for kernel in weights[:-1]:
        convolved = convolve(value.astype(kind), kernel.astype(kind)).astype(jnp.float32)
        count, height, width, channels = convolved.shape
        blocks = (count, height // 2, 2, width // 2, 2, channels)
        value = jax.nn.relu(convolved).reshape(blocks).mean(axis=(2, 4))
    flat = value.reshape(len(value), -1).astype(kind)
    return (flat @ weights[-1].astype(kind)).astype(jnp.float32)


def step(given: _convolution.Problem, place: str, kind: str) -> Callable[[list], tuple]:
    """What gives logits, loss and gradients under some weights."""
    images, labels = put(given.images, place), put(given.labels, place)

    def cost(weights: list) -> tuple[jax.Array, jax.Array]:
        scores = logits(images, weights, kind)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1)
        return -chosen.mean(), scores

    slope = jax.value_and_grad(cost, has_aux=True)

    def call(weights: list) -> tuple:
        (loss, scores), gradients = slope(weights)
        return scores, loss, gradients

    return call
