"""The tag is true: TensorFlow, Python, CUDA, cuDNN, OS and user are what it says.

needs: nothing
seconds: 120
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _verdict
import tensorflow as tf

# Two distributions bring a module `tensorflow`: the tag's is to be the only one.
both = {"tensorflow", "tensorflow-cpu"} & set(_tag.distributions())
said = _tag.cell().get("package", "")
_verdict.demand(not said or both == {said}, f"the tag says {said}, installed is {sorted(both)}")
build = tf.sysconfig.get_build_info()
_tag.judge(
    _tag.Framework(
        version=tf.__version__,
        cuda=build.get("cuda_version", "") if build["is_cuda_build"] else "",
        cudnn=build.get("cudnn_version", ""),
    )
)
