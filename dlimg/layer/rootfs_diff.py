"""The changes in a root file system as a layer's tar, as containerd would write it.

The folder is compared with the tar that it was unpacked from. A folder's time alone does not count,
and a file is read only if its other attributes are equal (continuity's `fs.Changes`).
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
_CHUNK_SIZE: Final = 1 << 20
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
    """A file, folder, link or device in the root file system; `disk_path` is its path on disk."""

    path: str
    disk_path: Path
    status: os.stat_result

    @property
    def kind(self) -> bytes:
        return _KINDS[stat.S_IFMT(self.status.st_mode)]

    @property
    def mode(self) -> int:
        return stat.S_IMODE(self.status.st_mode)

    @property
    def target(self) -> str:
        return str(self.disk_path.readlink()) if self.kind == tarfile.SYMTYPE else ""

    @property
    def size(self) -> int:
        return self.status.st_size if self.kind == tarfile.REGTYPE else 0

    @property
    def capability(self) -> bytes:
        if self.kind != tarfile.REGTYPE or _CAPABILITY not in os.listxattr(self.disk_path):
            return b""
        return os.getxattr(self.disk_path, _CAPABILITY)


def diff_rootfs(root: Path, below: tarfile.TarFile) -> Iterator[bytes]:
    """Yield the tar of the differences between the folder and the tar below."""
    known = {
        member_path(member): member for member in below if member_path(member) not in {"", "."}
    }
    files = {file.path: file for file in _list_files(root, "")}
    removed = {
        path for path in known.keys() - files.keys() if _is_folder(files, parent_folder(path))
    }
    changed = {path for path, file in files.items() if not _is_unchanged(file, below, known)}
    parents = {str(parent) for path in changed | removed for parent in PurePosixPath(path).parents}
    first_paths: dict[int, str] = {}
    for path in sorted((changed | removed | parents) - {"."}, key=path_sort_key):
        if path in removed:
            yield whiteout_header(whiteout_path(path))
        else:
            yield from _tar_entry(files[path], first_paths)
    yield _END


def _list_files(folder: Path, above: str) -> Iterator[_DiskFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                continue
            path = f"{above}{entry.name}"
            yield _DiskFile(path=path, disk_path=Path(entry.path), status=status)
            if entry.is_dir(follow_symlinks=False):
                yield from _list_files(Path(entry.path), f"{path}/")


def _is_unchanged(
    file: _DiskFile, below: tarfile.TarFile, known: Mapping[str, tarfile.TarInfo]
) -> bool:
    member = known.get(file.path)
    if member is None:
        return False
    # For a hard link the tar has only the path of the file.
    original = known[member.linkname.removeprefix("./")] if member.islnk() else member
    target = original.linkname if original.issym() else ""
    attributes = (
        file.kind,
        file.mode,
        file.status.st_uid,
        file.status.st_gid,
        file.target,
        file.capability,
    )
    if attributes != (*_tar_attributes(original), target, _capability(original)):
        return False
    if original.isdir():
        return True
    if (int(file.status.st_mtime), file.size) != (int(original.mtime), original.size):
        return False
    return not original.isreg() or _has_same_content(file, below, original)


def _tar_attributes(member: tarfile.TarInfo) -> tuple[bytes, int, int, int]:
    kind = tarfile.REGTYPE if member.isreg() else member.type
    return kind, member.mode, member.uid, member.gid


def _capability(member: tarfile.TarInfo) -> bytes:
    value = member.pax_headers.get(f"SCHILY.xattr.{_CAPABILITY}", "")
    return value.encode(errors="surrogateescape")


def _has_same_content(file: _DiskFile, below: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    lower = below.extractfile(member)
    if lower is None:
        return False
    with file.disk_path.open("rb") as content, lower:
        while chunk := lower.read(_CHUNK_SIZE):
            if content.read(len(chunk)) != chunk:
                return False
    return True


def _tar_entry(file: _DiskFile, first_paths: dict[int, str]) -> Iterator[bytes]:
    """Yield header and content; all paths of a file but the first become hard links to that."""
    source = ""
    if file.kind == tarfile.REGTYPE and file.status.st_nlink > 1:
        source = first_paths.setdefault(file.status.st_ino, file.path)
    if source not in {"", file.path}:
        yield _header(file, tarfile.LNKTYPE, source, 0)
        return
    yield _header(file, file.kind, file.target, file.size)
    if file.size:
        with file.disk_path.open("rb") as content:
            while chunk := content.read(_CHUNK_SIZE):
                yield chunk
        yield bytes(-file.size % _BLOCK)


def _header(file: _DiskFile, kind: bytes, target: str, size: int) -> bytes:
    """Return the header as Go's archive/tar writes it, with pax records for what does not fit."""
    name = os.fsencode(file.path) + (b"/" if kind == tarfile.DIRTYPE else b"")
    link = os.fsencode(target)
    records = {}
    if len(name) > MAX_NAME or not name.isascii():
        records[b"path"] = name
    if len(link) > MAX_NAME or not link.isascii():
        records[b"linkpath"] = link
    if file.capability and kind == tarfile.REGTYPE:
        records[f"SCHILY.xattr.{_CAPABILITY}".encode()] = file.capability
    pax_header = b""
    if records:
        text = b"".join(pax_record(key, value) for key, value in sorted(records.items()))
        folder, _, last = os.fsencode(file.path).rpartition(b"/")
        pax_name = b"/".join([*([folder] if folder else []), b"PaxHeaders.0", last])
        pax_header = header_block(
            _ascii(pax_name), kind=tarfile.XHDTYPE, size=len(text)
        ) + pad_to_block(text)
    status = file.status
    numbers = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in b"34" else (0, 0)
    return pax_header + header_block(
        _ascii(name),
        kind=kind,
        size=size,
        link=_ascii(link),
        owner=(file.mode, status.st_uid, status.st_gid),
        time=int(status.st_mtime),
        device=b"%07o\0%07o\0" % numbers,
    )


def _ascii(text: bytes) -> bytes:
    return bytes(byte for byte in text if byte < 128)


def _is_folder(files: Mapping[str, _DiskFile], path: str) -> bool:
    return not path or (path in files and files[path].kind == tarfile.DIRTYPE)
