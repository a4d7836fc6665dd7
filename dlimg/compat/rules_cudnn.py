"""Rules about cuDNN: the one that the wheel was built for, the installed one, and the GPU."""

from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, confirm, refuse, warn
from dlimg.compat.wheel_tags import admits
from dlimg.document.versions import begins_with, minor, numbers
from dlimg.facts.gpus import capability_of
from dlimg.facts.load import Facts
from dlimg.facts.model import CudnnFact, GpuFact, ReleaseBuild

_RULE: Final = "cudnn-build"
_RANGE: Final = tuple("<>=~!")


def cudnn_build(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a cuDNN of another major, or older, than the wheel was built for."""
    build, cudnn = combination.build, combination.cudnn
    if build is None or not cudnn or not combination.cuda:
        return None
    wanted, source = built_for(facts, combination, build)
    name = combination.release_name
    if not wanted:
        return _by_other_builds(combination, build)
    if wanted.startswith(_RANGE):
        if admits(wanted, cudnn):
            return confirm(_RULE, f"{name} takes cuDNN {wanted}", source)
        return refuse(_RULE, "runtime", f"{name} takes cuDNN {wanted}, not {cudnn}", source)
    if begins_with(wanted, cudnn) or begins_with(cudnn, wanted):
        return confirm(_RULE, f"{name} is built for cuDNN {wanted}", source)
    return _is_other(name, wanted, cudnn, source)


def _by_other_builds(combination: Combination, build: ReleaseBuild) -> RuleResult:
    """Judge a build of unknown cuDNN: all builds of one release load one major of it."""
    name, release, cudnn = combination.release_name, combination.release, combination.cudnn
    builds = [other for other in release.builds if other.cudnn[:1].isdigit()] if release else []
    if builds and all(numbers(other.cudnn)[:1] != numbers(cudnn)[:1] for other in builds):
        other = builds[0]
        message = f"{name} loads cuDNN {numbers(other.cudnn)[0]} (its build for CUDA {other.cuda}"
        message = f"{message} pins {other.cudnn}), not {cudnn}"
        return refuse(_RULE, "runtime", message, other.origin.source)
    message = f"the cuDNN that {name} ({build.variant}) was built for is not known"
    return warn(_RULE, message, build.origin.source, certain=False)


def _is_other(name: str, wanted: str, cudnn: str, source: str) -> RuleResult:
    if numbers(cudnn)[:1] != numbers(wanted)[:1]:
        message = f"{name} is built for cuDNN {wanted} and loads no cuDNN {cudnn}"
        return refuse(_RULE, "runtime", message, source)
    if numbers(cudnn) < numbers(wanted):
        message = f"{name} is built for cuDNN {wanted} and refuses the older {cudnn}"
        return refuse(_RULE, "runtime", message, source)
    message = f"{name} pins cuDNN {wanted}; it loads the newer {cudnn}, which a resolver refuses"
    return warn(_RULE, message, source)


def built_for(facts: Facts, combination: Combination, build: ReleaseBuild) -> tuple[str, str]:
    """Return the cuDNN that a build pins, or was tested with; and the source of that."""
    tested = facts.tested.get(combination.framework, {}).get(minor(combination.version))
    if build.cudnn or tested is None:
        return build.cudnn, build.origin.source
    return tested.cudnn, tested.origin.source


def cudnn_gpu(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a cuDNN that has dropped this GPU."""
    gpu, build, cudnn = combination.gpu, combination.build, combination.cudnn
    if gpu is None or build is None or not combination.cuda:
        return None
    pin = build.cudnn
    is_range = pin.startswith(_RANGE)
    if pin and not is_range and (not cudnn or begins_with(pin, cudnn)):
        cudnn = pin
    if cudnn and not (is_range and cudnn.count(".") == 0):
        fact = cudnn_fact(facts, cudnn)
        has_dropped = fact and capability_of(gpu.capability) < _oldest(fact)
        return _dropped(fact, cudnn, gpu) if fact and has_dropped else None
    return _range_excludes(facts, gpu, pin) if is_range else None


def cudnn_fact(facts: Facts, version: str) -> CudnnFact | None:
    """Return the row of this cuDNN, or the newest row that holds for it and older ones."""
    rows = [
        fact
        for fact in facts.cudnn.values()
        if begins_with(fact.cudnn, version)
        or (fact.and_newer and numbers(fact.cudnn) <= numbers(version))
    ]
    return max(rows, key=lambda fact: numbers(fact.cudnn), default=None)


def _oldest(fact: CudnnFact) -> tuple[int, int]:
    return (int(fact.sm_min[:-1]), int(fact.sm_min[-1])) if fact.sm_min else (0, 0)


def _dropped(fact: CudnnFact, cudnn: str, gpu: GpuFact) -> RuleResult:
    message = f"cuDNN {cudnn} begins at sm_{fact.sm_min}: {gpu.name} ({gpu.sm}) needs one before"
    certain = fact.origin.sure_of("sm_min") and gpu.origin.sure_of("capability")
    source = fact.origin.source
    return refuse("cudnn-gpu", "runtime", f"{message} {fact.cudnn}", source, certain=certain)


def _range_excludes(facts: Facts, gpu: GpuFact, pin: str) -> RuleResult | None:
    """Refuse a range in which each cuDNN has dropped this GPU; warn if some have."""
    bounds = [fact for fact in facts.cudnn.values() if fact.and_newer]
    for fact in sorted(bounds, key=lambda fact: numbers(fact.cudnn)):
        if capability_of(gpu.capability) >= _oldest(fact):
            continue
        older = any(
            numbers(other.cudnn) < numbers(fact.cudnn) and admits(pin, other.cudnn)
            for other in facts.cudnn.values()
        )
        if not older and not admits(pin, _minor_before(fact.cudnn)):
            return _dropped(fact, pin, gpu)
        message = f"keep cuDNN below {fact.cudnn}: from there on it has no code for {gpu.name}"
        return warn("cudnn-gpu", f"{message} ({gpu.sm})", fact.origin.source)
    return None


def _minor_before(version: str) -> str:
    """Return `9.10` of `9.11`."""
    first, second = numbers(version)[:2]
    return f"{first}.{second - 1}"


def cudnn_cuda(facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of a cuDNN whose support matrix, which ends early, does not name this CUDA."""
    cudnn, cuda = combination.cudnn, combination.cuda
    if not cudnn or not cuda:
        return None
    fact = cudnn_fact(facts, cudnn)
    if fact is None or not fact.cuda:
        return None
    if any(begins_with(cuda, supported) for supported in fact.cuda):
        message = f"cuDNN {fact.cudnn} is for CUDA {', '.join(fact.cuda)}"
        return confirm("cudnn-cuda", message, fact.origin.source)
    message = f"cuDNN {cudnn} is known for CUDA {', '.join(fact.cuda)}, not for {cuda}"
    return warn("cudnn-cuda", message, fact.origin.source, certain=False)
