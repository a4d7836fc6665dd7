"""Pins of plain versions (digits and dots), which are judged without `packaging`.

All of them that the facts hold are such, and to import `packaging` costs more than `list` needs.
"""

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne
from typing import Final, TypeAlias

Numbers: TypeAlias = tuple[int, ...]
_PART: Final = re.compile(r"\s*(<=|>=|==|!=|~=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?\s*")
_COMPARED: Final[Mapping[str, Callable[[Numbers, Numbers], bool]]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "==": eq,
    "!=": ne,
}


def admits_plain(pin: str, version: str) -> bool | None:
    """Whether a specifier takes a version; None where either is more than digits and dots."""
    parts = [_PART.fullmatch(part) for part in pin.split(",")]
    if not all(number.isdecimal() for number in version.split(".")):
        return None
    asked = tuple(map(int, version.split(".")))
    answers = [_admits(part, asked) if part else None for part in parts]
    return None if None in answers else all(answers)


def _admits(part: re.Match[str], asked: Numbers) -> bool | None:
    sign, text, star = part.groups()
    wanted = tuple(map(int, text.split(".")))
    if sign == "~=":
        if star or len(wanted) == 1:
            return None
        return _compared(ge, asked, wanted) and _compared(eq, asked[: len(wanted) - 1], wanted[:-1])
    if star:
        if sign not in {"==", "!="}:
            return None
        padded = asked + (0,) * (len(wanted) - len(asked))
        return _COMPARED[sign](padded[: len(wanted)], wanted)
    return _compared(_COMPARED[sign], asked, wanted)


def _compared(by: Callable[[Numbers, Numbers], bool], left: Numbers, right: Numbers) -> bool:
    """With as many parts on both sides: 13 is 13.0."""
    most = max(len(left), len(right))
    return by(left + (0,) * (most - len(left)), right + (0,) * (most - len(right)))
