"""Facts and rules -> what they say about combinations; each set of values is judged once.

Rules that read the same axes are one group: for a combination each group is one look into a
table. So a thousand rules over ten thousand cells cost as many looks as there are groups.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final, Literal, TypeAlias, get_args

from dlimg.compat import rules_cudnn, rules_driver, rules_gpu, rules_image, rules_wheel
from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult
from dlimg.facts.load import Facts

Speak: TypeAlias = Callable[[Facts, Combination], RuleResult | None]
Axis: TypeAlias = Literal[
    "framework",
    "version",
    "package",
    "release",
    "build",
    "cuda",
    "cudnn",
    "python",
    "distribution",
    "gpu",
    "driver",
    "machine",
    "platform",
    "flavour",
    "wheels",
    "compat",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatRule:
    """`speak` may look at the axes in `reads` alone."""

    id: str
    reads: tuple[Axis, ...]
    speak: Speak


def _rule(name: str, speak: Speak, *reads: Axis) -> CompatRule:
    return CompatRule(id=name, reads=reads, speak=speak)


def rules(today: date) -> tuple[CompatRule, ...]:
    """Every rule; those about ends of life need to know the day."""
    wheel, gpu, driver = rules_wheel, rules_gpu, rules_driver
    cudnn, image, life = rules_cudnn, rules_image, rules_image
    return (
        _rule("package-name", wheel.package_name, "release", "package", "build", "cuda", "gpu"),
        _rule("python-wheel", wheel.python_wheel, "release", "build", "python"),
        _rule("platform-tag", wheel.platform_tag, "release", "distribution", "platform"),
        _rule("locked-wheels", wheel.locked_wheels, "wheels", "python", "distribution", "machine"),
        _rule(
            "cuda-build",
            wheel.cuda_build,
            *("release", "build", "cuda", "package", "machine", "gpu", "driver", "wheels"),
        ),
        _rule("cuda-index", wheel.cuda_index, "release", "build", "machine"),
        _rule("python-source", image.python_source, "python", "distribution"),
        _rule("base-image", image.base_image, "release", "build", "cuda", "distribution"),
        _rule("compiler-wheel", image.compiler_wheel, "flavour", "cuda"),
        _rule("gpu-host", gpu.gpu_host, "gpu", "machine"),
        _rule("gpu-code", gpu.gpu_code, "release", "build", "cuda", "gpu"),
        _rule("gpu-cuda", gpu.gpu_cuda, "cuda", "gpu"),
        _rule("gpu-driver", gpu.gpu_driver, "gpu", "driver"),
        _rule("driver-cuda", driver.driver_cuda, "cuda", "gpu", "driver", "compat"),
        _rule("driver-jit", driver.driver_jit, "build", "cuda", "gpu", "driver"),
        _rule("cudnn-build", cudnn.cudnn_build, "release", "build", "cuda", "cudnn"),
        _rule("cudnn-gpu", cudnn.cudnn_gpu, "build", "cuda", "cudnn", "gpu"),
        _rule("cudnn-cuda", cudnn.cudnn_cuda, "cuda", "cudnn"),
        _rule("python-life", partial(life.python_life, today), "python"),
        _rule("system-life", partial(life.system_life, today), "distribution"),
    )


# Those that are about an image alone, whatever it will run on.
OF_AN_IMAGE: Final = frozenset(
    ("python-wheel", "cuda-build", "platform-tag", "python-source", "compiler-wheel")
)


_AXES: Final[tuple[str, ...]] = get_args(Axis)
_FRAMEWORK: Final = _AXES.index("framework")
# Axes whose value is compared as it is; the others are objects of the facts, told by identity.
_OBJECTS: Final = frozenset({"release", "build", "distribution", "gpu", "wheels"})


class _Group:
    """Rules that read the same axes, and what they said of each set of values."""

    def __init__(self, axes: Sequence[str], rules: Sequence[CompatRule]) -> None:
        self.rules = rules
        self.axes = axes
        places = [_AXES.index(axis) for axis in axes]
        self.of: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*places, _FRAMEWORK)
        self.objects = tuple(n for n, axis in enumerate(axes) if axis in _OBJECTS)
        self.said: dict[tuple[Any, ...], tuple[RuleResult, ...]] = {}
        # The same by identity, which is the faster question. An identity is good as long as its
        # object lives, so every object that is asked for by it is kept.
        self.quick: dict[tuple[int, ...], tuple[RuleResult, ...]] = {}
        self.kept: list[tuple[Any, ...]] = []

    def judged(
        self, facts: Facts, one: Combination, all_values: tuple[Any, ...]
    ) -> tuple[RuleResult, ...]:
        """What the rules say about values that were not asked for by identity before."""
        values = self.of(all_values)
        self.kept.append(values)
        key = list(values)
        for number in self.objects:
            key[number] = id(values[number])
        found = self.said.get(tuple(key))
        if found is None:
            spoken = (rule.speak(facts, one) for rule in self.rules)
            found = self.said[tuple(key)] = tuple(reason for reason in spoken if reason)
        self.quick[tuple(map(id, values))] = found
        return found


class RuleEngine:
    """Judges combinations under facts; keep one for many."""

    def __init__(self, facts: Facts, rules: Iterable[CompatRule]) -> None:
        self.facts = facts
        self.rules: Mapping[str, CompatRule] = {rule.id: rule for rule in rules}
        groups: dict[tuple[str, ...], list[CompatRule]] = {}
        for rule in self.rules.values():
            groups.setdefault(rule.reads, []).append(rule)
        self.groups = tuple(_Group(axes, found) for axes, found in groups.items())
        self.fewest_first = sorted(self.groups, key=lambda group: len(group.axes))
        self._values = attrgetter(*_AXES)

    def reasons(self, one: Combination) -> tuple[RuleResult, ...]:
        """All that the rules say about it, in no order that means something."""
        values = self._values(one)
        names = tuple(map(id, values))
        found: list[RuleResult] = []
        for group in self.groups:
            said = group.quick.get(group.of(names))
            found += group.judged(self.facts, one, values) if said is None else said
        return tuple(found)

    def excludes(
        self, one: Combination, is_against: Callable[[RuleResult], bool], without: frozenset[str]
    ) -> bool:
        """Whether a rule is against it that reads none of these axes; the first ends the search.

        Rules of few axes are asked first: what they say of a GPU and a CUDA holds for many.
        """
        values = self._values(one)
        names = tuple(map(id, values))
        for group in self.fewest_first:
            if without.isdisjoint(group.axes):
                said = group.quick.get(group.of(names))
                said = group.judged(self.facts, one, values) if said is None else said
                if any(map(is_against, said)):
                    return True
        return False

    def reads(self, reason: RuleResult) -> tuple[str, ...]:
        """The axes that the rule behind a reason looked at."""
        return self.rules[reason.rule].reads
