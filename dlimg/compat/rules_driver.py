"""Rules about the driver: native, minor-version compatible, by a compatibility package; or too old.

There is no upper bound: a newer driver runs every older CUDA build. The bounds on the page about
minor-version compatibility name the family that a driver belongs to.
"""

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, against, support, warning
from dlimg.document.versions import driver_numbers, minor, numbers
from dlimg.facts.gpu_code import runs
from dlimg.facts.load import Facts
from dlimg.facts.model import CudaFact, Origin, major


def driver_cuda(facts: Facts, one: Combination) -> RuleResult | None:
    """The driver is older than everything that lets it run this CUDA."""
    fact = facts.cuda.get(one.cuda)
    if fact is None or not one.driver:
        return None
    here = driver_numbers(one.driver)
    who = f"driver {one.driver}" if "." in one.driver else f"the newest driver of R{one.driver}"
    if fact.native_driver and here >= numbers(fact.native_driver):
        message = f"{who} knows CUDA {one.cuda} by itself (from {fact.native_driver} on)"
        return support("driver-cuda", message, fact.origin.source_of("drivers"))
    if here >= numbers(fact.min_driver):
        message = f"{who} runs CUDA {one.cuda} by minor-version compatibility"
        message = f"{message} (from {fact.min_driver} on), which does not cover PTX"
        return support("driver-cuda", message, fact.origin.source_of("min_driver"))
    origin = fact.origin
    if not origin.sure_of("min_driver") and major(one.cuda) in facts.majors:
        # Nobody has confirmed it of this minor; what holds for its whole major holds for it.
        origin = facts.majors[major(one.cuda)].origin
    return _too_old(fact, one, who, origin)


def _too_old(fact: CudaFact, one: Combination, who: str, origin: Origin) -> RuleResult:
    floor = f"CUDA {one.cuda} needs {fact.min_driver} or newer"
    package = f"cuda-compat-{one.cuda.replace('.', '-')}"
    source, sure = origin.source_of("min_driver"), origin.sure_of("min_driver")
    branch = one.driver.split(".", maxsplit=1)[0]
    is_let_through = branch in fact.image_lets_through
    is_datacenter = one.gpu is not None and one.gpu.kind == "datacenter"
    if is_let_through and is_datacenter and one.compat == "possible":
        message = f"{who} is too old ({floor}), but {one.gpu.name if one.gpu else ''} is a"
        message = f"{message} data-centre GPU: with the package {package} in the image it runs"
        return warning("driver-cuda", message, fact.origin.source_of("image_lets_through"))
    message = f"{who} is too old: {floor}; update the driver, or take an older CUDA"
    if is_let_through and is_datacenter:
        message = f"{message}; the package {package} would do, and this image does not have it"
    elif is_let_through and one.gpu is not None:
        message = f"{message}; the package {package} works on data-centre GPUs only"
    return against("driver-cuda", "runtime", message, source, certain=sure)


def driver_jit(facts: Facts, one: Combination) -> RuleResult | None:
    """PTX that only a newer driver compiles: as new as the CUDA that made it."""
    build, gpu = one.build, one.gpu
    if not one.driver or build is None or gpu is None:
        return None
    found = runs(build.architectures, gpu.capability)
    if found is None or not found.is_ptx:
        return None
    made = build.built_for or one.cuda
    fact = facts.cuda.get(minor(made))
    if fact is None:
        return None
    needed = fact.drivers.get(made) or fact.native_driver
    here = driver_numbers(one.driver)
    # One that is too old for CUDA at all is the other rule's.
    if not needed or here < numbers(fact.min_driver):
        return None
    source = fact.origin.source_of("drivers")
    sure = fact.origin.sure_of("drivers") and gpu.origin.sure_of("capability")
    if here >= numbers(needed):
        message = f"driver {one.driver} compiles PTX of CUDA {made} (from {needed} on)"
        return support("driver-jit", message, source)
    message = f"{gpu.name} ({gpu.sm}) must have {found.name} compiled by the driver, and the PTX of"
    message = f"{message} CUDA {made} needs {needed} or newer: {one.driver} is minor-version"
    return against("driver-jit", "runtime", f"{message} compatible only", source, certain=sure)
