"""JAX's adapter for the checks, as `_adapter.Adapter` describes it."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a GPU may have other users
import _adapter
import _convolution
import _cuda_libraries
import _tag
import _verdict
import jax
import numpy as np
from jax import numpy as jnp

# The gradient of a sum of squares at ones: twice their number.
GRADIENT = "import jax; print(jax.grad(lambda w: (w * w).sum())(jax.numpy.ones(3)).sum())"

jax.config.update("jax_enable_x64", True)  # noqa: FBT003 - float64 is to mean float64
NAME = f"jax {jax.__version__}"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


def build() -> _adapter.Build:
    """Return the versions of JAX and its CUDA plugin; JAX reports no architectures."""
    cuda, cudnn = _plugin_versions()
    return _adapter.Build(version=jax.__version__, cuda=cuda, cudnn=cudnn, library=_library())


def _plugin_versions() -> tuple[str, str]:
    """Return the CUDA and cuDNN that the plugin was built for; empty without a plugin."""
    plugins = [
        name
        for name in _tag.distributions()
        if name.startswith("jax-cuda") and name.endswith("-plugin")
    ]
    if not plugins:
        return "", ""
    _verdict.demand(len(plugins) == 1, f"several CUDA plugins are installed: {plugins}")
    versions = import_module(plugins[0].replace("-", "_") + "._versions")
    cuda = _cuda_libraries.cuda_text(versions.cuda_runtime_build_version())
    return cuda, _cuda_libraries.cudnn_text(versions.cudnn_build_version())


def _library() -> Path:
    """Return the file with GPU code: the plugin, or without one the library that CPUs use."""
    folders = sorted({Path(entry).resolve() for entry in sys.path if entry})
    plugins = [
        path
        for folder in folders
        for path in folder.glob("jax_plugins/xla_cuda*/xla_cuda_plugin.so")
    ]
    return plugins[0] if plugins else Path(jax.__file__).parents[1] / "jaxlib/libjax_common.so"


def is_cuda_build() -> bool:
    return "cuda" in " ".join(_tag.distributions())


def device() -> str:
    gpus = _gpus()
    return str(gpus[0].device_kind) if gpus else ""


def device_count() -> int:
    return len(_gpus())


def _gpus() -> list[jax.Device]:
    return [device for device in jax.devices() if device.platform in ("gpu", "cuda")]


def on(place: str) -> contextlib.AbstractContextManager[None]:  # noqa: ARG001
    """Do nothing: JAX computes on the device of the arguments."""
    return contextlib.nullcontext()


def put(array: np.ndarray, place: str) -> jax.Array:
    return jax.device_put(array, jax.devices(DEVICES[place])[0])


def numpy(array: jax.Array) -> np.ndarray:
    return np.asarray(array)


def cast(array: jax.Array, kind: str) -> jax.Array:
    return array.astype(kind)


def total(array: jax.Array) -> jax.Array:
    return array.sum()


def wait(array: jax.Array) -> None:
    array.block_until_ready()


def address(array: jax.Array) -> int:
    return int(array.unsafe_buffer_pointer())


def bytes_in_use() -> int:
    return int(jax.devices("cuda")[0].memory_stats()["bytes_in_use"])


def allow_tf32(*, allowed: bool) -> None:
    precision = "tensorfloat32" if allowed else "highest"
    jax.config.update("jax_default_matmul_precision", precision)  # of convolutions, too


def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", None, None, layout)


def _logits(images: jax.Array, weights: list[jax.Array], kind: str) -> jax.Array:
    """Compute the network of `_convolution`, convolutions and matrix product in `kind`."""
    value = images
    for kernel in weights[:-1]:
        convolved = convolve(value.astype(kind), kernel.astype(kind)).astype(jnp.float32)
        count, height, width, channels = convolved.shape
        blocks = (count, height // 2, 2, width // 2, 2, channels)
        value = jax.nn.relu(convolved).reshape(blocks).mean(axis=(2, 4))
    flat = value.reshape(len(value), -1).astype(kind)
    return (flat @ weights[-1].astype(kind)).astype(jnp.float32)


def step(problem: _convolution.Problem, place: str, kind: str) -> _adapter.Step:
    images, labels = put(problem.images, place), put(problem.labels, place)

    def cost(weights: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        scores = _logits(images, weights, kind)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], axis=1)
        return -chosen.mean(), scores

    differentiate: Callable[..., Any] = jax.value_and_grad(cost, has_aux=True)

    def call(weights: list[jax.Array]) -> tuple[jax.Array, jax.Array, list[jax.Array]]:
        (loss, scores), gradients = differentiate(weights)
        return scores, loss, gradients

    return call


def compile_step(
    step: _adapter.Step, weights: list[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array, list[jax.Array]], str]:
    """Compile by jax.jit; the proof is the size of the program that XLA has made."""
    program = jax.jit(step).lower(weights).compile()
    text = program.as_text() or ""
    return program(weights), f"{text.count(chr(10))} lines of HLO" if "HloModule" in text else ""


def all_reduce(arrays: Sequence[np.ndarray]) -> list[jax.Array]:
    devices = jax.devices(DEVICES["gpu"])[: len(arrays)]
    rows = jax.sharding.PartitionSpec("gpus")
    mesh = jax.sharding.Mesh(np.array(devices), ("gpus",))
    tensors = jax.device_put(np.stack(arrays), jax.sharding.NamedSharding(mesh, rows))

    def add(row: jax.Array) -> jax.Array:
        return jax.lax.psum(row, "gpus")

    # The sum is the same everywhere; a row for each GPU keeps each GPU's own result.
    sums = jax.shard_map(add, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return [shard.data[0] for shard in jax.jit(sums)(tensors).addressable_shards]
