"""The content key: one digest over everything that decides what is in an image."""

import hashlib
import json
from typing import Final

from dlimg.model import GZIP, Base, Image

# Part of every key: raised whenever the same Dockerfile would be built into something else
# (another epoch, other bake options, another order of layers), so that old tags are not mistaken
# for the new thing.
FORMAT: Final = 3

ARCHITECTURE: Final = "linux/amd64"


def key(image: Image, base: Base, compression: str = GZIP) -> str:
    """The sha256, in hex, over these fields as JSON with sorted names and no spaces.

    `architecture`, `base` (the identity: a registry digest, or the sha256 over a bootstrapped
    base's packages), `dockerfile` (the text, which holds every wheel with its sha256),
    `format` (the number above), `labels`, and `compression` where it is not gzip. Names and tags
    are left out: the same content under another name is the same content.

    The key says what an image was made from, not its bytes. What a Dockerfile installs from the
    distribution (Python, tini, a compiler) comes in the version of the day, so two builds of one
    key may have different digests; a digest is what is tested and published.
    """
    content = {
        "architecture": ARCHITECTURE,
        "base": base.identity,
        "dockerfile": image.dockerfile,
        "format": FORMAT,
        "labels": dict(image.labels),
    }
    if compression != GZIP:
        content["compression"] = compression
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
