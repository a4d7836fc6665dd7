"""Rules about NumPy: a framework that was built against NumPy 1 does not work with NumPy 2."""

from typing import Final, NamedTuple

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult, confirm, warn
from dlimg.document.versions import numbers
from dlimg.facts.load import Facts
from dlimg.model import Lock

NUMPY: Final = "numpy"
NUMPY_1: Final = "numpy<2"
NUMPY_RELEASE: Final = "numpy-release"
_FIRST_OF_2: Final = (2,)


class BuiltForNumpy1(NamedTuple):
    """A framework's package that was built against NumPy 1; `since` is the first for NumPy 2."""

    package: str
    version: str
    since: str
    source: str
    certain: bool

    @property
    def message(self) -> str:
        return f"{self.package} {self.version} was built against NumPy 1"


def built_for_numpy_1(facts: Facts, package: str, version: str) -> BuiltForNumpy1 | None:
    """Return a package of a framework if its release is older than those for NumPy 2."""
    framework = facts.frameworks.get(facts.framework_names.get(package, package))
    since = framework.numpy2_since if framework else ""
    if framework is None or not since or numbers(version) >= numbers(since):
        return None
    origin = framework.origin.of("numpy2_since")
    return BuiltForNumpy1(package, version, since, origin.source, origin.certain)


def is_numpy_2(lock: Lock) -> bool:
    return numbers(lock.version_of(NUMPY)) >= _FIRST_OF_2


def locked_for_numpy_1(facts: Facts, lock: Lock) -> BuiltForNumpy1 | None:
    """Return a locked framework that was built against NumPy 1 if NumPy 2 is locked with it."""
    if not is_numpy_2(lock):
        return None
    old = (built_for_numpy_1(facts, wheel.name, wheel.version) for wheel in lock.wheels)
    return next(filter(None, old), None)


def numpy_release(facts: Facts, combination: Combination) -> RuleResult | None:
    """Warn of NumPy 2 with a release that was built against NumPy 1."""
    lock = combination.wheels
    old = built_for_numpy_1(facts, combination.framework, combination.version)
    if combination.release is None or old is None:
        return None
    locked = lock.version_of(NUMPY) if lock else ""
    if lock and not is_numpy_2(lock):
        has = f"the lock has NumPy {locked}" if locked else "the lock has no NumPy"
        return confirm(NUMPY_RELEASE, f"{old.message}; {has}", old.source, certain=old.certain)
    has = f", the lock has NumPy {locked}" if locked else ""
    message = (
        f"{old.message} ({old.since} is the first for NumPy 2){has}: ask for {NUMPY_1} with it"
    )
    return warn(NUMPY_RELEASE, message, old.source, certain=old.certain)
