"""GPUs: the spellings of their names, and the code of a wheel that a GPU can run.

A cubin runs on its own compute-capability major, on an equal or higher minor. PTX is compiled by
the driver for any equal or higher capability. `a` (`sm_90a`) binds either to just that capability,
`f` to the family: its major.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

Capability = tuple[int, int]
# Words for the maker or the seller, not for the chip.
_NVIDIA: Final = frozenset({"nvidia", "geforce", "tesla", "grid", "quadro"})
_MAKERS: Final = frozenset({"nvidia", "geforce", "tesla", "grid", "gpu", "graphics", "card"})
# Words of drivers and clouds for memory, form, number and place; the chip is the same.
_FORMS: Final = (
    r"[0-9]+g(?:i?b)?|sxm[0-9]*|pcie?|nvl[0-9]*|nvlink|hbm[0-9]e?|mig|laptop|mobile|max|q|design"
    r"|with|generation|pascal|[0-9]+[abcq]|[0-9]+x|dgx|dgxs|hgx|fhhl|ac|me|shared|vws|mega|embedded"
    r"|blackwell|edition"
)
# The letter (`sm_90a`, `sm_120f`) is about code, not about the chip.
_CAPABILITY: Final = (
    r"(?:sm|cc|compute)?[_ ]?([0-9]{1,2})\.([0-9])|(?:sm|compute)[_ ]?([0-9]{2,3})[af]?"
)
_CODE: Final = re.compile(r"(sm|compute)_([0-9]+)([0-9])([af]?)")


def name_key(name: str) -> str:
    """Return a GPU's name without its maker, spaces, dashes and capitals: `rtx4090`."""
    parts = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(part for part in parts if part not in _MAKERS) or "".join(parts)


def short_name_key(name: str) -> str:
    """Return the key without memory and form: `a100` of `NVIDIA A100-SXM4-80GB`."""
    joined = re.sub(r"([0-9]) +(gi?b)\b", r"\1\2", name.lower())
    joined = re.sub(r"-[0-9](-[0-9]+[abcq])\b", r"\1", joined)  # a virtual GPU of MIG: A100-7-40C
    parts = re.findall(r"[a-z0-9]+", joined)
    chip = [part for part in parts if part not in _MAKERS and not re.fullmatch(_FORMS, part)]
    return "".join(chip)


def names_nvidia(name: str) -> bool:
    """Return whether the name has one of NVIDIA's own words: Tesla M4 is not Apple's M4."""
    return not _NVIDIA.isdisjoint(re.findall(r"[a-z]+", name.lower()))


def capability_in(name: str) -> str:
    """Return `sm_89` of `sm_89`, `SM89`, `8.9` or `cc 8.9`; empty for a name."""
    match = re.fullmatch(_CAPABILITY, name.strip().lower())
    if not match:
        return ""
    return f"sm_{match[1]}{match[2]}" if match[1] else f"sm_{match[3]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCode:
    """One entry of a wheel's list of code."""

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
def code_of(name: str) -> GpuCode | None:
    """Return the code that `sm_90`, `compute_120` or `sm_100f` names; None for other forms."""
    match = _CODE.fullmatch(name)
    if not match:
        return None
    capability = (int(match[2]), int(match[3]))
    return GpuCode(name=name, is_ptx=match[1] == "compute", capability=capability, bound=match[4])


@cache
def capability_of(text: str) -> Capability:
    """Return `8.9` as (8, 9)."""
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def code_for(architectures: Sequence[str], capability: str) -> GpuCode | None:
    """Return the code that this GPU runs: the nearest cubin, else the newest PTX."""
    gpu = capability_of(capability)
    fitting = [code for name in architectures if (code := code_of(name)) and code.runs_on(gpu)]
    return max(fitting, key=lambda code: (not code.is_ptx, code.capability), default=None)


def is_older_than_all(architectures: Sequence[str], capability: str) -> bool:
    """Return whether this GPU is older than every listed architecture, so that PTX cannot help."""
    gpu = capability_of(capability)
    codes = [code for name in architectures if (code := code_of(name))]
    return bool(codes) and all(gpu < code.capability for code in codes)
