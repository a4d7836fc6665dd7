"""An image of an engine with the classic image store, as the OCI layout that BuildKit would write.

Such an engine has no OCI exporter, only `docker save`; and the layers that it makes differ from
those of containerd's store, though they hold the same files. What is too much is left out here:
files and folders that are as below (overlayfs copied them up), and marks that hide folders which
are not there. What stands for a removed file gets containerd's header, which has no time.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from dlimg.draw.dockerfile import EPOCH
from dlimg.engine.client import Engine
from dlimg.engine.process import check
from dlimg.errors import Negative
from dlimg.layers.splice import Counted

SECONDS: Final = 600.0
_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_END: Final = bytes(2 * _BLOCK)
_REMOVED: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_KIND: Final = "application/vnd.oci.image"

_Below = Mapping[str, tuple[tarfile.TarFile, tarfile.TarInfo]]


def saved(engine: Engine, name: str, layout: Path) -> None:
    """Writes the engine's image of this name, its layers not compressed.

    Raises Negative when the engine does not give it.
    """
    layout.mkdir()
    archive = layout / "saved.tar"
    argv = [str(engine.docker), "image", "save", "--output", str(archive), name]
    check(argv, env=engine.environment, timeout=SECONDS)
    try:
        with tarfile.open(archive, "r:") as tar:
            _write(tar, layout)
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Negative(f"the engine saved a damaged image: {error}", where=name) from error
    finally:
        archive.unlink()


def whole(blob: Path) -> Iterator[bytes]:
    """A file, in pieces."""
    with blob.open("rb") as file:
        yield from _pieces(file)


def same_as_containerd(layer: tarfile.TarFile, below: Sequence[tarfile.TarFile]) -> Iterator[bytes]:
    """The tar that containerd makes of this layer, above those, lowest first."""
    known: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {
        _path(member): (tar, member) for tar in below for member in tar
    }
    file: Any = layer.fileobj
    for member in _changed(layer, known):
        if member.name.rpartition("/")[2].startswith(_REMOVED):
            yield _removal(member.name)
            continue
        file.seek(member.offset)
        left = member.offset_data - member.offset + (_padded(member.size) if member.isreg() else 0)
        while left:
            piece = file.read(min(left, _PIECE))
            left -= len(piece)
            yield piece
    yield _END


def _changed(layer: tarfile.TarFile, below: _Below) -> list[tarfile.TarInfo]:
    """What is not as below, and the folders that it lies in; in the order of the layer."""
    found: list[tarfile.TarInfo] = []
    parents = set[str]()
    for member in reversed(layer.getmembers()):
        path = _path(member)
        folder, _, name = path.rpartition("/")
        is_needless = folder not in below if name == _OPAQUE else _is_as_below(layer, member, below)
        if is_needless and path not in parents:
            continue
        found.append(member)
        while path:
            path = path.rpartition("/")[0]
            parents.add(path)
    return found[::-1]


def _is_as_below(layer: tarfile.TarFile, member: tarfile.TarInfo, below: _Below) -> bool:
    """As containerd compares (continuity's `fs.Changes`): a folder's time does not count."""
    if _path(member) not in below:
        return False
    tar, other = below[_path(member)]
    if _about(member) != _about(other):
        return False
    if member.isdir():
        return True
    if (int(member.mtime), member.size) != (int(other.mtime), other.size):
        return False
    return not member.isreg() or _content(layer, member) == _content(tar, other)


def _about(member: tarfile.TarInfo) -> tuple[object, ...]:
    attributes = {name: text for name, text in member.pax_headers.items() if "xattr" in name}
    return (member.type, member.mode, member.uid, member.gid, member.linkname, attributes)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _removal(path: str) -> bytes:
    """The header with which containerd says that a file below is gone."""
    member = tarfile.TarInfo(path)
    member.mode = 0
    block = bytearray(member.tobuf(tarfile.PAX_FORMAT))
    header = block[-_BLOCK:]  # before it lies a longer path, if any
    header[329:345] = b"0000000\0" * 2  # the device's numbers, which Python leaves empty
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(block[:-_BLOCK] + header)


def _write(archive: tarfile.TarFile, layout: Path) -> None:
    (described,) = json.loads(_member(archive, "manifest.json").read())
    config = json.loads(_member(archive, described["Config"]).read())
    count = _made_here(config)
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    with ExitStack() as opened:
        files = [_member(archive, name) for name in described["Layers"]]
        tars = [opened.enter_context(tarfile.open(fileobj=file, mode="r:")) for file in files]
        for number, tar in enumerate(tars):
            is_new = number >= len(tars) - count
            stream = same_as_containerd(tar, tars[:number]) if is_new else _pieces(files[number])
            layers.append(_written(stream, blobs))
            diff_ids.append(layers[-1]["digest"])
    config["rootfs"]["diff_ids"] = diff_ids
    described = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}.manifest.v1+json",
        "config": _kept(blobs, config, f"{_KIND}.config.v1+json"),
        "layers": layers,
    }
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_KIND}.index.v1+json",
        "manifests": [_kept(blobs, described, f"{_KIND}.manifest.v1+json")],
    }
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")


def _made_here(config: Mapping[str, Any]) -> int:
    """How many layers BuildKit has put on the base: their steps have the time that we gave it."""
    steps = [step for step in config.get("history") or () if not step.get("empty_layer")]
    return sum(str(step.get("created")) == _CREATED for step in steps)


def _written(tar: Iterator[bytes], blobs: Path) -> dict[str, object]:
    """The descriptor of a layer that is among the blobs now."""
    made = Counted()
    with (blobs / "layer").open("wb") as out:
        for piece in tar:
            made.update(piece)
            out.write(piece)
    (blobs / "layer").rename(blobs / made.digest.removeprefix("sha256:"))
    return {"mediaType": f"{_KIND}.layer.v1.tar", "digest": made.digest, "size": made.size}


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _kept(blobs: Path, content: object, kind: str) -> dict[str, object]:
    """The descriptor of this content, which is among the blobs now."""
    text = json.dumps(content).encode()
    digest = sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(text)}


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file in the archive; engines before Docker 25 may have a link to a layer seen before."""
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
