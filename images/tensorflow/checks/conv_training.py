"""A small convolution network learns, and agrees with NumPy and, on a GPU, with the CPU.

needs: gpu
seconds: 300
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # float32 is to mean float32, in cuDNN and cuBLAS
os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a GPU may have other users
import _convolution
import _gpu
import _memory
import _tag
import _verdict
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
tf.config.set_soft_device_placement(enabled=False)  # raise, rather than run elsewhere


def logits(images: tf.Tensor, weights: list) -> tf.Tensor:
    value = images
    for kernel in weights[:-1]:
        convolved = tf.nn.conv2d(value, kernel, strides=1, padding="SAME")
        value = tf.nn.avg_pool2d(tf.nn.relu(convolved), 2, 2, "VALID")
    return tf.reshape(value, (len(value), -1)) @ weights[-1]


def train(device: str, given: _convolution.Problem) -> _convolution.Training:
    def step(weights: list) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            scores = logits(images, weights)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
            mean = tf.reduce_mean(loss)
        return scores, mean, tape.gradient(mean, weights)

    with tf.device(device):
        images, labels = tf.constant(given.images), tf.constant(given.labels)
        weights = [tf.constant(weight) for weight in given.weights]
        return _convolution.train(weights, step)


def main() -> None:
    on_cuda = _tag.cell().get("cuda") or _gpu.expected() or tf.test.is_built_with_cuda()
    gpus = _gpu.require(_gpu.look()) if on_cuda else []
    given = _convolution.problem()
    runs = {"cpu": train("/CPU:0", given)}
    device = "cpu"
    if gpus:
        seen = tf.config.list_physical_devices("GPU")
        _verdict.demand(seen, f"TensorFlow does not see the {gpus[0].name}")
        device = tf.config.experimental.get_device_details(seen[0])["device_name"]
        runs["gpu"] = train("/GPU:0", given)
        addresses = map(_memory.address, runs["gpu"].held)
        _verdict.demand(all(map(_gpu.holds, addresses)), "the weights are in no GPU's memory")
        _verdict.demand(_gpu.cudnn_engines(), "no engine of cuDNN was loaded: what convolved?")
    _convolution.judge(given, runs, device=device, cudnn=_gpu.cudnn_engines())


if __name__ == "__main__":
    main()
