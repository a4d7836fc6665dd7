"""An image into the engine: it pulls from a registry on the loopback, and so only what it lacks.

A finished image comes in as a manifest with blobs; what the engine calls it goes out.
"""

import contextlib
import errno
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import docker

from dlimg.engine.client import Engine
from dlimg.engine.process import MISSING, failure_text, run
from dlimg.errors import Negative, NoEngine
from dlimg.layers.completing import WHOLE, complete
from dlimg.layers.serve import NAME, Content, Served, serving

_PASSING: Final = re.compile(rf"127\.0\.0\.1:(\d+)/{NAME}({WHOLE}|@sha256:[0-9a-f]{{64}})")
# What engines say of a layer that they cannot unpack.
_UNREADABLE: Final = re.compile(
    r"zstd|gzip|compress|media ?type|magic number|unexpected EOF|tar header|diff ?id|extract",
    re.IGNORECASE,
)
_KNOCK_SECONDS: Final = 2.0
HINT: Final = "use `--builder buildkit`, or an engine of this machine's own"


def check_local(engine: Engine) -> None:
    """Raises NoEngine for an engine of another machine: it could not reach a loopback of ours."""
    reason = distance(engine.host)
    if reason:
        raise NoEngine(reason, hint=HINT)


def distance(host: str) -> str:
    """Why an engine at this address is too far away, or nothing."""
    return "" if host.startswith("unix://") else f"the engine at {host} is not one of this machine"


@contextlib.contextmanager
def visiting(
    engine: Engine, manifest: bytes, digest: str, blobs: Mapping[str, Content]
) -> Iterator[str]:
    """Inside, the engine has the image, without a name of its own; its id comes out.

    Raises Negative when the engine does not take it, NoEngine when it cannot come and fetch it.
    """
    check_local(engine)
    with serving(manifest, blobs) as served:
        reference = served.reference(digest)
        try:
            _pull(engine, served, manifest, digest)
            found = engine.sdk.images.get(reference)
            if not found.attrs.get("Os"):
                complete(engine, f"{served.host}/{NAME}", manifest, _unasked(served, blobs))
            yield str(found.id)
        finally:
            with contextlib.suppress(docker.errors.ImageNotFound):
                engine.sdk.images.remove(reference)


def take_in(
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
    with visiting(engine, manifest, digest, blobs) as found:
        image = engine.sdk.images.get(found)
        for repository, tag in names:
            image.tag(repository, tag)
    return found


def forget_passing(engine: Engine) -> None:
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


def _pull(engine: Engine, served: Served, manifest: bytes, digest: str) -> None:
    """By a child process: it can be ended while the engine is still at it, which then stops."""
    argv = [str(engine.docker), "pull", "--quiet", served.reference(digest)]
    outcome = run(argv, env=engine.environment)
    if outcome.returncode == MISSING:
        raise NoEngine(f"{engine.docker} cannot be started: {outcome.stderr}")
    if outcome.returncode:
        said = outcome.stderr.strip() or failure_text(outcome)
        raise _refused(engine, served, said, manifest)


def _unasked(served: Served, blobs: Mapping[str, Content]) -> Mapping[str, Content]:
    fetched = {line.rpartition("/")[2] for line in served.asked if line.startswith("GET ")}
    return {digest: content for digest, content in blobs.items() if digest not in fetched}


def _refused(engine: Engine, served: Served, said: str, manifest: bytes) -> Exception:
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
