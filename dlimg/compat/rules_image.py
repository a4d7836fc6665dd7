"""Rules about the image: a Python, a base with the CUDA libraries, a compiler."""

from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.end_of_life import SupportEnd, python_end, system_end
from dlimg.compat.rule_result import RuleResult, confirm, refuse, warn
from dlimg.facts.load import Facts
from dlimg.facts.model import CudaFact, Distribution
from dlimg.model import Flavour


def python_source(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a Python that neither the distribution nor uv has, and free-threaded ones."""
    system, python = combination.distribution, combination.python
    if system is None or not python:
        return None
    if python.endswith("t"):
        message = f"no image is built with a free-threaded Python ({python})"
        message = f"{message}: take {python.removesuffix('t')}"
        return refuse("python-source", "image", message, facts.managed_source)
    if python == system.python:
        message = f"{system.distribution} has Python {python} as its own"
        origin = system.origin.of("python")
        return confirm("python-source", message, origin.source, certain=origin.certain)
    if python in facts.managed:
        message = f"uv has Python {facts.managed[python]}"
        return confirm("python-source", message, facts.managed_source)
    message = f"{system.distribution} ships Python {system.python}, uv has no {python}"
    fact = facts.pythons.get(python)
    if fact and fact.obtain:
        message = f"{message} ({fact.obtain})"
    return refuse("python-source", "image", message, facts.managed_source)


def base_image(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse a wheel without CUDA libraries if no base image has them for this system."""
    build, system = combination.build, combination.distribution
    if build is None or not build.uses_system_cuda:
        return None
    fact = facts.cuda.get(combination.cuda)
    if fact is None or not fact.image_state:
        return None
    tag, origin = fact.image_tag or fact.cuda, fact.origin.of("image_state")
    need = f"{combination.release_name} takes CUDA {fact.cuda} from its base image"
    if fact.image_state == "deleted":
        message = f"{need}, and the nvidia/cuda tags of {fact.cuda} were deleted"
        return refuse("base-image", "image", message, origin.source, certain=origin.certain)
    if system is not None and fact.image_os and image_word(system) not in fact.image_os:
        source = fact.origin.source_of("image_os")
        message = f"{need}; {_systems_with_image(facts, fact, system)}"
        return refuse("base-image", "image", message, source)
    if fact.image_state == "ended":
        message = f"{need}: nvidia/cuda:{tag}-* still existed in {fact.image_seen or 'a list'}"
        message = f"{message}, without support"
        return warn("base-image", message, origin.source, certain=False)
    message = f"{need}: nvidia/cuda:{tag}-*"
    return confirm("base-image", message, origin.source, certain=origin.certain)


def image_word(system: Distribution) -> str:
    """Return `ubuntu22.04`, as tags of images have it."""
    return system.distribution.lower().replace(" ", "")


def _systems_with_image(facts: Facts, fact: CudaFact, system: Distribution) -> str:
    systems = ", ".join(fact.image_os)
    if system.distribution.startswith("Debian") and "image-no-debian" in facts.statements:
        return f"nvidia/cuda has no images on Debian, only on {systems}"
    return f"nvidia/cuda:{fact.image_tag or fact.cuda}-* is on {systems} only"


def compiler_wheel(facts: Facts, combination: Combination) -> RuleResult | None:
    """Refuse the devel flavour, which takes nvcc from a wheel, if this CUDA has none."""
    if combination.flavour != Flavour.DEVEL or not combination.cuda:
        return None
    fact = facts.cuda.get(combination.cuda)
    if fact is None or fact.nvcc_wheel:
        return None
    message = f"CUDA {combination.cuda} has no wheel with nvcc"
    certain = fact.origin.sure_of("nvcc_wheel")
    return refuse("compiler-wheel", "image", message, fact.nvcc_source, certain=certain)


def python_life(today: date, facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of a Python past its end of life, or near it."""
    return _end("python-life", python_end(facts, combination.python, today))


def system_life(today: date, facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of a distribution past its end of life, or near it."""
    system = combination.distribution
    return _end("system-life", system_end(facts, system.distribution, today)) if system else None


def _end(rule: str, end: SupportEnd | None) -> RuleResult | None:
    return warn(rule, end.message, end.source, certain=end.certain) if end else None
