"""A small convolution network learns, and agrees with NumPy and, on a GPU, with the CPU.

needs: gpu
seconds: 300
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is to mean float32, in cuDNN and cuBLAS
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a GPU may have other users
import _convolution
import _gpu
import _tag
import _verdict
import jax
from jax import numpy as jnp

jax.config.update("jax_default_matmul_precision", "highest")  # of convolutions too


def cost(weights: list, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean cross entropy, and the logits beside it."""
    value = images
    for kernel in weights[:-1]:
        layout = ("NHWC", "HWIO", "NHWC")
        convolved = jax.lax.conv_general_dilated(value, kernel, (1, 1), "SAME", None, None, layout)
        count, height, width, channels = convolved.shape
        blocks = (count, height // 2, 2, width // 2, 2, channels)
        value = jax.nn.relu(convolved).reshape(blocks).mean(axis=(2, 4))
    logits = value.reshape(len(value), -1) @ weights[-1]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen.mean(), logits


def train(device: jax.Device, given: _convolution.Problem) -> _convolution.Training:
    weights, images, labels = jax.device_put((list(given.weights), *given[:2]), device)
    slope = jax.jit(jax.value_and_grad(cost, has_aux=True))

    def step(weights: list) -> tuple:
        (loss, logits), gradients = slope(weights, images, labels)
        return logits, loss, gradients

    return _convolution.train(weights, step)


def main() -> None:
    on_cuda = _tag.cell().get("cuda") or _gpu.expected() or "cuda" in " ".join(_tag.distributions())
    gpus = _gpu.require(_gpu.look()) if on_cuda else []
    given = _convolution.problem()
    runs = {"cpu": train(jax.devices("cpu")[0], given)}
    if gpus:
        # Raises where JAX does not see the GPU.
        runs["gpu"] = train(jax.devices("cuda")[0], given)
        addresses = [weight.unsafe_buffer_pointer() for weight in runs["gpu"].held]
        _verdict.demand(all(map(_gpu.holds, addresses)), "the weights are in no GPU's memory")
        _verdict.demand(_gpu.cudnn_engines(), "no engine of cuDNN was loaded: what convolved?")
    device = jax.devices("cuda")[0].device_kind if gpus else "cpu"
    _convolution.judge(given, runs, device=device, cudnn=_gpu.cudnn_engines())


if __name__ == "__main__":
    main()
