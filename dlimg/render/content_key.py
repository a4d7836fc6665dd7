"""The content key: one digest over everything that decides what is in an image."""

import hashlib
import json
from dataclasses import replace
from typing import Final

from dlimg.model import GZIP, Base, Image, PlannedImage

# Part of every key: raised whenever the same Dockerfile would be built into something else
# (another epoch, other bake options, another order of layers), so that old tags are not mistaken
# for the new thing.
FORMAT: Final = 4

ARCHITECTURE: Final = "linux/amd64"


def key(image: Image, base: Base, packages: str, compression: str = GZIP) -> str:
    """The sha256, in hex, over these fields as JSON with sorted names and no spaces.

    `architecture`, `base` (the identity: a registry digest, or the sha256 over a bootstrapped
    base's packages), `dockerfile` (the text, which holds every wheel with its sha256),
    `format` (the number above), `labels`, `packages` (the sha256 over all that is installed: what
    the Dockerfile takes from the distribution comes in the version of the day, and a managed
    Python in the build of the day), and `compression` where it is not gzip. Names and tags are
    left out: the same content under another name is the same content.

    The key says what an image was made from, not its bytes: what runs in a build may still write
    other bytes. A digest is what is tested and published.
    """
    content = {
        "architecture": ARCHITECTURE,
        "base": base.identity,
        "dockerfile": image.dockerfile,
        "format": FORMAT,
        "labels": dict(image.labels),
        "packages": packages,
    }
    if compression != GZIP:
        content["compression"] = compression
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_key(planned: PlannedImage, packages: str) -> PlannedImage:
    """Return the image with its key, computed with its packages."""
    found = key(planned.image, planned.base, packages, planned.compression)
    return replace(planned, packages=packages, key=found)
