"""Sizes of images as rows, text and data."""

from collections.abc import Iterator, Sequence
from typing import Final

from dlimg.assembly.size_estimate import LayerEstimate
from dlimg.pipeline.sizes import Amount, ImageSize, MatrixSizes, amount, groups, pull, stored
from dlimg.units import bytes_text, counted

GROUPS: Final = ("family", "images", "each", "one by one", "in a registry")
IMAGES: Final = ("image", "layers", "size", "unique")
LAYERS: Final = ("layer", "size", "also in")
PULL_HEADINGS: Final = ("image", "to pull", "layers", "of")
ESTIMATED: Final = "~"


def size_text(size: int, *, exact: bool) -> str:
    """Return `1.20 GB`, or `~1.20 GB` if a part is estimated."""
    return f"{'' if exact else ESTIMATED}{bytes_text(size)}"


def amount_text(total: Amount) -> str:
    return size_text(total.size, exact=total.exact)


def group_rows(images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    """Yield a row per framework and accelerator: count, sizes, their sum, and stored once."""
    for group, members in groups(images).items():
        sizes = [image.size for image in members]
        exact = all(image.exact for image in members)
        mark = "" if exact else ESTIMATED
        yield (
            group,
            str(len(members)),
            mark + _span(min(sizes), max(sizes)),
            size_text(sum(sizes), exact=exact),
            amount_text(stored(members)),
        )


def image_rows(sizes: MatrixSizes, images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    for image in images:
        alone = amount(layer for layer in image.layers if not sizes.others(image, layer))
        yield (
            image.cell,
            str(len(image.layers)),
            size_text(image.size, exact=image.exact),
            amount_text(alone),
        )


def layer_rows(sizes: MatrixSizes, image: ImageSize) -> Iterator[tuple[str, ...]]:
    """Yield the image's layers, lowest first, each with the other images that have it."""
    for layer in image.layers:
        size = size_text(layer.size, exact=layer.exact)
        yield layer_text(layer), size, others_text(sizes.others(image, layer))


def layer_text(layer: LayerEstimate) -> str:
    """Return what a layer holds, without the details of one image."""
    kind, _, rest = layer.history.partition(": ")
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
            return layer.history


def _without_comma(text: str) -> str:
    """Return `Python 3.13 (runtime)`, without the text after the comma up to the flavour."""
    first, _, rest = text.partition(",")
    flavour = rest.rpartition("(")[2]
    return f"{first} ({flavour}" if flavour.endswith(")") else first


def others_text(others: Sequence[ImageSize]) -> str:
    """Return `9 pytorch-2.15.0-cuda13.2`, for several kinds `15: jax, pytorch`, `-` for none."""
    if not others:
        return "-"
    kinds = {image.group for image in others}
    if len(kinds) == 1:
        return f"{len(others)} {kinds.pop()}"
    return f"{len(others)}: {', '.join(sorted({image.family for image in others}))}"


def pull_rows(
    images: Sequence[ImageSize], already_pulled: Sequence[ImageSize]
) -> Iterator[tuple[str, ...]]:
    """Yield what each image costs a machine that has the others already."""
    for image in images:
        pulled = pull(image, already_pulled)
        yield (
            image.cell,
            amount_text(pulled),
            f"{pulled.layers} of {len(image.layers)}",
            size_text(image.size, exact=image.exact),
        )


def pull_table_headings(images: Sequence[ImageSize]) -> tuple[str, ...]:
    return ("", "to pull", *(f"with {number}" for number in range(1, len(images) + 1)))


def pull_table_rows(images: Sequence[ImageSize]) -> Iterator[tuple[str, ...]]:
    """Yield for each image what a machine pulls that has one of the others."""
    for number, image in enumerate(images, start=1):
        cells = ("-" if image is other else amount_text(pull(image, [other])) for other in images)
        yield str(number), image.cell, *cells


def total_text(images: Sequence[ImageSize]) -> str:
    """Return `46 images: 131.20 GB one by one, ~21.10 GB in a registry (...), 310 layers`."""
    total_stored = stored(images)
    total = sum(image.size for image in images)
    exact = all(image.exact for image in images)
    times = f" ({total / total_stored.size:.1f} times less)" if total_stored.size else ""
    return (
        f"{counted(len(images), 'image')}: {size_text(total, exact=exact)} one by one, "
        f"{amount_text(total_stored)} in a registry{times}, {counted(total_stored.layers, 'layer')}"
    )


def sizes_json(
    sizes: MatrixSizes, images: Sequence[ImageSize], already_pulled: Sequence[ImageSize]
) -> object:
    """Return all sizes as stable data; docs/size.md lists the fields."""
    total_stored = stored(images)
    layers = {layer.digest: layer for image in images for layer in image.layers}
    return {
        "images": [_image_json(sizes, image, already_pulled) for image in images],
        "layers": [
            {
                "id": layer.digest,
                "history": layer.history,
                # The old name of `history`, until the next release.
                "words": layer.history,
                "bytes": layer.size,
                "exact": layer.exact,
                "images": [image.cell for image in sizes.holders[layer.digest]],
            }
            for layer in layers.values()
        ],
        "already_pulled": [image.cell for image in already_pulled],
        # The old name of `already_pulled`, until the next release.
        "having": [image.cell for image in already_pulled],
        "one_by_one_bytes": sum(image.size for image in images),
        "registry_bytes": total_stored.size,
        "exact": total_stored.exact,
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
        "layers": [layer.digest for layer in image.layers],
    }


def _span(least: int, most: int) -> str:
    """Return `2.48-2.60 GB`, or `312-429 MB`; one size if both read the same."""
    low, high = bytes_text(least), bytes_text(most)
    if low == high:
        return high
    unit = high.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}')}-{high}"
