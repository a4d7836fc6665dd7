"""Facts and rules -> what they say about combinations; each set of values is judged once.

Rules that read the same axes are one group: for a combination each group is one look into a
table. So a thousand rules over ten thousand cells cost as many looks as there are groups.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final, get_args

from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.reason import Reason
from dlimg.choose.rules import Axis, Rule

_AXES: Final[tuple[str, ...]] = get_args(Axis)
_FRAMEWORK: Final = _AXES.index("framework")
# Axes whose value is compared as it is; the others are objects of the facts, told by identity.
_OBJECTS: Final = frozenset({"release", "build", "distribution", "gpu", "wheels"})


class _Group:
    """Rules that read the same axes, and what they said of each set of values."""

    def __init__(self, axes: Sequence[str], rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.axes = axes
        places = [_AXES.index(axis) for axis in axes]
        self.of: Callable[[tuple[Any, ...]], tuple[Any, ...]] = itemgetter(*places, _FRAMEWORK)
        self.objects = tuple(n for n, axis in enumerate(axes) if axis in _OBJECTS)
        self.said: dict[tuple[Any, ...], tuple[Reason, ...]] = {}
        # The same by identity, which is the faster question. An identity is good as long as its
        # object lives, so every object that is asked for by it is kept.
        self.quick: dict[tuple[int, ...], tuple[Reason, ...]] = {}
        self.kept: list[tuple[Any, ...]] = []

    def judged(
        self, facts: Facts, one: Combination, all_values: tuple[Any, ...]
    ) -> tuple[Reason, ...]:
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


class Judge:
    """Judges combinations under facts; keep one for many."""

    def __init__(self, facts: Facts, rules: Iterable[Rule]) -> None:
        self.facts = facts
        self.rules: Mapping[str, Rule] = {rule.id: rule for rule in rules}
        groups: dict[tuple[str, ...], list[Rule]] = {}
        for rule in self.rules.values():
            groups.setdefault(rule.reads, []).append(rule)
        self.groups = tuple(_Group(axes, found) for axes, found in groups.items())
        self.fewest_first = sorted(self.groups, key=lambda group: len(group.axes))
        self._values = attrgetter(*_AXES)

    def reasons(self, one: Combination) -> tuple[Reason, ...]:
        """All that the rules say about it, in no order that means something."""
        values = self._values(one)
        names = tuple(map(id, values))
        found: list[Reason] = []
        for group in self.groups:
            said = group.quick.get(group.of(names))
            found += group.judged(self.facts, one, values) if said is None else said
        return tuple(found)

    def excludes(
        self, one: Combination, is_against: Callable[[Reason], bool], without: frozenset[str]
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

    def reads(self, reason: Reason) -> tuple[str, ...]:
        """The axes that the rule behind a reason looked at."""
        return self.rules[reason.rule].reads
