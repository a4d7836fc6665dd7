"""Loading an assembled image into an engine, which pulls it from a registry on the loopback.

So the engine fetches only the layers that it lacks.
"""

import contextlib
import errno
import io
import json
import re
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from secrets import token_hex
from typing import Any, Final

import docker
from docker.models.images import Image

from dlimg.builders.loopback_registry import NAME, Content, ServedImage, serve_image
from dlimg.engine.client import Engine, list_images
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.host.process import (
    MISSING,
    Child,
    ProcessResult,
    end_group,
    failure_text,
    run_until_interrupted,
    wait_until,
)
from dlimg.layer.compress import compress_wheel
from dlimg.layer.entries import FILE_MODE, LayerEntry
from dlimg.layer.tar import tar_parts
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import ImageLayer, LayerRank, make_image
from dlimg.store.keys import Layer

# Ends the temporary name of an image for `load_missing_blobs`. It is a repository of its own,
# because an engine that removes the last tag in a repository also removes its digests there.
COMPLETE_SUFFIX: Final = "-whole:now"
_NAME: Final = "io.containerd.image.name"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_BLOCK: Final = 512
_CHUNK: Final = 1 << 20


def load_missing_blobs(
    engine: Engine, repository: str, manifest: bytes, missing: Mapping[str, Content]
) -> None:
    """Load missing blobs of an image into the engine, under a temporary name.

    Raises Negative when the engine refuses them.
    """
    with _loaded_from_archive(engine, repository, manifest, missing):
        pass


@contextlib.contextmanager
def _loaded_from_archive(
    engine: Engine, repository: str, manifest: bytes, blobs: Mapping[str, Content]
) -> Iterator[None]:
    """Load blobs as `docker load` does; the temporary name keeps them from garbage collection."""
    name = repository + COMPLETE_SUFFIX
    api: Any = engine.sdk.api
    for message in api.load_image(_archive(name, manifest, blobs), quiet=True):
        if "error" in message:
            raise Negative(f"the engine does not load the image: {message['error']}")
    try:
        yield
    finally:
        _remove_name(engine, name)


def _archive(name: str, manifest: bytes, blobs: Mapping[str, Content]) -> Iterator[bytes]:
    """Yield an OCI layout as a tar, with only these blobs."""
    parsed = json.loads(manifest)
    digest = f"sha256:{sha256(manifest).hexdigest()}"
    descriptor = {
        "mediaType": parsed["mediaType"],
        "digest": digest,
        "size": len(manifest),
        "annotations": {_NAME: name},
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [descriptor]}
    yield from _member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _member("index.json", json.dumps(index).encode())
    for name_digest, content in {digest: manifest, **blobs}.items():
        yield from _member(f"blobs/sha256/{name_digest.removeprefix('sha256:')}", content)
    yield bytes(2 * _BLOCK)


def _member(path: str, content: Content) -> Iterator[bytes]:
    header = tarfile.TarInfo(path)
    header.size = len(content) if isinstance(content, bytes) else content.stat().st_size
    yield header.tobuf()
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
    yield bytes(-header.size % _BLOCK)


_TEMPORARY_NAME: Final = re.compile(
    rf"127\.0\.0\.1:(\d+)/{NAME}({COMPLETE_SUFFIX}|@sha256:[0-9a-f]{{64}})"
)
# Engines' errors for a layer that they cannot unpack.
_UNREADABLE: Final = re.compile(
    r"zstd|gzip|compress|media ?type|magic number|unexpected EOF|tar header|diff ?id|extract",
    re.IGNORECASE,
)
# Engines' errors for a blob that was there when the pull began, and for an image without it.
_LOST: Final = re.compile(r"content digest|no such image|not found: does not exist", re.IGNORECASE)
_RETRY_SECONDS: Final = (0.1, 0.3, 1.0, 3.0)
# The engine's error for a blob with another digest. It may be a download that an earlier pull has
# left, which the engine does not fetch again until it has collected its garbage.
_UNEXPECTED: Final = re.compile(r"failed commit on ref|unexpected commit", re.IGNORECASE)
_CONNECT_SECONDS: Final = 2.0
# After an interrupt: until the engine's pull fails, and until it has unpacked what it has pulled.
_FAIL_SECONDS: Final = 5.0
_UNPACK_SECONDS: Final = 120.0
HINT: Final = "use `--builder buildkit`, or an engine on this host"


def check_local(engine: Engine) -> None:
    """Raise NoEngine for an engine on another host, which cannot reach this loopback."""
    reason = remote_engine_reason(engine.host)
    if reason:
        raise NoEngine(reason, hint=HINT)


def remote_engine_reason(host: str) -> str:
    """Return why an engine at this address cannot pull from this host; empty when it can."""
    return "" if host.startswith("unix://") else f"the engine at {host} is not on this host"


@contextlib.contextmanager
def temporary_image(
    engine: Engine, manifest: bytes, digest: str, blobs: Mapping[str, Content]
) -> Iterator[str]:
    """Load an image under a temporary name and yield its id; remove the name afterwards.

    Raises Negative when the engine refuses the image, NoEngine when it cannot pull it.
    """
    check_local(engine)
    with serve_image(manifest, blobs) as served:
        reference = served.reference(digest)
        try:
            image = _pull_and_inspect(engine, served, manifest, digest, blobs)
            if not image.attrs.get("Os"):  # the engine has not pulled all blobs
                load_missing_blobs(
                    engine, f"{served.host}/{NAME}", manifest, _not_fetched(served, blobs)
                )
            yield str(image.id)
        finally:
            _remove_name(engine, reference)


def _pull_and_inspect(
    engine: Engine,
    served: ServedImage,
    manifest: bytes,
    digest: str,
    blobs: Mapping[str, Content],
) -> Image:
    """Pull the image and return it; pull again when the engine has lost it in between.

    An engine that collects garbage after another process removed its name of the same image may
    remove blobs that this pull has found there and not fetched.
    """
    reference, message = served.reference(digest), ""
    for seconds in (*_RETRY_SECONDS, None):
        image, message = _try_to_pull(engine, served, reference)
        if image is not None:
            return image
        if served.is_closed:
            raise Negative("the load into the engine was interrupted")
        if _UNEXPECTED.search(message):
            with _loaded_from_archive(engine, f"{served.host}/{NAME}", manifest, blobs):
                image, message = _try_to_pull(engine, served, reference)
            if image is not None:
                return image
        if seconds is None or not _LOST.search(message):
            break
        _remove_name(engine, reference)
        time.sleep(seconds)
    raise _pull_failure(engine, served, message, manifest)


def _try_to_pull(engine: Engine, served: ServedImage, reference: str) -> tuple[Image | None, str]:
    """Return the pulled image, or nothing and the engine's error."""
    completed = _pull(engine, served, reference)
    if completed.returncode:
        return None, completed.stderr.strip() or failure_text(completed)
    try:
        return engine.sdk.images.get(reference), ""
    except docker.errors.NotFound as error:
        return None, str(error.explanation)


def _remove_name(engine: Engine, name: str) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        engine.sdk.images.remove(name)


def load_image(
    engine: Engine,
    manifest: bytes,
    digest: str,
    blobs: Mapping[str, Content],
    *,
    names: Sequence[tuple[str, str]],
) -> str:
    """Load an image under these names, which are repositories with tags; return its id.

    Raises as `temporary_image`.
    """
    with temporary_image(engine, manifest, digest, blobs) as image_id:
        image = engine.sdk.images.get(image_id)
        for repository, tag in names:
            image.tag(repository, tag)
    return image_id


def remove_leftover_names(engine: Engine) -> None:
    """Remove temporary names that a killed dlimg has left."""
    for image in list_images(engine, intermediate=True):
        for name in (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())):
            match = _TEMPORARY_NAME.fullmatch(name)
            if match and not _is_served(int(match[1])):
                with contextlib.suppress(docker.errors.APIError):
                    engine.sdk.images.remove(name)


def _is_served(port: int) -> bool:
    """Return whether the dlimg that serves on this port still runs."""
    with socket.socket() as connection:
        connection.settimeout(_CONNECT_SECONDS)
        # Only a refusal shows that it has ended: it may be too busy to answer.
        return connection.connect_ex(("127.0.0.1", port)) != errno.ECONNREFUSED


def _pull(engine: Engine, served: ServedImage, reference: str) -> ProcessResult:
    """Pull with a child process; an interrupt ends the registry, so that the pull fails.

    A pull whose client ends is cancelled, and containerd's image store then keeps all that it has
    fetched under a lease of eight hours. A pull that fails gives it up at once.
    """

    def end(child: Child) -> None:
        served.close()
        try:
            if not wait_until(lambda: child.poll() is not None, _FAIL_SECONDS):
                engine.context.log("the engine has all layers; waiting until it has unpacked them")
                wait_until(lambda: child.poll() is not None, _UNPACK_SECONDS)
        finally:  # also after a further interrupt
            if child.poll() is None:
                end_group(child)

    argv = [str(engine.docker), "pull", "--quiet", reference]
    completed = run_until_interrupted(argv, env=engine.environment, end=end)
    if completed.returncode == MISSING:
        raise NoEngine(
            f"{engine.docker} cannot be started: {completed.stderr}",
            hint="install the docker client",
        )
    return completed


def _not_fetched(served: ServedImage, blobs: Mapping[str, Content]) -> Mapping[str, Content]:
    fetched = {line.rpartition("/")[2] for line in served.requests if line.startswith("GET ")}
    return {digest: content for digest, content in blobs.items() if digest not in fetched}


def _pull_failure(engine: Engine, served: ServedImage, message: str, manifest: bytes) -> Exception:
    if not served.requests:
        return NoEngine(
            f"the engine at {engine.host} does not reach this host's loopback: {message}",
            hint=HINT,
        )
    hint = _compression_hint(manifest) if _UNREADABLE.search(message) else HINT
    return Negative(f"the engine does not load the image: {message}", hint=hint)


def _compression_hint(manifest: bytes) -> str:
    """Return a hint for an engine that cannot decompress these layers."""
    if b"tar+zstd" in manifest:
        return "if this engine does not support zstd, use `--compression gzip`"
    return (
        "if this engine reads only the first gzip member of a layer, use `--compression zstd`"
        " or `--builder buildkit`"
    )


def layers_obstacle(engine: Engine, compression: str) -> str:
    """Return why the engine cannot load layers in this compression; empty if it can."""
    return remote_engine_reason(engine.host) or probe_compression(engine, compression)


def probe_compression(engine: Engine, compression: str) -> str:
    """Return why the engine refuses a small image with this compression; empty if it does not."""
    file = BytesIO()
    # Another content for each process, so that none removes what another has just loaded.
    content = token_hex(100).encode()
    entry = LayerEntry(path="dlimg", mode=FILE_MODE, content=content, owner="dlimg")
    written = compress_wheel(tar_parts([entry]), file.write, compression)
    layer = Layer(
        digest=written.digest,
        size=written.size,
        diff_id=written.diff_id,
        unpacked=written.unpacked,
        compression=compression,
    )
    image = make_image(
        [ImageLayer(layer=layer, rank=LayerRank.CELL, history="probe")],
        ImageConfig(),
        {},
        engine.architecture,
    )
    blobs = {layer.digest: file.getvalue(), image.config_digest: image.config}
    try:
        with temporary_image(engine, image.manifest, image.digest, blobs):
            return ""
    except DlimgError as error:
        return error.problems[0].message
