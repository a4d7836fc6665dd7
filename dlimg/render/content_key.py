"""The content key: one digest over everything that decides the content of an image."""

import hashlib
import json
from dataclasses import replace
from typing import Final

from dlimg.model import Base, Image, PlannedImage

# Part of every key: raised whenever the same Dockerfile would be built into something else
# (another epoch, other bake options, another order of layers), so that old tags are not mistaken
# for the new thing.
FORMAT: Final = 5


def content_key(image: Image, base: Base, packages: str, compression: str) -> str:
    """Return the sha256, in hex, over these fields as JSON with sorted names and no spaces.

    `architecture`, `base` (its identity: a registry digest, or the sha256 over the packages of a
    bootstrapped base), `compression` of the layers, `dockerfile` (the text, with every wheel and
    its sha256), `format` (the number above), `labels`, and `packages` (the sha256 over the
    installed packages: their versions are those of the day, and so is the build of a managed
    Python). Names and tags are left out: the same content under another name is the same content.

    The key identifies the inputs of an image, not its bytes: a program in a build may write other
    bytes. Tests and publishing go by digest.
    """
    content = {
        "architecture": image.cell.oci_platform,
        "base": base.identity,
        "compression": compression,
        "dockerfile": image.dockerfile,
        "format": FORMAT,
        "labels": dict(image.labels),
        "packages": packages,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_key(planned: PlannedImage, packages: str) -> PlannedImage:
    """Return the image with its key, computed with its packages."""
    digest = content_key(planned.image, planned.base, packages, planned.compression)
    return replace(planned, packages=packages, key=digest)
