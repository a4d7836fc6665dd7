"""Rules about the image: a Python, a base with the CUDA libraries, a compiler."""

from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.end_of_life import SupportEnd, python_end, system_end
from dlimg.compat.rule_result import RuleResult, against, support, warning
from dlimg.facts.load import Facts
from dlimg.facts.model import CudaFact, Distribution
from dlimg.model import Flavour


def python_source(facts: Facts, one: Combination) -> RuleResult | None:
    """Neither the distribution nor uv has this Python."""
    system, python = one.distribution, one.python.removesuffix("t")
    if system is None or not python:
        return None
    if python == system.python:
        message = f"{system.distribution} has Python {python} as its own"
        sure = system.origin.sure_of("python")
        return support("python-source", message, system.origin.source_of("python"), certain=sure)
    if python in facts.managed:
        message = f"uv has Python {facts.managed[python]}"
        return support("python-source", message, facts.managed_source)
    own = f"{system.distribution} ships Python {system.python}"
    message = f"{own}, uv has no {python}"
    fact = facts.pythons.get(python)
    if fact and fact.obtain:
        message = f"{message} ({fact.obtain})"
    return against("python-source", "image", message, facts.managed_source)


def base_image(facts: Facts, one: Combination) -> RuleResult | None:
    """The wheel brings no CUDA libraries, and no base image has them for this system."""
    if not takes_cuda_from_base(one):
        return None
    fact = facts.cuda.get(one.cuda)
    if fact is None or not fact.image_state:
        return None
    origin, tag = fact.origin, fact.image_tag or one.cuda
    source, sure = origin.source_of("image_state"), origin.sure_of("image_state")
    need = f"{one.framework} {one.version} takes CUDA {one.cuda} from its base image"
    if fact.image_state == "deleted":
        message = f"{need}, and the nvidia/cuda tags of {one.cuda} were deleted"
        return against("base-image", "image", message, source, certain=sure)
    if one.distribution is not None and fact.image_os:
        wrong = _not_for(facts, fact, one.distribution)
        if wrong:
            source = origin.source_of("image_os")
            return against("base-image", "image", f"{need}; {wrong}", source)
    if fact.image_state == "ended":
        message = f"{need}: nvidia/cuda:{tag}-* was still there in {fact.image_seen or 'a list'}"
        return warning("base-image", f"{message}, without support", source, certain=False)
    return support("base-image", f"{need}: nvidia/cuda:{tag}-*", source, certain=sure)


def takes_cuda_from_base(one: Combination) -> bool:
    """Whether the wheel asks for no CUDA wheels although it is built for CUDA."""
    build = one.build
    return (
        build is not None and bool(build.cuda) and not build.pins and one.framework == "tensorflow"
    )


def image_word(system: Distribution) -> str:
    """`ubuntu22.04`, as tags of images have it."""
    return system.distribution.lower().replace(" ", "")


def _not_for(facts: Facts, fact: CudaFact, system: Distribution) -> str:
    name = system.distribution
    if image_word(system) in fact.image_os:
        return ""
    debian = facts.statements.get("image-no-debian")
    if name.startswith("Debian") and debian:
        return f"nvidia/cuda has no images on Debian, only on {', '.join(fact.image_os)}"
    return f"nvidia/cuda:{fact.image_tag or fact.cuda}-* is on {', '.join(fact.image_os)} only"


def compiler_wheel(facts: Facts, one: Combination) -> RuleResult | None:
    """The devel flavour takes nvcc from a wheel, which not every CUDA has."""
    if one.flavour != Flavour.DEVEL or not one.cuda:
        return None
    fact = facts.cuda.get(one.cuda)
    if fact is None or fact.nvcc_wheel:
        return None
    message = f"CUDA {one.cuda} has no wheel with nvcc"
    sure = fact.origin.sure_of("nvcc_wheel")
    return against("compiler-wheel", "image", message, fact.nvcc_source, certain=sure)


def python_life(today: date, facts: Facts, one: Combination) -> RuleResult | None:
    """A Python past its end of life, or near it."""
    return _end("python-life", python_end(facts, one.python, today))


def system_life(today: date, facts: Facts, one: Combination) -> RuleResult | None:
    """A distribution past its end of life, or near it."""
    system = one.distribution
    return _end("system-life", system_end(facts, system.distribution, today)) if system else None


def _end(rule: str, end: SupportEnd | None) -> RuleResult | None:
    return warning(rule, end.words, end.source, certain=end.certain) if end else None
