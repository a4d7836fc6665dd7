"""The many ways to write a GPU's name -> one."""

import re
from typing import Final

# Words that say who made or sells it, not which chip it is.
_MAKERS: Final = frozenset({"nvidia", "geforce", "tesla", "grid", "gpu", "graphics", "card"})
# What a driver adds about memory, form and place; the same chip has the same capability.
_FORMS: Final = (
    r"[0-9]+g(?:i?b)?|sxm[0-9]*|pcie?|nvl[0-9]*|nvlink|hbm[0-9]e?|mig|laptop|mobile|max|q|design"
    r"|with|generation|pascal|[0-9]+[cq]"
)
# The letter (`sm_90a`, `sm_120f`) is about code, not about the chip.
_CAPABILITY: Final = (
    r"(?:sm|cc|compute)?[_ ]?([0-9]{1,2})\.([0-9])|(?:sm|compute)[_ ]?([0-9]{2,3})[af]?"
)


def plain(name: str) -> str:
    """A name without its maker, spaces, dashes and capitals: `rtx4090`."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(word for word in words if word not in _MAKERS) or "".join(words)


def plainer(name: str) -> str:
    """The same without memory and form: `a100` of `NVIDIA A100-SXM4-80GB`."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    kept = [word for word in words if word not in _MAKERS and not re.fullmatch(_FORMS, word)]
    return "".join(kept)


def capability_named(name: str) -> str:
    """`sm_89` of `sm_89`, `SM89`, `8.9` or `cc 8.9`, `sm_90` of `sm_90a`; empty for a name."""
    found = re.fullmatch(_CAPABILITY, name.strip().lower())
    if not found:
        return ""
    return f"sm_{found[1]}{found[2]}" if found[1] else f"sm_{found[3]}"
