"""Bounds of dependencies that releases need and do not declare; locks respect them."""

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, warn
from dlimg.compat.rules_numpy import NUMPY_1, built_for_numpy_1
from dlimg.compat.wheel_tags import contains
from dlimg.document.versions import join_with_and
from dlimg.facts.load import Facts
from dlimg.facts.model import DependencyBound


def dependency_bound(facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of a dependency whose newest versions the release does not fit; locks respect it."""
    bounds = bounds_of(facts, combination.framework, combination.version)
    if not bounds:
        return None
    texts = join_with_and(f"{bound.package}{bound.bound} ({bound.why})" for bound in bounds)
    message = f"{combination.release_name} needs {texts} and does not declare it"
    return warn("dependency-bound", message, bounds[0].origin.source)


def bounds_of(facts: Facts, framework: str, version: str) -> tuple[DependencyBound, ...]:
    """Return the bounds of dependencies that hold for a release of a framework."""
    return tuple(
        bound for bound in facts.bounds.get(framework, ()) if contains(bound.versions, version)
    )


def bound_texts(facts: Facts, name: str, version: str) -> tuple[str, ...]:
    """Return the bounds for a release as requirements (`numpy<2`); `name` may be a package."""
    if not version:
        return ()
    bounds = bounds_of(facts, facts.framework_names.get(name, name), version)
    numpy = (NUMPY_1,) if built_for_numpy_1(facts, name, version) else ()
    return (*numpy, *(f"{bound.package}{bound.bound}" for bound in bounds))
