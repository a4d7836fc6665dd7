"""Facts and rules -> what they say about combinations; each set of values is judged once.

Rules that read the same axes are one group: for a combination each group is one look into a
table. So a thousand rules over ten thousand cells cost as many looks as there are groups.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.reason import Reason
from dlimg.choose.rules import Rule

# Axes whose value is compared as it is; the others are objects of the facts, told by identity.
_PLAIN: Final = frozenset(
    {"framework", "package", "cuda", "cudnn", "python", "driver", "machine"}
    | {"platform", "flavour", "compat"}
)


class _Group:
    """Rules that read the same axes, and what they said of each set of values."""

    def __init__(self, axes: Sequence[str], rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.values = attrgetter(*axes, "framework")
        self.objects = tuple(n for n, axis in enumerate(axes) if axis not in _PLAIN)
        self.said: dict[tuple[Any, ...], tuple[Reason, ...]] = {}
        # The same by identity, which is the faster question. An identity is good as long as its
        # object lives, so every object that is asked for by it is kept.
        self.quick: dict[tuple[int, ...], tuple[Reason, ...]] = {}
        self.kept: list[object] = []

    def said_of(self, facts: Facts, one: Combination) -> tuple[Reason, ...]:
        values = self.values(one)
        key = tuple(map(id, values))
        found = self.quick.get(key)
        if found is None:
            found = self.quick[key] = self._judged(facts, one, values)
            self.kept.append(values)
        return found

    def _judged(
        self, facts: Facts, one: Combination, values: tuple[Any, ...]
    ) -> tuple[Reason, ...]:
        key = list(values)
        for number in self.objects:
            key[number] = id(values[number])
        found = self.said.get(tuple(key))
        if found is None:
            spoken = (rule.speak(facts, one) for rule in self.rules)
            found = self.said[tuple(key)] = tuple(reason for reason in spoken if reason)
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

    def reasons(self, one: Combination) -> tuple[Reason, ...]:
        """All that the rules say about it, in no order that means something."""
        found: list[Reason] = []
        for group in self.groups:
            found += group.said_of(self.facts, one)
        return tuple(found)

    def reads(self, reason: Reason) -> tuple[str, ...]:
        """The axes that the rule behind a reason looked at."""
        return self.rules[reason.rule].reads
