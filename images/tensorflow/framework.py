"""TensorFlow's adapter for the checks, as `_adapter.Adapter` describes it."""

import contextlib
import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a GPU may have other users
import _adapter
import _convolution
import _tag
import _verdict
import numpy as np
import tensorflow as tf

# The gradient of a sum of squares at ones: twice their number.
GRADIENT = """\
import tensorflow
weights = tensorflow.Variable(tensorflow.ones(3))
with tensorflow.GradientTape() as tape:
    loss = tensorflow.reduce_sum(weights * weights)
print(float(tensorflow.reduce_sum(tape.gradient(loss, weights))))
"""

tf.config.set_soft_device_placement(enabled=False)  # raise, rather than run elsewhere
NAME = f"tensorflow {tf.__version__}"
DEVICES = {"cpu": "/CPU:0", "gpu": "/GPU:0"}
# Distributions that bring a module `tensorflow`: the tag's is to be the only one.
PACKAGES = {"tensorflow", "tensorflow-cpu"}


def build() -> _adapter.Build:
    package = _tag.cell().get("package", "")
    installed = PACKAGES & set(_tag.distributions())
    _verdict.demand(
        package not in PACKAGES or installed == {package},
        f"the tag says {package}, installed is {sorted(installed)}",
    )
    info = tf.sysconfig.get_build_info()
    # In this list `compute_90` means the machine code for it, too.
    named = info.get("cuda_compute_capabilities", [])
    code = [name.replace("compute_", "sm_") for name in named]
    return _adapter.Build(
        version=tf.__version__,
        cuda=info.get("cuda_version", "") if info["is_cuda_build"] else "",
        cudnn=info.get("cudnn_version", ""),
        architectures=list(dict.fromkeys([*code, *named])),
        library=Path(tf.__file__).parent / "libtensorflow_cc.so.2",
    )


def is_cuda_build() -> bool:
    return bool(tf.test.is_built_with_cuda())


def device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return ""
    return str(tf.config.experimental.get_device_details(gpus[0])["device_name"])


def device_count() -> int:
    return len(tf.config.list_physical_devices("GPU"))


def on(place: str) -> contextlib.AbstractContextManager[Any]:
    """Select the device: TensorFlow would compute on the GPU, whatever the arguments' device."""
    context: contextlib.AbstractContextManager[Any] = tf.device(DEVICES[place])
    return context


def put(array: np.ndarray, place: str) -> tf.Tensor:
    with on(place):
        return tf.identity(tf.constant(array))


def numpy(tensor: tf.Tensor) -> np.ndarray:
    return np.asarray(tensor)


def cast(tensor: tf.Tensor, kind: str) -> tf.Tensor:
    return tf.cast(tensor, kind)


def total(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tensor)


def wait(tensor: tf.Tensor) -> None:  # noqa: ARG001
    tf.test.experimental.sync_devices()


def address(tensor: tf.Tensor) -> int:
    """Return the first field, `data`, of the tensor's DLManagedTensor."""
    capsule = tf.experimental.dlpack.to_dlpack(tensor)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.POINTER(ctypes.c_void_p)
    get_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    return int(get_pointer(capsule, b"dltensor")[0] or 0)


def bytes_in_use() -> int:
    return int(tf.config.experimental.get_memory_info("GPU:0")["current"])


def allow_tf32(*, allowed: bool) -> None:
    tf.config.experimental.enable_tensor_float_32_execution(enabled=allowed)


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(images, kernel, strides=1, padding="SAME")


def _logits(images: tf.Tensor, weights: list[tf.Tensor], kind: str) -> tf.Tensor:
    """Compute the network of `_convolution`, convolutions and matrix product in `kind`."""
    value = images
    for kernel in weights[:-1]:
        convolved = tf.nn.conv2d(tf.cast(value, kind), tf.cast(kernel, kind), 1, "SAME")
        rectified = tf.nn.relu(tf.cast(convolved, tf.float32))
        value = tf.nn.avg_pool2d(rectified, 2, 2, "VALID")
    flat = tf.cast(tf.reshape(value, (len(images), -1)), kind)
    return tf.cast(flat @ tf.cast(weights[-1], kind), tf.float32)


def step(problem: _convolution.Problem, place: str, kind: str) -> _adapter.Step:
    images, labels = put(problem.images, place), put(problem.labels, place)

    def call(weights: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            scores = _logits(images, weights, kind)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            mean = tf.reduce_mean(loss)
        return scores, mean, tape.gradient(mean, weights)

    return call


def compile_step(
    step: _adapter.Step, weights: list[tf.Tensor]
) -> tuple[tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]], str]:
    """Compile by XLA; the proof is the size of the program that XLA has made."""
    program = tf.function(step, jit_compile=True)
    text = program.experimental_get_compiler_ir(weights)(stage="optimized_hlo")
    return program(weights), f"{text.count(chr(10))} lines of HLO" if "HloModule" in text else ""


def all_reduce(arrays: Sequence[np.ndarray]) -> list[tf.Tensor]:
    def add(rows: list[tf.Tensor]) -> list[tf.Tensor]:
        sums = []
        for number, row in enumerate(rows):
            with tf.device(f"/GPU:{number}"):
                total = tf.raw_ops.NcclAllReduce(
                    input=row, reduction="sum", num_devices=len(rows), shared_name="sum"
                )
                sums.append(total)
        return sums

    tensors = []
    for number, array in enumerate(arrays):
        with tf.device(f"/GPU:{number}"):
            tensors.append(tf.identity(put(array, "cpu")))
    return list(tf.function(add)(tensors))
