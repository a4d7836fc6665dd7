"""An image from the store to a registry: what the registry lacks, and nothing else."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from threading import Event
from typing import Final

from dlimg.errors import Negative, NetworkFailure
from dlimg.registry.blobs import UploadOutcome, has_blob, missing_blobs, require_blobs, upload_blob
from dlimg.registry.http import ReadableFile, Repository
from dlimg.registry.manifests import Descriptor, put_manifest
from dlimg.registry.responses import RegistryRefusal
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store

AT_ONCE: Final = 4
TOLD_EVERY: Final = 10.0
# What is sent sooner than one could read of it is not told of.
_LITTLE: Final = 10_000_000
_BAD: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSummary:
    """How the contents of an image came to be in a repository; `sent` is bytes."""

    there: int
    mounted: int
    uploaded: int
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """A layer's file, or the config."""

    digest: str
    size: int
    source: Path | bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PushTarget:
    """Where contents go, and who there may have them; `at` is how far each of them is."""

    repository: Repository
    siblings: Sequence[str]
    at: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    stop: Event = field(default_factory=Event)


def send_image(
    repository: Repository,
    tag: str,
    image: AssembledImage,
    store: Store,
    *,
    siblings: Sequence[str] = (),
    say: Callable[[str], None],
) -> PushSummary:
    """The image under this tag in the repository; `siblings` are others that may have its layers.

    Several contents are on their way at once. Raises `NetworkFailure` when the registry does not
    take one, `Negative` when one is not in the store as it was.
    """
    way = _PushTarget(repository=repository, siblings=siblings)
    contents = _contents(image, store)
    missing = {one.digest for one in missing_blobs(repository, map(_descriptor, contents))}
    sent = [one for one in contents if one.digest in missing]
    total = sum(one.size for one in sent)
    if total > _LITTLE:
        of = f"{len(sent)} of {len(contents)} contents"
        say(f"{repository} lacks {of}, {_megabytes(total)}")
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        futures = {one.digest: pool.submit(_send, way, one) for one in sent}
        ways = _awaited(futures, way, total, say)
    require_blobs(repository, map(_descriptor, sent))
    put_manifest(repository, tag, image.manifest, image.media_type)
    uploaded = [one for one in sent if ways[one.digest] == "uploaded"]
    return PushSummary(
        there=len(contents) - len(sent) + list(ways.values()).count("there"),
        mounted=list(ways.values()).count("mounted"),
        uploaded=len(uploaded),
        sent=sum(one.size for one in uploaded),
    )


def delivered_text(found: PushSummary) -> str:
    """`3 uploaded (1,200 MB), 12 mounted, 25 there already`."""
    sent = f"{found.uploaded} uploaded ({_megabytes(found.sent)})"
    return f"{sent}, {found.mounted} mounted, {found.there} there already"


def _contents(image: AssembledImage, store: Store) -> tuple[_Content, ...]:
    """The config, then the layers, the largest first."""
    layers = {layer.digest: layer for layer in image.layers}.values()
    config = _Content(digest=image.config_digest, size=len(image.config), source=image.config)
    files = [_Content(digest=one.digest, size=one.size, source=store.blob(one)) for one in layers]
    return config, *sorted(files, key=lambda one: -one.size)


def send_pieces(
    repository: Repository,
    pieces: Sequence[Descriptor],
    store: Store,
    configs: Mapping[str, bytes],
) -> tuple[Descriptor, ...]:
    """Those of these contents that the repository lacks even when it was sent what is here.

    That is what the store has of them, and these configurations by their digest.
    """
    way = _PushTarget(repository=repository, siblings=())
    for one in pieces:
        path = store.blobs / one.digest.removeprefix("sha256:")
        source = configs.get(one.digest, path)
        if source is not path or (path.is_file() and path.stat().st_size == one.size):
            _send(way, _Content(digest=one.digest, size=one.size, source=source))
    return missing_blobs(repository, pieces)


def _descriptor(content: _Content) -> Descriptor:
    return Descriptor(media_type="", digest=content.digest, size=content.size)


def _awaited(
    futures: Mapping[str, Future[UploadOutcome]],
    way: _PushTarget,
    total: int,
    say: Callable[[str], None],
) -> Mapping[str, UploadOutcome]:
    """How each content went; what goes wrong with one, or an interrupt, ends the others."""
    try:
        waiting = set(futures.values())
        while waiting:
            done, waiting = wait(waiting, timeout=TOLD_EVERY, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if waiting and total > _LITTLE:
                at = _megabytes(sum(way.at.values()))
                say(f"{way.repository}: {at} of {_megabytes(total)}")
        return {digest: future.result() for digest, future in futures.items()}
    except BaseException:
        way.stop.set()
        for future in futures.values():
            future.cancel()
        raise


def _send(way: _PushTarget, content: _Content) -> UploadOutcome:
    source = _sibling(way, content)
    try:
        with _opened(way, content) as file:
            return upload_blob(way.repository, file, content.digest, content.size, source=source)
    except OSError as error:
        raise _damaged(content, (error.strerror or str(error)).lower()) from error
    except RegistryRefusal as error:
        if error.status == _BAD and not _is_right(content):
            raise _damaged(content, "it is not what it was") from error
        raise


def _sibling(way: _PushTarget, content: _Content) -> str:
    """A repository of the same registry that has this content; none is an empty text."""
    for name in way.siblings:
        if name in way.closed:
            continue
        neighbour = Repository(registry=way.repository.registry, name=name)
        try:
            if has_blob(neighbour, content.digest, content.size):
                return name
        except NetworkFailure:
            way.closed.add(name)  # it is not there, or not for us: nothing is lost
    return ""


class _Stopped(Exception):
    """Another content could not be sent, or somebody wants it all to end: nothing is wrong here."""


@dataclass(frozen=True, slots=True)
class _ProgressReader:
    """A file that tells how far it was read, and that breaks off when all shall end."""

    file: ReadableFile
    told: Callable[[int], None]
    stop: Event

    def read(self, size: int = -1, /) -> bytes:
        if self.stop.is_set():
            raise _Stopped
        block = self.file.read(size)
        self.told(self.file.tell())
        return block

    def seek(self, offset: int, /) -> int:
        return self.file.seek(offset)

    def tell(self) -> int:
        return self.file.tell()


@contextmanager
def _opened(way: _PushTarget, content: _Content) -> Iterator[ReadableFile]:
    source = content.source
    opened = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with opened as file:
        yield _ProgressReader(file, lambda at: way.at.update({content.digest: at}), way.stop)


def _is_right(content: _Content) -> bool:
    if isinstance(content.source, bytes):
        return True
    with content.source.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}" == content.digest


def _damaged(content: _Content, reason: str) -> Negative:
    return Negative(
        f"{content.digest} cannot be sent: {reason}",
        where=str(content.source) if isinstance(content.source, Path) else "",
        hint="`dlimg layers verify` takes away what is damaged; then build and test again",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
