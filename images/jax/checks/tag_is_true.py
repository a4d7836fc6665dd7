"""The tag is true: JAX, Python, CUDA, cuDNN, OS and user are what it says.

needs: nothing
seconds: 120
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _verdict
import jax


def built() -> tuple[str, str]:
    """CUDA and cuDNN that JAX's plugin was built for; empty texts without a plugin."""
    plugins = [
        name
        for name in _tag.distributions()
        if name.startswith("jax-cuda") and name.endswith("-plugin")
    ]
    if not plugins:
        return "", ""
    _verdict.demand(len(plugins) == 1, f"several CUDA plugins are installed: {plugins}")
    versions = import_module(plugins[0].replace("-", "_") + "._versions")
    cuda = _tag.cuda_text(versions.cuda_runtime_build_version())
    return cuda, _tag.cudnn_text(versions.cudnn_build_version())


cuda, cudnn = built()
_tag.judge(_tag.Framework(version=jax.__version__, cuda=cuda, cudnn=cudnn))
