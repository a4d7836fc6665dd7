"""Which code of a wheel a GPU can run: machine code (cubin) of its major, or PTX of an older one.

A cubin runs on its own compute-capability major, on an equal or higher minor. PTX is compiled by
the driver for any equal or higher capability. `a` (`sm_90a`) binds either to just that capability,
`f` to the family: its major.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

_NAME: Final = re.compile(r"(sm|compute)_([0-9]+)([0-9])([af]?)")
Capability = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCode:
    """One entry of a wheel's list, read."""

    name: str
    is_ptx: bool
    capability: Capability
    bound: str

    def runs_on(self, capability: Capability) -> bool:
        if self.bound == "a":
            return capability == self.capability
        same_major = capability[0] == self.capability[0]
        if not same_major and (self.bound == "f" or not self.is_ptx):
            return False
        return capability >= self.capability


@cache
def code(name: str) -> GpuCode | None:
    """`sm_90`, `compute_120`, `sm_100f`; None for a name of no known form."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    capability = (int(found[2]), int(found[3]))
    return GpuCode(name=name, is_ptx=found[1] == "compute", capability=capability, bound=found[4])


@cache
def capability_of(text: str) -> Capability:
    """`8.9` as (8, 9)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def runs(architectures: Sequence[str], capability: str) -> GpuCode | None:
    """The code that this GPU runs: the nearest cubin, else the newest PTX; None for neither."""
    here = capability_of(capability)
    found = [one for name in architectures if (one := code(name)) and one.runs_on(here)]
    return max(found, key=lambda one: (not one.is_ptx, one.capability), default=None)


def is_older_than_all(architectures: Sequence[str], capability: str) -> bool:
    """Whether this GPU lies below everything in the list: then no PTX can help either."""
    here = capability_of(capability)
    known = [one for name in architectures if (one := code(name))]
    return bool(known) and all(here < one.capability for one in known)
