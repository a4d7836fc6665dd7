"""Rules over combinations; each set of values is judged once.

Rules that read the same axes form a group: for a combination each group is one look into a table.
A thousand rules over ten thousand cells cost as many look-ups as there are groups.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

from dlimg.compat import rules_bounds, rules_cudnn, rules_gpu, rules_image, rules_numpy, rules_wheel
from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult
from dlimg.facts.load import Facts

Check: TypeAlias = Callable[[Facts, Combination], RuleResult | None]
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
    "arch",
    "platform",
    "flavour",
    "wheels",
    "compat",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatRule:
    """A rule: `check` may read only the axes in `reads`, and the framework."""

    id: str
    reads: tuple[Axis, ...]
    check: Check


def _rule(name: str, check: Check, *reads: Axis) -> CompatRule:
    return CompatRule(id=name, reads=reads, check=check)


def rules(today: date) -> tuple[CompatRule, ...]:
    """Return every rule; `today` is for those about ends of life."""
    wheel, gpu, cudnn, image = rules_wheel, rules_gpu, rules_cudnn, rules_image
    return (
        _rule("package-name", wheel.package_name, "release", "package", "build", "cuda", "gpu"),
        _rule("python-wheel", wheel.python_wheel, "release", "build", "python"),
        _rule("platform-tag", wheel.platform_tag, "release", "distribution", "platform"),
        _rule("locked-wheels", wheel.locked_wheels, "wheels", "python", "distribution", "arch"),
        _rule(
            "cuda-build",
            wheel.cuda_build,
            *("release", "build", "cuda", "package", "arch", "gpu", "driver", "wheels"),
        ),
        _rule("pinned-wheels", wheel.pinned_wheels, "build", "version", "python"),
        _rule("numpy-release", rules_numpy.numpy_release, "release", "version", "wheels"),
        _rule("dependency-bound", rules_bounds.dependency_bound, "version"),
        _rule("cuda-index", wheel.cuda_index, "release", "build", "arch"),
        _rule("python-source", image.python_source, "python", "distribution"),
        _rule("base-image", image.base_image, "release", "build", "cuda", "distribution"),
        _rule("compiler-wheel", image.compiler_wheel, "flavour", "cuda"),
        _rule("gpu-host", gpu.gpu_host, "gpu", "arch"),
        _rule(
            "gpu-unused",
            gpu.gpu_unused,
            *("version", "release", "build", "cuda", "gpu", "driver", "arch"),
        ),
        _rule("gpu-code", gpu.gpu_code, "release", "build", "cuda", "gpu"),
        _rule("gpu-cuda", gpu.gpu_cuda, "cuda", "gpu"),
        _rule("gpu-driver", gpu.gpu_driver, "gpu", "driver"),
        _rule("driver-cuda", gpu.driver_cuda, "cuda", "gpu", "driver", "compat"),
        _rule("driver-jit", gpu.driver_jit, "build", "cuda", "gpu", "driver"),
        _rule("cudnn-build", cudnn.cudnn_build, "release", "build", "cuda", "cudnn"),
        _rule("cudnn-gpu", cudnn.cudnn_gpu, "build", "cuda", "cudnn", "gpu"),
        _rule("cudnn-cuda", cudnn.cudnn_cuda, "cuda", "cudnn"),
        _rule("python-life", partial(image.python_life, today), "python"),
        _rule("system-life", partial(image.system_life, today), "distribution"),
    )


_FRAMEWORK: Final = Combination._fields.index("framework")


class _RuleGroup:
    """Rules that read the same axes, and their results for each set of values."""

    def __init__(self, axes: Sequence[str], rules: Sequence[CompatRule]) -> None:
        self.rules = rules
        self.axes = axes
        positions = [Combination._fields.index(axis) for axis in axes]
        self.values_of: Callable[[Combination], tuple[Any, ...]]
        self.values_of = itemgetter(*positions, _FRAMEWORK)
        self.results: dict[tuple[Any, ...], tuple[RuleResult, ...]] = {}

    def check(self, facts: Facts, combination: Combination) -> tuple[RuleResult, ...]:
        values = self.values_of(combination)
        results = self.results.get(values)
        if results is None:
            checked = (rule.check(facts, combination) for rule in self.rules)
            results = self.results[values] = tuple(result for result in checked if result)
        return results


class RuleEngine:
    """Judges combinations under facts; use one engine for many combinations."""

    def __init__(self, facts: Facts, rules: Iterable[CompatRule]) -> None:
        self.facts = facts
        self.rules: Mapping[str, CompatRule] = {rule.id: rule for rule in rules}
        groups: dict[tuple[str, ...], list[CompatRule]] = {}
        for rule in self.rules.values():
            groups.setdefault(rule.reads, []).append(rule)
        self.groups = tuple(_RuleGroup(axes, members) for axes, members in groups.items())
        self.fewest_axes_first = sorted(self.groups, key=lambda group: len(group.axes))

    def reasons(self, combination: Combination) -> tuple[RuleResult, ...]:
        """Return the results of the rules for the combination, in no particular order."""
        return tuple(self._reasons(combination))

    def _reasons(self, combination: Combination) -> Iterator[RuleResult]:
        for group in self.groups:
            yield from group.check(self.facts, combination)

    def refuses_regardless_of(
        self,
        axes: frozenset[str],
        combination: Combination,
        is_against: Callable[[RuleResult], bool],
    ) -> bool:
        """Return whether a rule that reads none of these axes refuses the combination.

        Rules with few axes come first: their result for a GPU and a CUDA holds for many
        combinations.
        """
        return any(
            any(map(is_against, group.check(self.facts, combination)))
            for group in self.fewest_axes_first
            if axes.isdisjoint(group.axes)
        )

    def reads(self, result: RuleResult) -> tuple[str, ...]:
        """Return the axes that the rule behind a result reads."""
        return self.rules[result.rule].reads
