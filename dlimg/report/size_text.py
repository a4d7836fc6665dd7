"""Sizes of images as rows of tables, as sentences, and as data."""

from collections.abc import Iterator, Sequence
from typing import Final

from dlimg.assembly.size_estimate import LayerEstimate
from dlimg.pipeline.sizes import Amount, ImageSize, MatrixSizes, amount, groups, pull, stored
from dlimg.units import bytes_text, counted

GROUPS: Final = ("family", "images", "each", "one by one", "in a registry")
IMAGES: Final = ("image", "layers", "size", "no other has")
LAYERS: Final = ("layer", "size", "also in")
PULL_HEADINGS: Final = ("image", "to pull", "layers", "of")
ESTIMATED: Final = "~"


def size_text(size: int, *, exact: bool) -> str:
    """`1.20 GB`, or `~1.20 GB` when a part of it was estimated."""
    return f"{'' if exact else ESTIMATED}{bytes_text(size)}"


def amount_text(found: Amount) -> str:
    return size_text(found.size, exact=found.exact)


def group_rows(images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    """For each framework and accelerator: how many, how large, together, and stored once."""
    for group, ones in groups(images).items():
        sizes = [one.size for one in ones]
        exact = all(one.exact for one in ones)
        mark = "" if exact else ESTIMATED
        yield (
            group,
            str(len(ones)),
            mark + _span(min(sizes), max(sizes)),
            size_text(sum(sizes), exact=exact),
            amount_text(stored(ones)),
        )


def image_rows(sizes: MatrixSizes, images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    for one in images:
        alone = amount(piece for piece in one.pieces if not sizes.others(one, piece))
        yield (
            one.cell,
            str(len(one.pieces)),
            size_text(one.size, exact=one.exact),
            amount_text(alone),
        )


def layer_rows(sizes: MatrixSizes, image: ImageSize) -> Iterator[tuple[str, ...]]:
    """The image's layers, lowest first, each with the images that have it, too."""
    for piece in image.pieces:
        size = size_text(piece.size, exact=piece.exact)
        yield piece_text(piece), size, others_text(sizes.others(image, piece))


def piece_text(piece: LayerEstimate) -> str:
    """The words for it, without what each image says of its own."""
    kind, _, rest = piece.history.partition(": ")
    match kind:
        case "wheel":
            return rest
        case "small wheels":
            return f"small wheels, {rest.count(', ') + 1} of them"
        case "cell" | "own":
            return "own files"
        case "system":
            return f"system: {_without_comma(rest)}"
        case _:
            return piece.history


def _without_comma(words: str) -> str:
    """`Python 3.13 (runtime)`, without what stands between."""
    first, _, rest = words.partition(",")
    flavour = rest.rpartition("(")[2]
    return f"{first} ({flavour}" if flavour.endswith(")") else first


def others_text(others: Sequence[ImageSize]) -> str:
    """`9 pytorch-2.15.0-cuda13.2`, or of several kinds `15: jax, pytorch`; `-` for none."""
    if not others:
        return "-"
    kinds = {one.group for one in others}
    if len(kinds) == 1:
        return f"{len(others)} {kinds.pop()}"
    return f"{len(others)}: {', '.join(sorted({one.family for one in others}))}"


def pull_rows(
    images: Sequence[ImageSize], already_pulled: Sequence[ImageSize]
) -> Iterator[tuple[str, ...]]:
    """What each image costs a machine that has those already."""
    for one in images:
        found = pull(one, already_pulled)
        yield (
            one.cell,
            amount_text(found),
            f"{found.layers} of {len(one.pieces)}",
            size_text(one.size, exact=one.exact),
        )


def matrix_headings(images: Sequence[ImageSize]) -> tuple[str, ...]:
    return ("", "to pull", *(f"with {number}" for number in range(1, len(images) + 1)))


def matrix_rows(images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    """For each image what a machine pulls that has each of the others."""
    for number, one in enumerate(images, start=1):
        cells = ("-" if one is other else amount_text(pull(one, [other])) for other in images)
        yield str(number), one.cell, *cells


def total_text(images: Sequence[ImageSize]) -> str:
    """`46 images: 131.20 GB one by one, ~21.10 GB in a registry (6.2 times less), 310 layers`."""
    found = stored(images)
    total = sum(one.size for one in images)
    exact = all(one.exact for one in images)
    times = f" ({total / found.size:.1f} times less)" if found.size else ""
    return (
        f"{counted(len(images), 'image')}: {size_text(total, exact=exact)} one by one, "
        f"{amount_text(found)} in a registry{times}, {counted(found.layers, 'layer')}"
    )


def sizes_json(
    sizes: MatrixSizes, images: Sequence[ImageSize], already_pulled: Sequence[ImageSize]
) -> object:
    """All of it as stable data; docs/size.md says what is what."""
    found = stored(images)
    pieces = {piece.digest: piece for image in images for piece in image.pieces}
    return {
        "images": [_image_json(sizes, one, already_pulled) for one in images],
        "layers": [
            {
                "id": piece.digest,
                "history": piece.history,
                # The old name of `history`, until the next release.
                "words": piece.history,
                "bytes": piece.size,
                "exact": piece.exact,
                "images": [one.cell for one in sizes.holders[piece.digest]],
            }
            for piece in pieces.values()
        ],
        "already_pulled": [image.cell for image in already_pulled],
        # The old name of `already_pulled`, until the next release.
        "having": [image.cell for image in already_pulled],
        "one_by_one_bytes": sum(one.size for one in images),
        "registry_bytes": found.size,
        "exact": found.exact,
    }


def _image_json(
    sizes: MatrixSizes, image: ImageSize, already_pulled: Sequence[ImageSize]
) -> dict[str, object]:
    return {
        "cell": image.cell,
        "bytes": image.size,
        "exact": image.exact,
        "alone_bytes": sizes.alone(image),
        "pull_bytes": pull(image, already_pulled).size,
        "layers": [piece.digest for piece in image.pieces],
    }


def _span(least: int, most: int) -> str:
    """`2.48-2.60 GB`, or `312-429 MB`; one size where they read the same."""
    low, high = bytes_text(least), bytes_text(most)
    if low == high:
        return high
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')}-{high}"
