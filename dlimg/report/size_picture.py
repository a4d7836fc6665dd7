"""The picture of all layers: a squarified treemap as SVG."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from dlimg.assembly.size_estimate import LayerEstimate
from dlimg.pipeline.sizes import ImageSize, MatrixSizes
from dlimg.report.size_text import ESTIMATED, layer_text, others_text, size_text, total_text
from dlimg.store.image_manifest import LayerRank
from dlimg.units import bytes_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle; `x` and `y` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float


def tile_boxes(amounts: Sequence[float], within: Box) -> tuple[Box, ...]:
    """Return a rectangle for each amount, in order; amounts are positive, the largest first."""
    total = sum(amounts)
    if not total:
        return ()
    scale = within.width * within.height / total
    areas = [amount * scale for amount in amounts]
    result: list[Box] = []
    remaining = within
    while areas:
        side = min(remaining.width, remaining.height)
        count = _row_length(areas, side)
        row, remaining = _place_row(areas[:count], remaining)
        result += row
        areas = areas[count:]
    return tuple(result)


def _row_length(areas: Sequence[float], side: float) -> int:
    """Return the number of first areas that make the squarest row along a side."""
    best, count = _worst_ratio(areas[:1], side), 1
    while count < len(areas):
        worse = _worst_ratio(areas[: count + 1], side)
        if worse > best:
            break
        best, count = worse, count + 1
    return count


def _worst_ratio(areas: Sequence[float], side: float) -> float:
    """Return the side ratio of the least square rectangle of a row."""
    depth = sum(areas) / side
    return max(max(depth * depth / area, area / (depth * depth)) for area in areas)


def _place_row(areas: Sequence[float], within: Box) -> tuple[list[Box], Box]:
    """Return the rectangles of a row, and the remaining rectangle."""
    is_wide = within.width >= within.height
    side = within.height if is_wide else within.width
    depth = sum(areas) / side
    row = []
    offset = 0.0
    for area in areas:
        length = area / depth
        row.append(
            Box(x=within.x, y=within.y + offset, width=depth, height=length)
            if is_wide
            else Box(x=within.x + offset, y=within.y, width=length, height=depth)
        )
        offset += length
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
    return row, rest


WIDTH: Final = 1200
HEIGHT: Final = 800
EDGE: Final = 20
TOP: Final = 104
HEAD: Final = 20
# Mean width of a character, in its size, for a wide font, plain and bold; others leave room.
WIDE: Final = 0.63
BOLD: Final = 0.69
# Layers that would be smaller than this, in square pixels, are drawn together.
TINY: Final = 500.0
# What is thinner than this would be a line.
VISIBLE: Final = 3.0
SMALLEST: Final = 8.0
LARGEST: Final = 14.0
# A name that is cut to fewer characters is useless.
TELLING: Final = 9
# From so many images on, the colour's class; white can be read on each of them.
STEPS: Final = ((16, "e"), (8, "d"), (4, "c"), (2, "b"), (1, "a"))
STYLE: Final = """\
.g{fill:#f6f8fa}.t{fill:#1f2328}.s{fill:#59636e}.l{fill:#d1d9e0}
.a{fill:#656d78}.b{fill:#2f6fb0}.c{fill:#1b7a6b}.d{fill:#6b46b8}.e{fill:#a12a72}
.w{fill:#fff}text{font-family:system-ui,"Segoe UI","DejaVu Sans",sans-serif}
@media(prefers-color-scheme:dark){.g{fill:#161b22}.t{fill:#f0f6fc}.s{fill:#9198a1}.l{fill:#3d444d}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """One area of the picture: a layer, or several small ones."""

    size: int
    name: str
    title: str
    images: int
    exact: bool


def picture(images: Sequence[ImageSize]) -> str:
    """Return the SVG of these images' layers, grouped by content, coloured by number of images."""
    sizes = MatrixSizes(images=tuple(images))
    parts = [*_head(images), *_areas(sizes)]
    label = escape(total_text(images), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{label}">\n'
        f"<style>\n{STYLE}</style>\n"
        f'<rect class="g" width="{WIDTH}" height="{HEIGHT}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _head(images: Sequence[ImageSize]) -> Iterator[str]:
    """Yield the bar of all images with the stored part, and the legend of colours."""
    total = sum(image.size for image in images)
    stored_sizes = {layer.digest: layer.size for image in images for layer in image.layers}
    share = sum(stored_sizes.values()) / total if total else 0.0
    full_width = WIDTH - 2 * EDGE
    yield _text(EDGE, 32, 17, "t", total_text(images), weight=600)
    yield f'<rect class="l" x="{EDGE}" y="44" width="{full_width}" height="10" rx="2"/>'
    width = f"{full_width * share:.1f}"
    yield f'<rect class="b" x="{EDGE}" y="44" width="{width}" height="10" rx="2"/>'
    yield _text(EDGE, 82, 13, "s", "each area is a layer, stored once; it is in")
    marks = ("16 images or more", "8 to 15", "4 to 7", "2 or 3", "one image alone")
    for number, ((_, colour), mark) in enumerate(zip(STEPS, marks, strict=True), start=1):
        x = EDGE + 300 + 160 * (len(STEPS) - number)
        yield f'<rect class="{colour}" x="{x}" y="71" width="13" height="13" rx="2"/>'
        yield _text(x + 19, 82, 13, "s", mark)


def _areas(sizes: MatrixSizes) -> Iterator[str]:
    groups = sorted(_groups(sizes).items(), key=lambda item: (-_sum(item[1]), item[0]))
    room = Box(x=EDGE, y=TOP, width=WIDTH - 2 * EDGE, height=HEIGHT - TOP - EDGE)
    total = sum(_sum(tiles) for _, tiles in groups)
    if not total:
        return
    per_byte = room.width * room.height / total
    for (name, tiles), box in zip(
        groups, tile_boxes([_sum(tiles) for _, tiles in groups], room), strict=True
    ):
        size = size_text(_sum(tiles), exact=all(tile.exact for tile in tiles))
        fitted = _fitting_text((f"{name}, {size}", name), box.width - 8, 13, BOLD)
        yield _text(box.x + 2, box.y + 15, fitted[0], "t", fitted[1], weight=600)
        inner = Box(x=box.x, y=box.y + HEAD, width=box.width - 6, height=box.height - HEAD - 6)
        if inner.width <= 0 or inner.height <= 0:
            continue
        shown = _combine_small(tiles, TINY / per_byte)
        for tile, area in zip(shown, tile_boxes([tile.size for tile in shown], inner), strict=True):
            if min(area.width, area.height) > VISIBLE:
                yield from _tile(tile, area)


def _groups(sizes: MatrixSizes) -> dict[str, list[_Tile]]:
    """Return the layers by what they hold, largest first."""
    groups: dict[str, list[_Tile]] = {}
    layers = (layer for image in sizes.images for layer in image.layers if layer.size)
    distinct = {layer.digest: layer for layer in layers}
    for layer in sorted(
        distinct.values(), key=lambda layer: (-layer.size, layer.history, layer.digest)
    ):
        holders = sizes.holders[layer.digest]
        name = _short_name(layer, holders)
        size = size_text(layer.size, exact=layer.exact)
        tile = _Tile(
            size=layer.size,
            name=name,
            title=f"{name}: {size}, in {others_text(holders)}",
            images=len(holders),
            exact=layer.exact,
        )
        groups.setdefault(_kind(layer, holders), []).append(tile)
    return groups


def _short_name(layer: LayerEstimate, holders: Sequence[ImageSize]) -> str:
    """Return a short name, with the Python version if the layer is for one only."""
    name = layer_text(layer).removeprefix("nvidia-")
    pythons = {image.python for image in holders}
    is_wheel = layer.rank in {LayerRank.FRAMEWORK, LayerRank.WHEEL_BYTECODE}
    return f"{name}, py{pythons.pop()}" if is_wheel and len(pythons) == 1 else name


def _kind(layer: LayerEstimate, holders: Sequence[ImageSize]) -> str:
    families = sorted({image.family for image in holders})
    match layer.rank:
        case LayerRank.SHARED_CUDA | LayerRank.CUDA:
            return f"libraries of {' and '.join(sorted({image.accelerator for image in holders}))}"
        case LayerRank.SYSTEM:
            return "systems with Python"
        case LayerRank.FRAMEWORK | LayerRank.WHEEL_BYTECODE:
            return families[0] if len(families) == 1 else "wheels of several families"
        case _:
            return "small wheels, own files, byte code"


def _combine_small(tiles: Sequence[_Tile], least: float) -> Sequence[_Tile]:
    """Return the tiles, with those that would be too small combined."""
    small = [tile for tile in tiles if tile.size < least]
    if len(small) < 2:
        return tiles
    size = _sum(small)
    name = f"+{len(small)} smaller"
    exact = all(tile.exact for tile in small)
    combined = _Tile(
        size=size,
        name=name,
        title=f"{name}: {size_text(size, exact=exact)}",
        images=1 if all(tile.images == 1 for tile in small) else 2,
        exact=exact,
    )
    rest = [tile for tile in tiles if tile.size >= least]
    return sorted((*rest, combined), key=lambda tile: -tile.size)


def _tile(tile: _Tile, box: Box) -> Iterator[str]:
    """Yield the area with as much of its name as fits; the title has all of it."""
    colour = next(name for least, name in STEPS if tile.images >= least)
    width, height = max(0.5, box.width - 2), max(0.5, box.height - 2)
    yield (
        f'<g><title>{escape(tile.title)}</title><rect class="{colour}" x="{box.x:.1f}" '
        f'y="{box.y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2"/>'
    )
    size_label = f"{'' if tile.exact else ESTIMATED}{bytes_text(tile.size)}"
    y, largest = box.y, min(LARGEST, height / 2.4)
    for line in (_shorter_names(tile.name), (f"{size_label}, in {tile.images}", size_label)):
        size, text = _fitting_text(line, width - 8, largest, WIDE)
        if text and y + size * 1.25 <= box.y + height - 2:
            y, largest = y + size * 1.25, size
            yield _text(box.x + 4, y, size, "w", text)
    yield "</g>"


def _shorter_names(name: str) -> tuple[str, ...]:
    """Return the name, and shorter forms of it: without the Python, then without the version."""
    kind, colon, _ = name.partition(": ")
    short = kind if colon else name.partition(" ")[0]
    return (name, name.partition(",")[0], short)


def _fitting_text(
    texts: Sequence[str], width: float, largest: float, wide: float
) -> tuple[float, str]:
    """Return the first text that fits, with its size; else the last one cut, or an empty text."""
    if largest < SMALLEST:
        return SMALLEST, ""
    for text in texts:
        size = min(largest, width / (len(text) * wide))
        if size >= SMALLEST:
            return size, text
    room = int(width / (SMALLEST * wide))
    return SMALLEST, f"{texts[-1][: room - 1]}…" if room >= TELLING else ""


def _text(x: float, y: float, size: float, colour: str, text: str, *, weight: int = 400) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return (
        f'<text class="{colour}" x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}"{bold}>'
        f"{escape(text)}</text>"
    )


def _sum(tiles: Iterable[_Tile]) -> int:
    return sum(tile.size for tile in tiles)
