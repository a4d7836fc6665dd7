"""The tar of a layer, as parts: headers made here, and contents that stay in their wheels.

POSIX ustar, with an extended (pax) header if a path or a size does not fit. Owner, time and
folders' modes are always the same, so equal entries make equal tars.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.layer.entries import LayerEntry, LinkTarget, PackedContent, iter_entry_content
from dlimg.model import EPOCH

_BLOCK: Final = 512
MAX_NAME: Final = 100
_MAX_SIZE: Final = 0o77777777777
_FILE: Final = b"0"
_LINK: Final = b"2"
_FOLDER: Final = b"5"
_EXTENDED: Final = b"x"
_EXTENDED_NAME: Final = b"././@PaxHeader"
_END: Final = bytes(2 * _BLOCK)


@dataclass(frozen=True, slots=True)
class TarHead:
    """The padding after one file and the headers before the next."""

    data: bytes


TarPart = TarHead | bytes | PackedContent


def tar_parts(entries: Iterable[LayerEntry]) -> Iterator[TarPart]:
    """Yield the tar of these entries, which must be sorted as `arrange_entries` does."""
    head = bytearray()
    for entry in entries:
        head += entry_header(entry)
        if not entry.size or entry.content is None or isinstance(entry.content, LinkTarget):
            _check_empty(entry)
            continue
        yield TarHead(bytes(head))
        yield entry.content
        head = bytearray(-entry.size % _BLOCK)
    yield TarHead(bytes(head) + _END)


def tar_bytes(parts: Iterable[TarPart]) -> Iterator[bytes]:
    """Yield the bytes of a tar given by its parts."""
    for part in parts:
        if isinstance(part, TarHead):
            yield part.data
        else:
            yield from iter_entry_content(part)


def entry_header(entry: LayerEntry) -> bytes:
    """Return the header blocks of an entry, those of a pax header included."""
    name = entry.path.encode() + (b"/" if entry.content is None else b"")
    target = entry.content.target.encode() if isinstance(entry.content, LinkTarget) else b""
    extended = b""
    if len(name) > MAX_NAME or not name.isascii():
        extended += pax_record(b"path", name)
    if len(target) > MAX_NAME or not target.isascii():
        extended += pax_record(b"linkpath", target)
    if entry.size > _MAX_SIZE:
        extended += pax_record(b"size", b"%d" % entry.size)
    size = entry.size if entry.size <= _MAX_SIZE else 0
    header = _root_header(name, entry.mode, size, _kind(entry), target)
    if not extended:
        return header
    pax_header = _root_header(_EXTENDED_NAME, 0o644, len(extended), _EXTENDED)
    return pax_header + pad_to_block(extended) + header


def _kind(entry: LayerEntry) -> bytes:
    match entry.content:
        case None:
            return _FOLDER
        case LinkTarget():
            return _LINK
        case _:
            return _FILE


def _root_header(name: bytes, mode: int, size: int, kind: bytes, target: bytes = b"") -> bytes:
    return header_block(
        name,
        kind=kind,
        size=size,
        link=target,
        owner=(mode, 0, 0),
        time=EPOCH,
        device=b"0000000\x000000000\0",
    )


def header_block(  # noqa: PLR0913 - the fields of a header
    name: bytes,
    *,
    kind: bytes,
    size: int,
    link: bytes = b"",
    owner: tuple[int, int, int] = (0, 0, 0),
    time: int = 0,
    device: bytes = bytes(16),
) -> bytes:
    """Return one header (POSIX.1-2008, pax, "ustar Interchange Format") without user names.

    `owner` is mode, user and group; name and link are cut to their fields' sizes.
    """
    start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (_fit(name), *owner, size, time)
    rest = kind + _fit(link) + b"ustar\x0000" + bytes(64) + device
    total = sum(start) + sum(rest) + 8 * ord(" ")
    return (start + b"%06o\0 " % total + rest).ljust(_BLOCK, b"\0")


def pad_to_block(text: bytes) -> bytes:
    """Return the text with zeros up to the next full block."""
    return text + bytes(-len(text) % _BLOCK)


def _fit(text: bytes) -> bytes:
    return text[:MAX_NAME].ljust(MAX_NAME, b"\0")


def pax_record(key: bytes, value: bytes) -> bytes:
    """Return the pax record `LENGTH KEY=VALUE`; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _check_empty(entry: LayerEntry) -> None:
    """Raise BadInput for an empty file whose compressed bytes have content."""
    if isinstance(entry.content, PackedContent):
        for _ in iter_entry_content(entry.content):
            pass
