"""The tag is true: JAX, Python, CUDA, cuDNN, NCCL, OS, user and labels are what it says.

needs: image
seconds: 120
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _loaded
import _tag
import _truth
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
    cuda = _loaded.cuda_text(versions.cuda_runtime_build_version())
    return cuda, _loaded.cudnn_text(versions.cudnn_build_version())


def library() -> Path:
    """Where GPU code would be: in the plugin, or, without one, in the library that CPUs use."""
    places = sorted({Path(entry).resolve() for entry in sys.path if entry})
    found = [one for top in places for one in top.glob("jax_plugins/xla_cuda*/xla_cuda_plugin.so")]
    return found[0] if found else Path(jax.__file__).parents[1] / "jaxlib" / "libjax_common.so"


cuda, cudnn = built()
# It names no architectures of its own.
_truth.judge(_truth.Framework(version=jax.__version__, cuda=cuda, cudnn=cudnn, library=library()))
