"""`docker save` of an engine with the classic image store, as the layout that BuildKit would write.

Such an engine has no OCI exporter. Its store holds the same files as containerd's, with three
differences in the layers. They also hold files and folders that are the same as in the layer below,
because overlayfs copied them up. A folder that was made anew hides all of the old one, while
containerd deletes single files. Whiteouts have a modification time.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Final

from dlimg.engine.client import Engine
from dlimg.errors import Negative
from dlimg.host.process import run_checked
from dlimg.layer.compress import CountingHash
from dlimg.layer.whiteout import (
    is_opaque,
    is_whiteout,
    member_path,
    parent_folder,
    path_sort_key,
    whiteout_header,
    whiteout_hides,
    whiteout_path,
)
from dlimg.model import EPOCH

SECONDS: Final = 600.0
_CREATED: Final = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_BUILDKIT: Final = "buildkit.dockerfile.v0"
_CHUNK_SIZE: Final = 1 << 20
_BLOCK: Final = 512
_TAR_END: Final = bytes(2 * _BLOCK)
_TYPE: Final = "application/vnd.oci.image"

_Files = Mapping[str, tuple[tarfile.TarFile, tarfile.TarInfo]]


def save_as_layout(engine: Engine, name: str, layout: Path) -> None:
    """Write the engine's image of this name as an OCI layout with uncompressed layers.

    Raises Negative when the engine does not save it.
    """
    layout.mkdir()
    archive = layout / "saved.tar"
    argv = [str(engine.docker), "image", "save", "--output", str(archive), name]
    run_checked(argv, env=engine.environment, timeout=SECONDS)
    try:
        with tarfile.open(archive, "r:") as tar:
            _write_layout(tar, layout)
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Negative(f"the engine saved a damaged image: {error}", where=name) from error
    finally:
        archive.unlink()


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        yield from _read_chunks(file)


def containerd_layer(layer: tarfile.TarFile, below: Sequence[tarfile.TarFile]) -> Iterator[bytes]:
    """Yield the tar that containerd makes of this layer on these layers, lowest first."""
    lower = _merge_layers(below)
    changed = {member_path(member): member for member in _changed_members(layer, lower)}
    whiteouts = {path: None for path in changed if is_whiteout(path)} | dict.fromkeys(
        _whiteouts_of_opaque(layer, lower)
    )
    file: Any = layer.fileobj
    for path in sorted({**changed, **whiteouts}, key=path_sort_key):
        if path in whiteouts:
            yield whiteout_header(path)
            continue
        member = changed[path]
        file.seek(member.offset)
        size = _padded_size(member.size) if member.isreg() else 0
        bytes_left = member.offset_data - member.offset + size
        while bytes_left:
            chunk = file.read(min(bytes_left, _CHUNK_SIZE))
            bytes_left -= len(chunk)
            yield chunk
    yield _TAR_END


def _merge_layers(layers: Sequence[tarfile.TarFile]) -> _Files:
    """Return the files by path of an image with these layers."""
    files: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {}
    for tar in layers:
        for whiteout in filter(is_whiteout, map(member_path, tar.getmembers())):
            for path in [path for path in files if whiteout_hides(whiteout, path)]:
                del files[path]
        files |= {
            member_path(member): (tar, member)
            for member in tar
            if not is_whiteout(member_path(member))
        }
    return files


def _whiteouts_of_opaque(layer: tarfile.TarFile, lower: _Files) -> Iterator[str]:
    """Yield a whiteout for each lower file that an opaque folder of the layer hides."""
    paths = {member_path(member) for member in layer}
    opaque = {parent_folder(path) for path in paths if is_opaque(path)}
    for path in lower:
        if parent_folder(path) in opaque and path not in paths:
            yield whiteout_path(path)


def _changed_members(layer: tarfile.TarFile, lower: _Files) -> list[tarfile.TarInfo]:
    """Return the members that differ from the lower files, and the folders above them."""
    changed: list[tarfile.TarInfo] = []
    parents = {parent_folder(path) for path in _whiteouts_of_opaque(layer, lower)}
    for member in reversed(layer.getmembers()):
        path = member_path(member)
        if path not in parents and (is_opaque(path) or _is_unchanged(layer, member, lower)):
            continue
        changed.append(member)
        while path:
            path = parent_folder(path)
            parents.add(path)
    return changed


def _is_unchanged(layer: tarfile.TarFile, member: tarfile.TarInfo, lower: _Files) -> bool:
    """Compare as containerd does (continuity's `fs.Changes`): a folder's time does not count."""
    if member_path(member) not in lower:
        return False
    tar, other = lower[member_path(member)]
    if _attributes(member) != _attributes(other):
        return False
    if member.isdir():
        return True
    if (int(member.mtime), member.size) != (int(other.mtime), other.size):
        return False
    return not member.isreg() or _read_member(layer, member) == _read_member(tar, other)


def _attributes(member: tarfile.TarInfo) -> tuple[object, ...]:
    xattrs = {name: text for name, text in member.pax_headers.items() if "xattr" in name}
    return (member.type, member.mode, member.uid, member.gid, member.linkname, xattrs)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _padded_size(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _write_layout(archive: tarfile.TarFile, layout: Path) -> None:
    (saved,) = json.loads(_open_member(archive, "manifest.json").read())
    config = json.loads(_open_member(archive, saved["Config"]).read())
    built = _count_built_layers(config)
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    with ExitStack() as stack:
        files = [_open_member(archive, name) for name in saved["Layers"]]
        tars = [stack.enter_context(tarfile.open(fileobj=file, mode="r:")) for file in files]
        for number, tar in enumerate(tars):
            is_built = number >= len(tars) - built
            stream = (
                containerd_layer(tar, tars[:number]) if is_built else _read_chunks(files[number])
            )
            layers.append(_write_layer(stream, blobs))
            diff_ids.append(layers[-1]["digest"])
    config["rootfs"]["diff_ids"] = diff_ids
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": _write_json(blobs, config, f"{_TYPE}.config.v1+json"),
        "layers": layers,
    }
    index = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.index.v1+json",
        "manifests": [_write_json(blobs, manifest, f"{_TYPE}.manifest.v1+json")],
    }
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")


def _count_built_layers(config: Mapping[str, Any]) -> int:
    """Count the layers that BuildKit added to the base, which all have dlimg's fixed time."""
    steps = [step for step in config.get("history") or () if not step.get("empty_layer")]
    built = {"created": _CREATED, "comment": _BUILDKIT}
    return sum(built.items() <= step.items() for step in steps)


def _write_layer(tar: Iterator[bytes], blobs: Path) -> dict[str, object]:
    """Write the layer into the blobs; return its descriptor."""
    layer = CountingHash()
    with (blobs / "layer").open("wb") as file:
        for chunk in tar:
            layer.update(chunk)
            file.write(chunk)
    (blobs / "layer").rename(blobs / layer.digest.removeprefix("sha256:"))
    return {"mediaType": f"{_TYPE}.layer.v1.tar", "digest": layer.digest, "size": layer.size}


def _read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK_SIZE):
        yield chunk


def _write_json(blobs: Path, content: object, media_type: str) -> dict[str, object]:
    """Write the content into the blobs; return its descriptor."""
    text = json.dumps(content).encode()
    digest = sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(text)}


def _open_member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open a file in the archive; engines before Docker 25 may have a link to an earlier layer."""
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    return file
