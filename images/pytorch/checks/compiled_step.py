"""A training step compiled by torch.compile agrees with the same step run eagerly.

needs: gpu, compiler
seconds: 240
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _compiled_step
import _verdict


def compiled(step: Callable, weights: list) -> tuple[tuple, str]:
    """What the step gives, and what of it was compiled: Triton's kernels, or C++ on a CPU."""
    import torch

    compilers = ("g++", "clang++", os.environ.get("CXX", ""))
    _verdict.demand(any(map(shutil.which, compilers)), "torch.compile finds no C++ compiler here")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        os.environ["TRITON_CACHE_DIR"] = str(Path(folder, "triton"))
        found = torch.compile(step)(weights)
        kind = ".cubin" if found[0].is_cuda else ".so"
        count = sum(file.suffix == kind for file in Path(folder).rglob("*"))
    return found, f"{count} {kind} files" if count else ""


if __name__ == "__main__":
    _compiled_step.main("_pytorch", compiled)
