"""A member's bytes as they stream: packed pieces come in, checked plain pieces come out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

# It inflates what zlib does, byte for byte, and refuses what it does, in half of the time.
from zlib_ng import zlib_ng

from dlimg.wheel.archive import DEFLATED, ArchiveMember, WheelArchive, damaged_wheel, invalid_wheel

CHUNK_SIZE: Final = 1 << 18
# What is read whole: names and versions, lists of files, scripts. Torch's RECORD has 1.5 MB.
MAX_TEXT_SIZE: Final = 32 << 20
_ZLIB_ERROR: Final = cast("type[Exception]", zlib_ng.error)  # its stub calls this an instance


def iter_compressed(path: Path, member: ArchiveMember) -> Iterator[bytes]:
    """The bytes in the wheel as they are; raises BadInput when the file has become shorter."""
    left = member.packed
    with path.open("rb", buffering=0) as file:
        file.seek(member.offset)
        while left:
            piece = file.read(min(CHUNK_SIZE, left))
            if not piece:
                raise damaged_wheel(path.name, f"it ends within {member.path}")
            left -= len(piece)
            yield piece


def iter_content(path: Path, member: ArchiveMember) -> Iterator[bytes]:
    """The member's content; raises BadInput when that is not what the directory says."""
    unpacking = MemberReader(path.name, member)
    for piece in iter_compressed(path, member):
        yield from unpacking.feed(piece)
    unpacking.finish()


def read_content(archive: WheelArchive, member: ArchiveMember) -> bytes:
    """A small member's whole content; raises BadInput for a large one."""
    if member.size > MAX_TEXT_SIZE:
        raise invalid_wheel(archive.file, f"{member.path} is too large to be read whole")
    return b"".join(iter_content(archive.path, member))


class MemberReader:
    """The unpacking of one member, a piece at a time, so that memory stays bounded."""

    def __init__(self, file: str, member: ArchiveMember) -> None:
        self._file = file
        self._member = member
        self._inflater = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS)
        self._crc = 0
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The content that is in this piece of packed bytes; use it up before the next one."""
        if self._member.method != DEFLATED:
            self._count(piece)
            yield piece
            return
        while True:
            plain = self._inflated(piece)
            if plain:
                yield plain
            piece = self._inflater.unconsumed_tail
            # zlib may have taken all of a piece and still hold back what it had no room for.
            if not piece and len(plain) < CHUNK_SIZE:
                return

    def finish(self) -> None:
        """Raises BadInput unless stream, size and CRC are those of the directory."""
        if self._member.method == DEFLATED and not self._inflater.eof:
            raise damaged_wheel(self._file, f"{self._member.path} is cut off")
        if self._size != self._member.size:
            raise damaged_wheel(
                self._file, f"{self._member.path} has {self._size} bytes, not {self._member.size}"
            )
        if self._crc != self._member.crc:
            raise damaged_wheel(self._file, f"{self._member.path} has another CRC than it should")

    def _inflated(self, piece: bytes) -> bytes:
        try:
            plain = self._inflater.decompress(piece, CHUNK_SIZE)
        except _ZLIB_ERROR:
            raise damaged_wheel(self._file, f"{self._member.path} cannot be unpacked") from None
        if self._inflater.unused_data:
            raise invalid_wheel(self._file, f"{self._member.path} goes on behind its stream's end")
        self._count(plain)
        return plain

    def _count(self, plain: bytes) -> None:
        self._size += len(plain)
        if self._size > self._member.size:
            raise invalid_wheel(
                self._file, f"{self._member.path} is larger than the {self._member.size} bytes said"
            )
        self._crc = zlib_ng.crc32(plain, self._crc)
