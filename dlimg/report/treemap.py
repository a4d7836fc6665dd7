"""Amounts to rectangles whose areas they are, as square as may be.

The method is that of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000): a row along the
shorter side takes amounts as long as that makes its rectangles more square.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle; `x` and `y` are of its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def boxes(amounts: Sequence[float], within: Box) -> tuple[Box, ...]:
    """A rectangle for each amount, in their order; amounts are positive, the largest first."""
    total = sum(amounts)
    if not total:
        return ()
    scale = within.width * within.height / total
    areas = [amount * scale for amount in amounts]
    found: list[Box] = []
    left = within
    while areas:
        side = min(left.width, left.height)
        count = _row(areas, side)
        row, left = _laid(areas[:count], left)
        found += row
        areas = areas[count:]
    return tuple(found)


def _row(areas: Sequence[float], side: float) -> int:
    """How many of the first areas make the squarest row along a side."""
    best, count = _worst(areas[:1], side), 1
    while count < len(areas):
        worse = _worst(areas[: count + 1], side)
        if worse > best:
            break
        best, count = worse, count + 1
    return count


def _worst(areas: Sequence[float], side: float) -> float:
    """The ratio of the sides of the least square rectangle of a row."""
    depth = sum(areas) / side
    return max(max(depth * depth / area, area / (depth * depth)) for area in areas)


def _laid(areas: Sequence[float], within: Box) -> tuple[list[Box], Box]:
    """The rectangles of a row, and the room that is left."""
    is_wide = within.width >= within.height
    side = within.height if is_wide else within.width
    depth = sum(areas) / side
    found = []
    at = 0.0
    for area in areas:
        length = area / depth
        found.append(
            Box(x=within.x, y=within.y + at, width=depth, height=length)
            if is_wide
            else Box(x=within.x + at, y=within.y, width=length, height=depth)
        )
        at += length
    if is_wide:
        rest = Box(
            x=within.x + depth,
            y=within.y,
            width=max(0.0, within.width - depth),
            height=within.height,
        )
    else:
        rest = Box(
            x=within.x,
            y=within.y + depth,
            width=within.width,
            height=max(0.0, within.height - depth),
        )
    return found, rest
