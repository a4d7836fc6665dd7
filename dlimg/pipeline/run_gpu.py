"""The decision about a run's GPUs, from the options, the machine and the engine."""

from dataclasses import dataclass, replace
from typing import Final

from dlimg.engine.client import Engine
from dlimg.errors import Negative, Problem
from dlimg.model import LocalMachine
from dlimg.run.gpu_access import gpu_access, no_access, stale_cdi
from dlimg.run.model import NO_GPU, GpuAccess, RunRequest

_WITHOUT: Final = "or leave out --gpu and --device: `--cpu` runs without one"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDecision:
    """The GPU access of a run, the machine with its detected GPUs, and notes for the user."""

    access: GpuAccess
    machine: LocalMachine | None = None
    notes: tuple[Problem, ...] = ()


def decide_gpu(request: RunRequest, machine: LocalMachine | None, engine: Engine) -> GpuDecision:
    """Return the GPU access of a run. Raises Negative for `--gpu` where there is none."""
    if request.gpu == "cpu":
        return GpuDecision(access=NO_GPU)
    is_required = request.gpu == "gpu" or bool(request.device)
    if machine is not None and not machine.gpus and not is_required:
        return GpuDecision(access=NO_GPU)
    stale = stale_cdi(engine) if not request.device else None
    access = gpu_access(engine, request.device) if stale is None else NO_GPU
    if access:
        return GpuDecision(access=access, machine=machine)
    findings = machine.findings if machine and not machine.gpus else ()
    problem = stale or no_access(findings)
    if is_required:
        hint = "; ".join(filter(None, (problem.hint, _WITHOUT)))
        message = f"no GPU for this run: {problem.message}"
        raise Negative.of([replace(problem, message=message, hint=hint)])
    return GpuDecision(access=NO_GPU, notes=(problem,))
