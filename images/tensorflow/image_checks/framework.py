"""TensorFlow computes a gradient on the CPU."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf

with tf.device("/CPU:0"), tf.GradientTape() as tape:
    weights = tf.Variable(tf.ones(3))
    loss = tf.reduce_sum(weights * weights)
gradient = float(tf.reduce_sum(tape.gradient(loss, weights)))
assert gradient == 6, f"the gradient is {gradient}, not 6"
print(f"tensorflow {tf.__version__} from {tf.__file__.rpartition('/')[0]}")
