"""What a step has changed in a root file system, as the tar that containerd would write of it.

Below is the tar that the folder was unpacked from. A folder's time is no change, and a file is
read only where nothing else about it differs (continuity's `fs.Changes`).
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from dlimg.layer.tar import MAX_NAME, header_block, pad_to_block, pax_record
from dlimg.layer.whiteout import (
    member_path,
    parent_folder,
    path_sort_key,
    whiteout_header,
    whiteout_path,
)

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_END: Final = bytes(2 * _BLOCK)
_CAPABILITY: Final = "security.capability"
_KINDS: Final[Mapping[int, bytes]] = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _DiskFile:
    """A thing in the folder."""

    path: str
    place: Path
    about: os.stat_result

    @property
    def kind(self) -> bytes:
        return _KINDS[stat.S_IFMT(self.about.st_mode)]

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.about.st_mode)

    @property
    def target(self) -> str:
        return str(self.place.readlink()) if self.kind == tarfile.SYMTYPE else ""

    @property
    def size(self) -> int:
        return self.about.st_size if self.kind == tarfile.REGTYPE else 0

    @property
    def capability(self) -> bytes:
        if self.kind != tarfile.REGTYPE or _CAPABILITY not in os.listxattr(self.place):
            return b""
        return os.getxattr(self.place, _CAPABILITY)


def diff_rootfs(root: Path, below: tarfile.TarFile) -> Iterator[bytes]:
    """The pieces of the layer's tar."""
    known = {
        member_path(member): member for member in below if member_path(member) not in {"", "."}
    }
    found = {one.path: one for one in _list_files(root, "")}
    removed = {
        path for path in known.keys() - found.keys() if _is_folder(found, parent_folder(path))
    }
    new = {path for path, one in found.items() if not _is_unchanged(one, below, known)}
    parents = {str(one) for path in new | removed for one in PurePosixPath(path).parents}
    first: dict[int, str] = {}
    for path in sorted((new | removed | parents) - {"."}, key=path_sort_key):
        if path in removed:
            yield whiteout_header(whiteout_path(path))
        else:
            yield from _tar_entry(found[path], first)
    yield _END


def _list_files(folder: Path, above: str) -> Iterator[_DiskFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if stat.S_ISSOCK(about.st_mode):
                continue
            path = f"{above}{entry.name}"
            yield _DiskFile(path=path, place=Path(entry.path), about=about)
            if entry.is_dir(follow_symlinks=False):
                yield from _list_files(Path(entry.path), f"{path}/")


def _is_unchanged(
    one: _DiskFile, below: tarfile.TarFile, known: Mapping[str, tarfile.TarInfo]
) -> bool:
    member = known.get(one.path)
    if member is None:
        return False
    # Of a link to a file the tar says only which file that is.
    named = known[member.linkname.removeprefix("./")] if member.islnk() else member
    target = named.linkname if named.issym() else ""
    about = (one.kind, one.mode, one.about.st_uid, one.about.st_gid, one.target, one.capability)
    if about != (*_tar_attributes(named), target, _capability(named)):
        return False
    if named.isdir():
        return True
    if (int(one.about.st_mtime), one.size) != (int(named.mtime), named.size):
        return False
    return not named.isreg() or _has_same_content(one, below, named)


def _tar_attributes(member: tarfile.TarInfo) -> tuple[bytes, int, int, int]:
    kind = tarfile.REGTYPE if member.isreg() else member.type
    return kind, member.mode, member.uid, member.gid


def _capability(member: tarfile.TarInfo) -> bytes:
    said = member.pax_headers.get(f"SCHILY.xattr.{_CAPABILITY}", "")
    return said.encode(errors="surrogateescape")


def _has_same_content(one: _DiskFile, below: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    file = below.extractfile(member)
    if file is None:
        return False
    with one.place.open("rb") as other, file:
        while piece := file.read(_PIECE):
            if other.read(len(piece)) != piece:
                return False
    return True


def _tar_entry(one: _DiskFile, first: dict[int, str]) -> Iterator[bytes]:
    """A header and a content; of the names of one file all but the first are links to that."""
    source = ""
    if one.kind == tarfile.REGTYPE and one.about.st_nlink > 1:
        source = first.setdefault(one.about.st_ino, one.path)
    if source not in {"", one.path}:
        yield _header(one, tarfile.LNKTYPE, source, 0)
        return
    yield _header(one, one.kind, one.target, one.size)
    if one.size:
        with one.place.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        yield bytes(-one.size % _BLOCK)


def _header(one: _DiskFile, kind: bytes, target: str, size: int) -> bytes:
    """As Go's archive/tar writes it in the format PAX: what does not fit, in records before it."""
    name = os.fsencode(one.path) + (b"/" if kind == tarfile.DIRTYPE else b"")
    link = os.fsencode(target)
    records = {}
    if len(name) > MAX_NAME or not name.isascii():
        records[b"path"] = name
    if len(link) > MAX_NAME or not link.isascii():
        records[b"linkpath"] = link
    if one.capability and kind == tarfile.REGTYPE:
        records[f"SCHILY.xattr.{_CAPABILITY}".encode()] = one.capability
    before = b""
    if records:
        text = b"".join(pax_record(key, value) for key, value in sorted(records.items()))
        folder, _, last = os.fsencode(one.path).rpartition(b"/")
        said = b"/".join([*([folder] if folder else []), b"PaxHeaders.0", last])
        before = header_block(_ascii(said), kind=tarfile.XHDTYPE, size=len(text)) + pad_to_block(
            text
        )
    about = one.about
    numbers = (os.major(about.st_rdev), os.minor(about.st_rdev)) if kind in b"34" else (0, 0)
    return before + header_block(
        _ascii(name),
        kind=kind,
        size=size,
        link=_ascii(link),
        owner=(one.mode, about.st_uid, about.st_gid),
        time=int(about.st_mtime),
        device=b"%07o\0%07o\0" % numbers,
    )


def _ascii(text: bytes) -> bytes:
    return bytes(byte for byte in text if byte < 128)


def _is_folder(found: Mapping[str, _DiskFile], path: str) -> bool:
    return not path or (path in found and found[path].kind == tarfile.DIRTYPE)
