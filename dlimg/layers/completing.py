"""An image whose files an engine has, but not all of its layers: what it lacks is loaded.

An engine with containerd's image store fetches no layer whose files it has unpacked already, be
it from a layer that was compressed in another way. It then runs the image, but cannot say what it
is, let alone push it.
"""

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import docker

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.layers.serve import Content

# Behind the name of an image that passes. It is another repository: with the last tag of one, an
# engine removes the digests that it is known by there, too.
WHOLE: Final = "-whole:now"
_NAME: Final = "io.containerd.image.name"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_BLOCK: Final = 512
_PIECE: Final = 1 << 20


def complete(
    engine: Engine, repository: str, manifest: bytes, lacking: Mapping[str, Content]
) -> None:
    """Gives the engine these blobs of the image, and for a moment a name that keeps them.

    Raises Negative when it does not take them.
    """
    name = repository + WHOLE
    api: Any = engine.sdk.api
    for said in api.load_image(_archive(name, manifest, lacking), quiet=True):
        if "error" in said:
            raise Negative(f"the engine does not take the image: {said['error']}")
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.sdk.images.remove(name)


def _archive(name: str, manifest: bytes, blobs: Mapping[str, Content]) -> Iterator[bytes]:
    """An OCI layout as a tar, without the blobs that are there."""
    described = json.loads(manifest)
    digest = f"sha256:{sha256(manifest).hexdigest()}"
    descriptor = {
        "mediaType": described["mediaType"],
        "digest": digest,
        "size": len(manifest),
        "annotations": {_NAME: name},
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [descriptor]}
    yield from _member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _member("index.json", json.dumps(index).encode())
    for one, content in {digest: manifest, **blobs}.items():
        yield from _member(f"blobs/sha256/{one.removeprefix('sha256:')}", content)
    yield bytes(2 * _BLOCK)


def _member(path: str, content: Content) -> Iterator[bytes]:
    head = tarfile.TarInfo(path)
    head.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    yield head.tobuf()
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
    yield bytes(-head.size % _BLOCK)
