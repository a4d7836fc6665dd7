"""One training step compiled against the same step run eagerly: logits, loss and gradients."""

from collections.abc import Callable
from types import ModuleType

import _convolution
import _verdict
import _work
import numpy as np

ALLOWED = 1e-4  # largest absolute deviation; logits and gradients are of the order of 1

# Of a step and its weights: what the compiled step gives, and a proof that it was (or nothing).
Compile = Callable[[Callable, list], tuple[tuple, str]]


def main(
    name: str,
    compiled: Compile,
    machine: _work.Machine = _work.Machine(),  # noqa: B008 - immutable
) -> None:
    framework, device = _work.begin_anywhere(name, machine)
    framework.allow_tf32(allowed=False)
    given = _convolution.problem()
    place = "gpu" if device else "cpu"
    with framework.on(place):
        step = framework.step(given, place, "float32")
        weights = [framework.put(weight, place) for weight in given.weights]
        eager = step(weights)
        found, proof = compiled(step, weights)
    if device:
        _work.demand_on_gpu(framework, found[2], machine, "the compiled step's gradients")
    exact = _convolution.logits(given.images, given.weights)
    rows = {
        "logits off NumPy's": _work.furthest(framework.numpy(found[0]), exact),
        "logits off the eager ones": _off(framework, found[:1], eager[:1]),
        "loss off the eager one": abs(float(found[1]) - float(eager[1])),
        "gradients off the eager ones": _off(framework, found[2], eager[2]),
    }
    _verdict.show(framework=framework.NAME, device=device or "cpu", proof=proof, deviations=rows)
    _verdict.demand(proof, "nothing was compiled: the step ran as it would have anyway")
    _work.demand_within({f"compiled: {what}": (off, ALLOWED) for what, off in rows.items()})


def _off(framework: ModuleType, these: object, those: object) -> float:
    pairs = zip(these, those, strict=True)
    # np.max keeps a NaN, the built-in max may lose it.
    return float(np.max([_work.furthest(*map(framework.numpy, pair)) for pair in pairs]))
