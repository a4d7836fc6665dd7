"""Pushing an assembled image from the layer store: only the blobs that the registry lacks."""

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
from dlimg.model import GZIP
from dlimg.registry.blobs import (
    UploadOutcome,
    has_blob,
    missing_blobs,
    require_blobs,
    upload_blob,
)
from dlimg.registry.http import ReadableFile, Repository
from dlimg.registry.manifests import Descriptor, put_manifest
from dlimg.registry.responses import RegistryRefusal
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store
from dlimg.units import counted

AT_ONCE: Final = 4
LOG_SECONDS: Final = 10.0
# Uploads below this many bytes are over before a log line would help.
_SMALL: Final = 10_000_000
_BAD_REQUEST: Final = 400
# Registries' answers to a manifest that they do not accept.
_INVALID_MANIFEST: Final = frozenset({400, 406, 415, 422})
ZSTD_HINT: Final = (
    "if the registry takes no zstd layers, publish with `--compression gzip`, or state"
    " `compression: gzip` in the matrix"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSummary:
    """The number of an image's blobs that were present, mounted and uploaded.

    `sent` is the number of bytes uploaded.
    """

    present: int
    mounted: int
    uploaded: int
    sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """A layer's file, or the bytes of a config."""

    digest: str
    size: int
    source: Path | bytes = field(repr=False)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(media_type="", digest=self.digest, size=self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PushTarget:
    """The repository to push to, and siblings to mount from.

    `sent` is the bytes sent so far by digest, `closed` the siblings that cannot be read, `stop`
    ends all uploads.
    """

    repository: Repository
    siblings: Sequence[str]
    sent: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    stop: Event = field(default_factory=Event)


def push_image(
    repository: Repository,
    tag: str,
    image: AssembledImage,
    store: Store,
    *,
    siblings: Sequence[str] = (),
    log: Callable[[str], None],
) -> PushSummary:
    """Push the image under this tag, several blobs at once.

    `siblings` are repositories of the same registry whose layers may be mounted. Raises
    `NetworkFailure` when the registry refuses a blob, `Negative` when one is damaged in the store.
    """
    target = _PushTarget(repository=repository, siblings=siblings)
    blobs = _blobs_of(image, store)
    missing = missing_blobs(repository, (blob.descriptor for blob in blobs))
    digests = {descriptor.digest for descriptor in missing}
    to_send = [blob for blob in blobs if blob.digest in digests]
    total = sum(blob.size for blob in to_send)
    if total > _SMALL:
        count = f"{len(to_send)} of {counted(len(blobs), 'blob')}"
        log(f"{repository} lacks {count}, {_megabytes(total)}")
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        futures = {blob.digest: pool.submit(_upload, target, blob) for blob in to_send}
        outcomes = _wait_for_all(futures, target, total, log)
    require_blobs(repository, (blob.descriptor for blob in to_send))
    _put_manifest(repository, tag, image)
    uploaded = [blob for blob in to_send if outcomes[blob.digest] == "uploaded"]
    return PushSummary(
        present=len(blobs) - len(to_send) + list(outcomes.values()).count("present"),
        mounted=list(outcomes.values()).count("mounted"),
        uploaded=len(uploaded),
        sent=sum(blob.size for blob in uploaded),
    )


def _put_manifest(repository: Repository, tag: str, image: AssembledImage) -> None:
    """Push the image's manifest; a registry that refuses zstd layers may do so here."""
    try:
        put_manifest(repository, tag, image.manifest, image.media_type)
    except RegistryRefusal as error:
        if error.status not in _INVALID_MANIFEST or image.compression == GZIP:
            raise
        message = error.problems[0].message
        raise RegistryRefusal(message, status=error.status, hint=ZSTD_HINT) from error


def push_summary_text(summary: PushSummary) -> str:
    """Return a text such as `3 uploaded (1,200 MB), 12 mounted, 25 already there`."""
    uploaded = f"{summary.uploaded} uploaded ({_megabytes(summary.sent)})"
    return f"{uploaded}, {summary.mounted} mounted, {summary.present} already there"


def push_blobs(
    repository: Repository,
    blobs: Sequence[Descriptor],
    store: Store,
    configs: Mapping[str, bytes],
) -> tuple[Descriptor, ...]:
    """Push those of these blobs that are in the store; return those still missing.

    `configs` are configs by digest, which the store does not have as files.
    """
    target = _PushTarget(repository=repository, siblings=())
    for blob in blobs:
        path = store.blobs / blob.digest.removeprefix("sha256:")
        source = configs.get(blob.digest, path)
        if source is not path or (path.is_file() and path.stat().st_size == blob.size):
            _upload(target, _Blob(digest=blob.digest, size=blob.size, source=source))
    return missing_blobs(repository, blobs)


def _blobs_of(image: AssembledImage, store: Store) -> tuple[_Blob, ...]:
    """Return the config, then the layers, the largest first."""
    layers = {layer.digest: layer for layer in image.layers}.values()
    config = _Blob(digest=image.config_digest, size=len(image.config), source=image.config)
    files = [
        _Blob(digest=layer.digest, size=layer.size, source=store.blob(layer)) for layer in layers
    ]
    return config, *sorted(files, key=lambda blob: -blob.size)


def _wait_for_all(
    futures: Mapping[str, Future[UploadOutcome]],
    target: _PushTarget,
    total: int,
    log: Callable[[str], None],
) -> Mapping[str, UploadOutcome]:
    """Return the outcome of each upload; an error in one, or an interrupt, stops the others."""
    try:
        waiting = set(futures.values())
        while waiting:
            done, waiting = wait(waiting, timeout=LOG_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            if waiting and total > _SMALL:
                sent = _megabytes(sum(target.sent.values()))
                log(f"{target.repository}: {sent} of {_megabytes(total)}")
        return {digest: future.result() for digest, future in futures.items()}
    except BaseException:
        target.stop.set()
        for future in futures.values():
            future.cancel()
        raise


def _upload(target: _PushTarget, blob: _Blob) -> UploadOutcome:
    source = _find_sibling(target, blob)
    try:
        with _open(target, blob) as file:
            return upload_blob(target.repository, file, blob.digest, blob.size, source=source)
    except OSError as error:
        raise _damaged(blob, (error.strerror or str(error)).lower()) from error
    except RegistryRefusal as error:
        if error.status == _BAD_REQUEST and not _has_right_digest(blob):
            raise _damaged(blob, "the file has changed") from error
        raise


def _find_sibling(target: _PushTarget, blob: _Blob) -> str:
    """Return a sibling repository that has this blob, or an empty text."""
    for name in target.siblings:
        if name in target.closed:
            continue
        sibling = Repository(registry=target.repository.registry, name=name)
        try:
            if has_blob(sibling, blob.digest, blob.size):
                return name
        except NetworkFailure:
            target.closed.add(name)  # missing, or not readable for this user
    return ""


class _Stopped(Exception):
    """The upload ends because another one failed, or the user interrupted."""


@dataclass(frozen=True, slots=True)
class _ProgressReader:
    """A file that reports its position after each read, and raises `_Stopped` on `stop`."""

    file: ReadableFile
    on_progress: Callable[[int], None]
    stop: Event

    def read(self, size: int = -1, /) -> bytes:
        if self.stop.is_set():
            raise _Stopped
        block = self.file.read(size)
        self.on_progress(self.file.tell())
        return block

    def seek(self, offset: int, /) -> int:
        return self.file.seek(offset)

    def tell(self) -> int:
        return self.file.tell()


@contextmanager
def _open(target: _PushTarget, blob: _Blob) -> Iterator[ReadableFile]:
    source = blob.source
    opened = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with opened as file:
        yield _ProgressReader(
            file, lambda position: target.sent.update({blob.digest: position}), target.stop
        )


def _has_right_digest(blob: _Blob) -> bool:
    if isinstance(blob.source, bytes):
        return True
    with blob.source.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}" == blob.digest


def _damaged(blob: _Blob, reason: str) -> Negative:
    return Negative(
        f"{blob.digest} cannot be sent: {reason}",
        where=str(blob.source) if isinstance(blob.source, Path) else "",
        hint="`dlimg store verify` removes damaged layers; then build and test again",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
