"""Training in float32, TF32 and bfloat16 on the GPU agrees with the CPU, as far as each can.

The problem is that of `_convolution`. Convolutions and the matrix are computed in the precision
under trial; weights, sums over images and the loss stay in float32, as mixed precision has it.

needs: framework, gpu
seconds: 180
applies: cuda
"""

import sys
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _convolution
import _gpu_work
import _verdict
import numpy as np

FALL = 10.0  # the last loss is at most the first one divided by this


class Mode(NamedTuple):
    """A precision, and what it allows: of logits absolutely, of losses relatively."""

    kind: str
    tf32: bool
    logits: float
    losses: float
    rounds: float = 0.0  # the least that the logits have to be off: it is rounded, after all


MODES = {
    "float32": Mode("float32", tf32=False, logits=1e-4, losses=1e-3),
    "tf32": Mode("float32", tf32=True, logits=5e-3, losses=3e-2),
    "bfloat16": Mode("bfloat16", tf32=False, logits=5e-2, losses=1e-1, rounds=1e-4),
}


def main(machine: _gpu_work.Machine) -> None:
    framework, device = _gpu_work.begin_on_gpu(machine)
    given = _convolution.problem()

    framework.allow_tf32(allowed=False)
    cpu = _convolution.train_on(framework, given, "cpu", "float32")
    runs = {}
    for title, mode in MODES.items():
        framework.allow_tf32(allowed=mode.tf32)
        runs[title] = _convolution.train_on(framework, given, "gpu", mode.kind)
        _gpu_work.demand_on_gpu(framework, runs[title].tensors, machine, f"the weights of {title}")
    judge(given, cpu, runs, device)


def judge(
    given: _convolution.Problem,
    cpu: _convolution.Training,
    runs: dict[str, _convolution.Training],
    device: str,
) -> None:
    """Show the figures of these runs, then fail unless each keeps its mode's tolerances."""
    exact = _convolution.logits(given.images, given.weights)
    rows = {"cpu: logits off NumPy's": (_gpu_work.deviation(cpu.logits, exact), 1e-4)}
    for title, run in runs.items():
        ratios = np.divide(run.losses, cpu.losses)
        logits, losses = MODES[title].logits, MODES[title].losses
        rows[f"{title}: logits off NumPy's"] = _gpu_work.deviation(run.logits, exact), logits
        rows[f"{title}: losses off the CPU's"] = float(np.max(np.abs(ratios - 1))), losses
    _verdict.show(
        device=device,
        losses={title: [run.losses[0], run.losses[-1]] for title, run in runs.items()},
        seconds={title: round(run.seconds, 3) for title, run in runs.items()},
        deviations={label: off for label, (off, _) in rows.items()},
    )
    _gpu_work.demand_within(rows)
    for title, run in runs.items():
        first, last = run.losses[0], run.losses[-1]
        _verdict.demand(last * FALL <= first, f"{title}: the loss went from {first} to {last}")
        off, least = rows[f"{title}: logits off NumPy's"][0], MODES[title].rounds
        _verdict.demand(off >= least, f"{title}: logits off by {off:.3g} only: nothing is rounded")


if __name__ == "__main__":
    main(_gpu_work.this_machine())
