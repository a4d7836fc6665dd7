"""RECORD, the list of an installed package's files: rows in, rows out, and as text."""

import base64
import csv
import hashlib
import io
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dlimg.wheel.errors import unfit

_SIZE: Final = re.compile(r"(?:\+?[0-9]{1,99})?")
_LARGEST_SIZE: Final = (1 << 64) - 1  # what uv reads


@dataclass(frozen=True, slots=True, order=True)
class RecordRow:
    """A file as RECORD lists it; `identity` and `size` may be empty."""

    path: str
    identity: str
    size: str


def row(path: str, content: bytes) -> RecordRow:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return RecordRow(path, f"sha256={digest.decode()}", str(len(content)))


def parse_record(text: str, *, file: str) -> dict[str, RecordRow]:
    """The rows by plain path, of two for one path the first; raises BadInput for anything else."""
    rows: dict[str, RecordRow] = {}
    try:
        for fields in csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True):
            if not fields:
                continue
            if len(fields) != 3 or not _is_size(fields[2]):
                raise unfit(file, f"its RECORD has a row {','.join(fields)!r}")
            path, size = fields[0].lstrip("/"), fields[2]
            plain = str(int(size)) if size else ""
            rows.setdefault(posixpath.normpath(path), RecordRow(path, fields[1], plain))
    except csv.Error as error:
        raise unfit(file, f"its RECORD cannot be read: {error}") from None
    return rows


def _is_size(text: str) -> bool:
    return bool(_SIZE.fullmatch(text)) and int(text or 0) <= _LARGEST_SIZE


def matched(rows: Mapping[str, RecordRow], sizes: Mapping[str, int]) -> dict[str, RecordRow]:
    """One row for each file that there is, as uv mends a wheel's RECORD when it unpacks it.

    A row for no file goes, a file without a row gets one with nothing but its size.
    """
    return {path: rows.get(path) or RecordRow(path, "", str(size)) for path, size in sizes.items()}


def record_text(rows: Iterable[RecordRow]) -> str:
    """The rows by path, byte by byte, as the file that an installer writes."""
    lines = [
        f"{_quoted(one.path)},{_quoted(one.identity)},{one.size}\n"
        for one in sorted(rows, key=_order)
    ]
    return "".join(lines)


def _order(one: RecordRow) -> tuple[str, str, int]:
    # A row without a size sorts before one with any.
    return one.path, one.identity, int(one.size) if one.size else -1


def _quoted(text: str) -> str:
    if any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
