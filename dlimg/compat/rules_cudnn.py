"""Rules about cuDNN: the one that the wheel was built for, the one that is there, and the GPU."""

from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, against, support, warning
from dlimg.compat.wheel_tags import admits
from dlimg.document.versions import begins, minor, numbers
from dlimg.facts.gpu_code import capability_of
from dlimg.facts.load import Facts
from dlimg.facts.model import CudnnFact, ReleaseBuild

_RULE: Final = "cudnn-build"


def cudnn_build(facts: Facts, one: Combination) -> RuleResult | None:
    """The framework does not load this cuDNN: another major, or older than it was built for."""
    build, there = one.build, one.cudnn
    if build is None or not there or not one.cuda:
        return None
    wanted, source = built_for(facts, one, build)
    name = f"{one.framework} {one.version}"
    if not wanted:
        return _by_siblings(one, build, there)
    if wanted[0] in "<>=~!":
        return _ranged(name, wanted, there, source)
    if begins(wanted, there) or begins(there, wanted):
        return support(_RULE, f"{name} is built for cuDNN {wanted}", source)
    return _unlike(name, wanted, there, source)


def _by_siblings(one: Combination, build: ReleaseBuild, there: str) -> RuleResult:
    """Nobody has looked into this build; all builds of one release load one major of cuDNN."""
    name, release = f"{one.framework} {one.version}", one.release
    known = [other for other in release.builds if other.cudnn[:1].isdigit()] if release else []
    if known and all(numbers(other.cudnn)[:1] != numbers(there)[:1] for other in known):
        other = known[0]
        message = f"{name} loads cuDNN {numbers(other.cudnn)[0]} (its build for CUDA {other.cuda}"
        message = f"{message} pins {other.cudnn}), not {there}"
        return against(_RULE, "runtime", message, other.origin.source)
    message = f"nobody has looked which cuDNN {name} ({build.variant}) was built for"
    return warning(_RULE, message, build.origin.source, certain=False)


def _unlike(name: str, wanted: str, there: str, source: str) -> RuleResult:
    if numbers(there)[:1] != numbers(wanted)[:1]:
        message = f"{name} is built for cuDNN {wanted} and loads no cuDNN {there}"
        return against(_RULE, "runtime", message, source)
    if numbers(there) < numbers(wanted):
        message = f"{name} is built for cuDNN {wanted} and refuses the older {there}"
        return against(_RULE, "runtime", message, source)
    message = f"{name} pins cuDNN {wanted}; it loads the newer {there}, which a resolver refuses"
    return warning(_RULE, message, source)


def built_for(facts: Facts, one: Combination, build: ReleaseBuild) -> tuple[str, str]:
    """The cuDNN that a build pins, or was tested with where it pins none; and who says so."""
    tested = facts.tested.get(minor(one.version)) if one.framework == "tensorflow" else None
    if build.cudnn or tested is None:
        return build.cudnn, build.origin.source
    return tested.cudnn, tested.origin.source


def _ranged(name: str, wanted: str, there: str, source: str) -> RuleResult:
    if admits(wanted, there):
        return support(_RULE, f"{name} takes cuDNN {wanted}", source)
    return against(_RULE, "runtime", f"{name} takes cuDNN {wanted}, not {there}", source)


def cudnn_gpu(facts: Facts, one: Combination) -> RuleResult | None:
    """A GPU that cuDNN itself has dropped."""
    gpu, build = one.gpu, one.build
    if gpu is None or build is None or not one.cuda:
        return None
    pin = build.cudnn
    is_range = pin[:1] in tuple("<>=~!")
    there = one.cudnn
    if pin and not is_range and (not there or begins(pin, there)):
        there = pin
    here = capability_of(gpu.capability)
    if there and not (is_range and there.count(".") == 0):
        fact = cudnn_fact(facts, there)
        return _dropped(fact, there, one) if fact and here < _oldest(fact) else None
    if is_range:
        return _narrowed(facts, one, pin)
    return None


def cudnn_fact(facts: Facts, version: str) -> CudnnFact | None:
    """What is said of this cuDNN: in its own row, or of all from an older one on."""
    found = [
        fact
        for fact in facts.cudnn.values()
        if begins(fact.cudnn, version)
        or (fact.and_newer and numbers(fact.cudnn) <= numbers(version))
    ]
    return max(found, key=lambda fact: numbers(fact.cudnn), default=None)


def _oldest(fact: CudnnFact) -> tuple[int, int]:
    return (int(fact.sm_min[:-1]), int(fact.sm_min[-1])) if fact.sm_min else (0, 0)


def _dropped(fact: CudnnFact, there: str, one: Combination) -> RuleResult:
    gpu = one.gpu
    name = f"{gpu.name} ({gpu.sm})" if gpu else ""
    message = f"cuDNN {there} begins at sm_{fact.sm_min}: {name} needs one before {fact.cudnn}"
    sure = fact.origin.sure_of("sm_min") and bool(gpu and gpu.origin.sure_of("capability"))
    return against("cudnn-gpu", "runtime", message, fact.origin.source, certain=sure)


def _narrowed(facts: Facts, one: Combination, pin: str) -> RuleResult | None:
    """A range that takes cuDNNs which have dropped this GPU, and whether it leaves any other."""
    gpu = one.gpu
    drops = [fact for fact in facts.cudnn.values() if fact.and_newer]
    for fact in sorted(drops, key=lambda fact: numbers(fact.cudnn)):
        if gpu is None or capability_of(gpu.capability) >= _oldest(fact):
            continue
        older = [
            other.cudnn
            for other in facts.cudnn.values()
            if numbers(other.cudnn) < numbers(fact.cudnn) and admits(pin, other.cudnn)
        ]
        if not older and not admits(pin, _before(fact.cudnn)):
            return _dropped(fact, pin, one)
        message = f"keep cuDNN below {fact.cudnn}: from there on it has no code for {gpu.name}"
        return warning("cudnn-gpu", f"{message} ({gpu.sm})", fact.origin.source)
    return None


def _before(version: str) -> str:
    """The minor before this one: `9.10` of `9.11`."""
    first, second = numbers(version)[:2]
    return f"{first}.{second - 1}"


def cudnn_cuda(facts: Facts, one: Combination) -> RuleResult | None:
    """A cuDNN whose own table does not name this CUDA. The tables end early, so this only warns."""
    if not one.cudnn or not one.cuda:
        return None
    fact = cudnn_fact(facts, one.cudnn)
    if fact is None or not fact.cuda:
        return None
    if any(begins(one.cuda, named) for named in fact.cuda):
        message = f"cuDNN {fact.cudnn} is for CUDA {', '.join(fact.cuda)}"
        return support("cudnn-cuda", message, fact.origin.source)
    message = f"cuDNN {one.cudnn} is known for CUDA {', '.join(fact.cuda)}, not for {one.cuda}"
    return warning("cudnn-cuda", message, fact.origin.source, certain=False)
