"""A compiled training step agrees with the same step run eagerly: logits, loss and gradients.

needs: framework, gpu, framework compiler
seconds: 240
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _adapter
import _convolution
import _gpu_work
import _verdict
import numpy as np

ALLOWED = 1e-4  # largest absolute deviation; logits and gradients are of the order of 1


def main(machine: _gpu_work.Machine) -> None:
    framework, device = _gpu_work.begin(machine)
    framework.allow_tf32(allowed=False)
    given = _convolution.problem()
    place = "gpu" if device else "cpu"
    with framework.on(place):
        step = framework.step(given, place, "float32")
        weights = [framework.put(weight, place) for weight in given.weights]
        eager = step(weights)
        result, proof = framework.compile_step(step, weights)
    if device:
        _gpu_work.demand_on_gpu(framework, result[2], machine, "the compiled step's gradients")
    exact = _convolution.logits(given.images, given.weights)
    rows = {
        "logits off NumPy's": _gpu_work.deviation(framework.numpy(result[0]), exact),
        "logits off the eager ones": _off(framework, result[:1], eager[:1]),
        "loss off the eager one": abs(float(result[1]) - float(eager[1])),
        "gradients off the eager ones": _off(framework, result[2], eager[2]),
    }
    _verdict.show(framework=framework.NAME, device=device or "cpu", proof=proof, deviations=rows)
    _verdict.demand(proof, "nothing was compiled: the step ran as it would have anyway")
    _gpu_work.demand_within({f"compiled: {label}": (off, ALLOWED) for label, off in rows.items()})


def _off(framework: _adapter.Adapter, tensors: Iterable[Any], references: Iterable[Any]) -> float:
    pairs = zip(tensors, references, strict=True)
    # np.max keeps a NaN, the built-in max may lose it.
    return float(np.max([_gpu_work.deviation(*map(framework.numpy, pair)) for pair in pairs]))


if __name__ == "__main__":
    main(_gpu_work.this_machine())
