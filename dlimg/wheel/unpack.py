"""The contents of a wheel's members, inflated and checked in chunks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

# Inflates and refuses the same streams as zlib, in half of the time.
from zlib_ng import zlib_ng

from dlimg.wheel.archive import DEFLATED, ArchiveMember, WheelArchive
from dlimg.wheel.errors import damaged_wheel, invalid_wheel

CHUNK_SIZE: Final = 1 << 18
# The limit for members that are read whole: metadata, RECORD, scripts. Torch's RECORD has 1.5 MB.
MAX_TEXT_SIZE: Final = 32 << 20
_ZLIB_ERROR: Final = cast("type[Exception]", zlib_ng.error)  # its stub calls this an instance


def iter_compressed(path: Path, member: ArchiveMember) -> Iterator[bytes]:
    """Yield the member's bytes as they are in the wheel; raises BadInput if it ends early."""
    bytes_left = member.packed
    with path.open("rb", buffering=0) as file:
        file.seek(member.offset)
        while bytes_left:
            chunk = file.read(min(CHUNK_SIZE, bytes_left))
            if not chunk:
                raise damaged_wheel(path.name, f"it ends within {member.path}")
            bytes_left -= len(chunk)
            yield chunk


def iter_content(path: Path, member: ArchiveMember) -> Iterator[bytes]:
    """Yield the member's content; raises BadInput if it differs from the zip directory."""
    reader = MemberReader(path.name, member)
    for chunk in iter_compressed(path, member):
        yield from reader.feed(chunk)
    reader.finish()


def read_content(archive: WheelArchive, member: ArchiveMember) -> bytes:
    """Return a small member's content; raises BadInput for a large one."""
    if member.size > MAX_TEXT_SIZE:
        raise invalid_wheel(archive.file, f"{member.path} is too large to be read whole")
    return b"".join(iter_content(archive.path, member))


class MemberReader:
    """Inflates and checks one member, a chunk at a time, so that memory stays bounded."""

    def __init__(self, file: str, member: ArchiveMember) -> None:
        self._file = file
        self._member = member
        self._inflater = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS)
        self._crc = 0
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the content of a chunk of compressed bytes; exhaust it before the next chunk."""
        if self._member.method != DEFLATED:
            self._count(chunk)
            yield chunk
            return
        while True:
            content = self._inflate(chunk)
            if content:
                yield content
            chunk = self._inflater.unconsumed_tail
            # zlib may have consumed the whole chunk and still hold back output beyond the limit.
            if not chunk and len(content) < CHUNK_SIZE:
                return

    def finish(self) -> None:
        """Raise BadInput unless stream, size and CRC are those of the zip directory."""
        if self._member.method == DEFLATED and not self._inflater.eof:
            raise damaged_wheel(self._file, f"{self._member.path} is cut off")
        if self._size != self._member.size:
            raise damaged_wheel(
                self._file, f"{self._member.path} has {self._size} bytes, not {self._member.size}"
            )
        if self._crc != self._member.crc:
            raise damaged_wheel(self._file, f"{self._member.path} has a wrong CRC")

    def _inflate(self, chunk: bytes) -> bytes:
        try:
            content = self._inflater.decompress(chunk, CHUNK_SIZE)
        except _ZLIB_ERROR:
            raise damaged_wheel(self._file, f"{self._member.path} cannot be unpacked") from None
        if self._inflater.unused_data:
            raise invalid_wheel(self._file, f"{self._member.path} goes on behind its stream's end")
        self._count(content)
        return content

    def _count(self, content: bytes) -> None:
        self._size += len(content)
        if self._size > self._member.size:
            raise invalid_wheel(
                self._file, f"{self._member.path} is larger than its {self._member.size} bytes"
            )
        self._crc = zlib_ng.crc32(content, self._crc)
