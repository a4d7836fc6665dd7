"""The compression that an engine reads: one too old for zstd gets gzip layers, or is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dlimg.builders.builder import existing_images
from dlimg.builders.load import layers_obstacle
from dlimg.context import Log
from dlimg.engine.client import Engine
from dlimg.errors import NoEngine
from dlimg.model import GZIP, PlannedImage
from dlimg.render.content_key import with_key


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadableImages:
    """Images in a compression that the engine reads.

    `obstacle` is why the engine cannot pull layers at all; empty if it can.
    """

    images: tuple[PlannedImage, ...]
    obstacle: str = ""


def readable_images(
    planned: Sequence[PlannedImage], engine: Engine, *, may_change: bool, log: Log
) -> ReadableImages:
    """Return the images, with gzip layers for an engine that reads no zstd.

    The engine is tried with a small image, and only if it lacks one of these. Raises NoEngine
    instead of another compression unless `may_change`.
    """
    images = tuple(planned)
    if len(existing_images(images, engine)) == len(images):
        return ReadableImages(images=images)
    compression = images[0].compression
    obstacle = layers_obstacle(engine, compression)
    if not obstacle or compression == GZIP or layers_obstacle(engine, GZIP):
        return ReadableImages(images=images, obstacle=obstacle)
    reason = f"the engine at {engine.host} reads no zstd layers: {obstacle}"
    if not may_change:
        hint = (
            "update the engine, or take `--compression gzip`, or `compression: gzip` in the matrix"
        )
        raise NoEngine(reason, hint=hint)
    log(f"the images get gzip layers: {reason}")
    return ReadableImages(images=tuple(map(_with_gzip, images)))


def _with_gzip(planned: PlannedImage) -> PlannedImage:
    return with_key(replace(planned, compression=GZIP), planned.packages)
