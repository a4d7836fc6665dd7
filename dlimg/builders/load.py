"""An image into the engine: it pulls from a registry on the loopback, and so only what it lacks.

A finished image comes in as a manifest with blobs; what the engine calls it goes out.
"""

import contextlib
import errno
import io
import json
import re
import socket
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any, Final

import docker

from dlimg.builders.loopback_registry import NAME, Content, ServedImage, serve_image
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.host.process import MISSING, failure_text, run
from dlimg.layer.compress import compress_wheel
from dlimg.layer.entries import FILE_MODE, LayerEntry
from dlimg.layer.tar import tar_parts
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import ImageLayer, LayerRank, make_image
from dlimg.store.keys import Layer

# Behind the name of an image that passes. It is another repository: with the last tag of one, an
# engine removes the digests that it is known by there, too.
COMPLETE_SUFFIX: Final = "-whole:now"
_NAME: Final = "io.containerd.image.name"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_BLOCK: Final = 512
_PIECE: Final = 1 << 20


def load_missing_blobs(
    engine: Engine, repository: str, manifest: bytes, lacking: Mapping[str, Content]
) -> None:
    """Gives the engine these blobs of the image, and for a moment a name that keeps them.

    Raises Negative when it does not take them.
    """
    name = repository + COMPLETE_SUFFIX
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


_PASSING: Final = re.compile(
    rf"127\.0\.0\.1:(\d+)/{NAME}({COMPLETE_SUFFIX}|@sha256:[0-9a-f]{{64}})"
)
# What engines say of a layer that they cannot unpack.
_UNREADABLE: Final = re.compile(
    r"zstd|gzip|compress|media ?type|magic number|unexpected EOF|tar header|diff ?id|extract",
    re.IGNORECASE,
)
_KNOCK_SECONDS: Final = 2.0
HINT: Final = "use `--builder buildkit`, or an engine of this machine's own"


def check_local(engine: Engine) -> None:
    """Raises NoEngine for an engine of another machine: it could not reach a loopback of ours."""
    reason = remote_engine_reason(engine.host)
    if reason:
        raise NoEngine(reason, hint=HINT)


def remote_engine_reason(host: str) -> str:
    """Why an engine at this address is too far away, or nothing."""
    return "" if host.startswith("unix://") else f"the engine at {host} is not one of this machine"


@contextlib.contextmanager
def temporary_image(
    engine: Engine, manifest: bytes, digest: str, blobs: Mapping[str, Content]
) -> Iterator[str]:
    """Inside, the engine has the image, without a name of its own; its id comes out.

    Raises Negative when the engine does not take it, NoEngine when it cannot come and fetch it.
    """
    check_local(engine)
    with serve_image(manifest, blobs) as served:
        reference = served.reference(digest)
        try:
            _pull(engine, served, manifest, digest)
            found = engine.sdk.images.get(reference)
            if not found.attrs.get("Os"):
                load_missing_blobs(
                    engine, f"{served.host}/{NAME}", manifest, _unasked(served, blobs)
                )
            yield str(found.id)
        finally:
            with contextlib.suppress(docker.errors.ImageNotFound):
                engine.sdk.images.remove(reference)


def load_image(
    engine: Engine,
    manifest: bytes,
    digest: str,
    blobs: Mapping[str, Content],
    *,
    names: Sequence[tuple[str, str]],
) -> str:
    """The id of the image, which the engine has now under all of these names and no others.

    Names are repositories with tags. Raises as `visiting`.
    """
    with temporary_image(engine, manifest, digest, blobs) as found:
        image = engine.sdk.images.get(found)
        for repository, tag in names:
            image.tag(repository, tag)
    return found


def remove_leftover_names(engine: Engine) -> None:
    """Takes away the names of images that a dlimg left which was killed."""
    # Not as objects: each of them would be asked for, and may be gone by then.
    for image in engine.sdk.api.images(all=True):
        for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
            match = _PASSING.fullmatch(name)
            if match and not _is_served(int(match[1])):
                with contextlib.suppress(docker.errors.APIError):
                    engine.sdk.images.remove(name)


def _is_served(port: int) -> bool:
    """Whether the dlimg that served it is still there."""
    with socket.socket() as knock:
        knock.settimeout(_KNOCK_SECONDS)
        # One that is too busy to answer is still there: only a refusal says that it is not.
        return knock.connect_ex(("127.0.0.1", port)) != errno.ECONNREFUSED


def _pull(engine: Engine, served: ServedImage, manifest: bytes, digest: str) -> None:
    """By a child process: it can be ended while the engine is still at it, which then stops."""
    argv = [str(engine.docker), "pull", "--quiet", served.reference(digest)]
    outcome = run(argv, env=engine.environment)
    if outcome.returncode == MISSING:
        raise NoEngine(f"{engine.docker} cannot be started: {outcome.stderr}")
    if outcome.returncode:
        said = outcome.stderr.strip() or failure_text(outcome)
        raise _refused(engine, served, said, manifest)


def _unasked(served: ServedImage, blobs: Mapping[str, Content]) -> Mapping[str, Content]:
    fetched = {line.rpartition("/")[2] for line in served.asked if line.startswith("GET ")}
    return {digest: content for digest, content in blobs.items() if digest not in fetched}


def _refused(engine: Engine, served: ServedImage, said: str, manifest: bytes) -> Exception:
    if not served.asked:
        return NoEngine(
            f"the engine at {engine.host} does not reach this machine's loopback: {said}",
            hint=HINT,
        )
    hint = _readable(manifest) if _UNREADABLE.search(said) else HINT
    return Negative(f"the engine does not take the image: {said}", hint=hint)


def _readable(manifest: bytes) -> str:
    """What to do for an engine that cannot read how these layers are compressed."""
    if b"tar+zstd" in manifest:
        return "if this engine reads no zstd, use `--compression gzip`"
    return (
        "if this engine reads only the first member of a gzip file, use `--compression zstd`"
        " or `--builder buildkit`"
    )


def probe_compression(engine: Engine, compression: str) -> str:
    """Why the engine does not take images assembled with this compression, or nothing."""
    file = BytesIO()
    one = LayerEntry(path="dlimg", mode=FILE_MODE, content=b"dlimg\n" * 100, owner="dlimg")
    made = compress_wheel(tar_parts([one]), file.write, compression)
    layer = Layer(
        digest=made.digest,
        size=made.size,
        diff_id=made.diff_id,
        unpacked=made.unpacked,
        compression=compression,
    )
    image = make_image(
        [ImageLayer(layer=layer, rank=LayerRank.CELL, history="probe")], ImageConfig(), {}
    )
    blobs = {layer.digest: file.getvalue(), image.config_digest: image.config}
    try:
        with temporary_image(engine, image.manifest, image.digest, blobs):
            return ""
    except DlimgError as error:
        return error.problems[0].message
