"""The tag is true: TensorFlow, Python, CUDA, cuDNN, NCCL, OS, user and labels are what it says.

needs: image
seconds: 120
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _truth
import _verdict
import tensorflow as tf

# Two distributions bring a module `tensorflow`: the tag's is to be the only one.
both = {"tensorflow", "tensorflow-cpu"} & set(_tag.distributions())
said = _tag.cell().get("package", "")
_verdict.demand(not said or both == {said}, f"the tag says {said}, installed is {sorted(both)}")
build = tf.sysconfig.get_build_info()
# Here `compute_90` means the machine code for it, too.
named = build.get("cuda_compute_capabilities", [])
code = [one.replace("compute_", "sm_") for one in named]
_truth.judge(
    _truth.Framework(
        version=tf.__version__,
        cuda=build.get("cuda_version", "") if build["is_cuda_build"] else "",
        cudnn=build.get("cudnn_version", ""),
        architectures=list(dict.fromkeys([*code, *named])),
        library=Path(tf.__file__).parent / "libtensorflow_cc.so.2",
    )
)
