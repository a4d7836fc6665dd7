"""Layers that hosts and registries refuse, found before anything of an image is pushed."""

import contextlib
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import docker
from docker.models.images import Image as EngineImage
from zstandard import ZstdDecompressor, ZstdError

from dlimg.atomic_write import atomic_write
from dlimg.errors import Negative, Problem
from dlimg.layer.compress import inflate
from dlimg.publish.push_source import PushSource
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.keys import Layer
from dlimg.store.store import Store

# Engines without root map this many numbers; a file of a higher one cannot be unpacked there.
HIGHEST_OWNER: Final = 65_535
# Engines end at 127 layers or fewer, and hosts add some of their own.
MOST_LAYERS: Final = 100
# Registries refuse 10 GB, and pulling such a layer starts anew at each interruption.
LARGEST_LAYER: Final = 8_000_000_000
FOLDER: Final = "layer-owners"
_CHUNK_SIZE: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_TAR_MAGIC: Final = b"ustar"
_MAGIC_AT: Final = 257
_UNREADABLE: Final = (tarfile.TarError, zlib.error, ZstdError, EOFError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedLayer:
    """A layer of an image to push.

    `foreign` describes its first entry with an owner of too high a number; empty if there is none.
    """

    digest: str
    size: int
    foreign: str = ""


def lint_layers(source: PushSource, store: Store, *, state: Path, where: str) -> None:
    """Raise Negative with every layer of the image that hosts refuse; `where` is its cell.

    `state` is a folder for the digests of layers that were read before.
    """
    image = source.image
    if isinstance(image, AssembledImage):
        digests = [layer.digest for layer in image.layers]
        layers = _stored_layers(image, store, state)
    else:
        digests = image.attrs["RootFS"]["Layers"]
        layers = _engine_layers(image, where)
    problems = [*layer_problems(digests, layers, where)]
    if problems:
        raise Negative.of(problems)


def layer_problems(
    digests: Sequence[str], layers: Sequence[PushedLayer], where: str
) -> Iterator[Problem]:
    """Yield a problem for each rule that an image breaks.

    `digests` are those of all its layers, packed or not; `layers` are the distinct ones.
    """
    problem = partial(Problem, where=where)
    if len(digests) > MOST_LAYERS:
        message = f"the image has {len(digests)} layers, more than {MOST_LAYERS}"
        yield problem(message=message, hint="join `RUN` and `COPY` instructions of its template")
    for digest, count in Counter(digests).items():
        if count > 1:
            message = f"the layer {digest} is in the image {count} times"
            hint = "remove the instruction of its template that makes the same files again"
            yield problem(message=message, hint=hint)
    for layer in layers:
        if layer.size > LARGEST_LAYER:
            message = f"the layer {layer.digest} has {layer.size / 1e9:,.1f} GB, more than 8"
            hint = "make its files by several instructions or, for packages, by several wheels"
            yield problem(message=message, hint=hint)
        if layer.foreign:
            message = f"the layer {layer.digest} has owners above {HIGHEST_OWNER}: {layer.foreign}"
            hint = "give the file to root or the image's user (`chown`) in the same instruction"
            yield problem(message=message, hint=hint)


def find_foreign_owner(blocks: Iterable[bytes]) -> str:
    """Return the first entry of a layer, packed or not, with an owner above `HIGHEST_OWNER`.

    Raises one of `_UNREADABLE` for what is no layer.
    """
    reader: Any = _BlockReader(_unpacked(blocks))
    with tarfile.open(fileobj=reader, mode="r|", bufsize=_CHUNK_SIZE) as archive:
        for member in archive:
            if max(member.uid, member.gid) > HIGHEST_OWNER:
                return f"/{member.name.lstrip('./')} belongs to {member.uid}:{member.gid}"
    return ""


def _stored_layers(image: AssembledImage, store: Store, state: Path) -> list[PushedLayer]:
    """Return the distinct layers of an assembled image; this machine reads each once."""
    distinct = {layer.digest: layer for layer in image.layers}.values()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        owners = pool.map(partial(_stored_foreign_owner, store, state), distinct)
        return [
            PushedLayer(digest=layer.digest, size=layer.size, foreign=foreign)
            for layer, foreign in zip(distinct, owners, strict=True)
        ]


def _stored_foreign_owner(store: Store, state: Path, layer: Layer) -> str:
    note = state / FOLDER / layer.digest.removeprefix("sha256:")
    if note.exists():
        return ""
    path = store.blob(layer)
    try:
        with path.open("rb") as file:
            foreign = find_foreign_owner(iter(partial(file.read, _CHUNK_SIZE), b""))
    except (OSError, *_UNREADABLE) as error:
        hint = "`dlimg store verify` removes damaged layers; then build and test again"
        raise Negative(
            f"{layer.digest} cannot be read: {error}", where=str(path), hint=hint
        ) from error
    if not foreign:
        with contextlib.suppress(OSError):
            atomic_write(note, "")
    return foreign


def _engine_layers(image: EngineImage, where: str) -> list[PushedLayer]:
    """Return the distinct layers of an engine's image, as it saves them."""
    blocks: Any = _BlockReader(image.save(chunk_size=_CHUNK_SIZE))
    layers: dict[str, PushedLayer] = {}
    try:
        with tarfile.open(fileobj=blocks, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                layer = _saved_layer(member, file) if file else None
                if layer:
                    layers[layer.digest] = layer
    except (docker.errors.DockerException, *_UNREADABLE) as error:
        raise Negative(f"the engine saved a damaged image: {error}", where=where) from error
    return list(layers.values())


def _saved_layer(member: tarfile.TarInfo, file: IO[bytes]) -> PushedLayer | None:
    """Return the layer that a file of a saved image is, None for a config or manifest."""
    head = file.read(_CHUNK_SIZE)
    is_packed = head.startswith((_GZIP, _ZSTD))
    if not is_packed and head[_MAGIC_AT : _MAGIC_AT + len(_TAR_MAGIC)] != _TAR_MAGIC:
        return None
    blocks = chain([head], iter(partial(file.read, _CHUNK_SIZE), b""))
    return PushedLayer(
        digest=member.name.replace("blobs/sha256/", "sha256:"),
        size=member.size,
        foreign=find_foreign_owner(blocks),
    )


def _unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the tar of a layer that is packed by gzip, by zstd, or not at all."""
    stream = iter(blocks)
    head = next(stream, b"")
    all_bytes = chain([head], stream)
    if head.startswith(_GZIP):
        return inflate(all_bytes)
    if head.startswith(_ZSTD):
        reader: Any = _BlockReader(all_bytes)
        frames = ZstdDecompressor().stream_reader(reader, read_across_frames=True)
        return iter(partial(frames.read, _CHUNK_SIZE), b"")
    return all_bytes


class _BlockReader:
    """A file of these blocks, to read from beginning to end."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = iter(blocks)
        self.block = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts: list[memoryview] = []
        missing = size
        while missing:
            if not self.block:
                self.block = memoryview(next(self.blocks, b""))
            part = self.block[:missing]
            if not part:
                break
            parts.append(part)
            self.block = self.block[len(part) :]
            missing -= len(part)
        return b"".join(parts)
