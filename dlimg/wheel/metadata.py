"""The `.dist-info` folder of a wheel: its metadata, checked against the file name, and RECORD."""

import base64
import csv
import hashlib
import io
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from math import prod
from pathlib import Path
from typing import Final

from packaging.tags import Tag, parse_tag
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import Version

from dlimg.wheel.archive import ArchiveMember, WheelArchive, read_archive
from dlimg.wheel.errors import invalid_wheel
from dlimg.wheel.unpack import read_content

_SIZE: Final = re.compile(r"(?:\+?[0-9]{1,99})?")
_MAX_RECORD_SIZE: Final = (1 << 64) - 1  # what uv reads


@dataclass(frozen=True, slots=True, order=True)
class RecordRow:
    """A row of RECORD, the list of an installed package's files; hash and size may be empty."""

    path: str
    identity: str
    size: str


def record_row(path: str, content: bytes) -> RecordRow:
    """Return the row of a file with this content."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return RecordRow(path, f"sha256={digest.decode()}", str(len(content)))


def parse_record(text: str, *, file: str) -> dict[str, RecordRow]:
    """Return the rows by normalized path, the first of each; raises BadInput for invalid text."""
    rows: dict[str, RecordRow] = {}
    try:
        for fields in csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True):
            if not fields:
                continue
            if len(fields) != 3 or not _is_size(fields[2]):
                raise invalid_wheel(file, f"its RECORD has a row {','.join(fields)!r}")
            path, size = fields[0].lstrip("/"), fields[2]
            plain = str(int(size)) if size else ""
            rows.setdefault(posixpath.normpath(path), RecordRow(path, fields[1], plain))
    except csv.Error as error:
        raise invalid_wheel(file, f"its RECORD cannot be read: {error}") from None
    return rows


def _is_size(text: str) -> bool:
    return bool(_SIZE.fullmatch(text)) and int(text or 0) <= _MAX_RECORD_SIZE


def complete_rows(rows: Mapping[str, RecordRow], sizes: Mapping[str, int]) -> dict[str, RecordRow]:
    """Return one row for each file, as uv corrects a wheel's RECORD when it unpacks it.

    A row without a file is dropped; a file without a row gets one with its size alone.
    """
    return {path: rows.get(path) or RecordRow(path, "", str(size)) for path, size in sizes.items()}


def format_record(rows: Iterable[RecordRow]) -> str:
    """Return the text of a RECORD, sorted as installers sort it."""
    lines = [
        f"{_quote(row.path)},{_quote(row.identity)},{row.size}\n"
        for row in sorted(rows, key=_sort_key)
    ]
    return "".join(lines)


def _sort_key(row: RecordRow) -> tuple[str, str, int]:
    # A row without a size sorts before one with any.
    return row.path, row.identity, int(row.size) if row.size else -1


def _quote(text: str) -> str:
    if any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


_SUFFIX: Final = ".dist-info"
_REQUIRED_FILES: Final = ("METADATA", "RECORD", "WHEEL")
_MAX_TAGS: Final = 1000
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWheel:
    """A wheel whose metadata was read: `stem` begins the names of `.dist-info` and `.data`."""

    archive: WheelArchive
    name: NormalizedName
    stem: str

    @property
    def file(self) -> str:
        return self.archive.file

    @property
    def dist_info(self) -> str:
        """The folder of the wheel's metadata."""
        return f"{self.stem}{_SUFFIX}"

    @property
    def data_folder(self) -> str:
        """The folder with files that are not installed into site-packages."""
        return f"{self.stem}.data"

    def member(self, path: str) -> ArchiveMember | None:
        return next((member for member in self.archive.members if member.path == path), None)

    def text(self, name: str) -> str:
        """Return a metadata file, empty if it is missing; raises BadInput unless it is UTF-8."""
        member = self.member(f"{self.dist_info}/{name}")
        return _read_text(self.archive, member) if member else ""


def open_wheel(path: Path) -> OpenWheel:
    """Open a wheel; raises BadInput for an invalid archive, name, version, format or tag.

    The tags in the wheel may name another platform than its file name, which is what installers
    read, but not another Python.
    """
    archive = read_archive(path)
    stem = _find_stem(archive)
    folder = f"{stem}{_SUFFIX}"
    texts = {
        member.path.rpartition("/")[2]: _read_text(archive, member)
        for member in archive.members
        if member.path in {f"{folder}/{name}" for name in ("METADATA", "WHEEL")}
    }
    paths = {member.path for member in archive.members if not member.folder}
    for needed in _REQUIRED_FILES:
        if f"{folder}/{needed}" not in paths:
            raise invalid_wheel(path.name, f"it has no {folder}/{needed}")
    wheel = Parser().parsestr(texts["WHEEL"], headersonly=True)
    _check_format(archive.file, wheel)
    name = _check_name(archive.file, stem, Parser().parsestr(texts["METADATA"], headersonly=True))
    _check_tags(archive.file, wheel)
    return OpenWheel(archive=archive, name=name, stem=stem)


def _find_stem(archive: WheelArchive) -> str:
    tops = {member.path.partition("/")[0] for member in archive.members}
    stems = sorted(top.removesuffix(_SUFFIX) for top in tops if top.endswith(_SUFFIX))
    if len(stems) != 1:
        shown = ", ".join(stems) or "none"
        raise invalid_wheel(archive.file, f"it must have one folder *{_SUFFIX}, and has {shown}")
    return stems[0]


def _read_text(archive: WheelArchive, member: ArchiveMember) -> str:
    try:
        return read_content(archive, member).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid_wheel(archive.file, f"{member.path} is not UTF-8") from None


def _check_format(file: str, wheel: Message) -> None:
    major = (wheel["Wheel-Version"] or "").partition(".")[0].strip()
    if major != "1":
        raise invalid_wheel(file, f"it is of format {major or 'unknown'}, only 1 is known")


def _check_name(file: str, stem: str, metadata: Message) -> NormalizedName:
    """Return the name; raises BadInput unless file name, folder and metadata agree on it."""
    try:
        name, version, _, _ = parse_wheel_filename(file)
        folder_name, _, folder_version = stem.rpartition("-")
        stated = (metadata["Name"] or "", metadata["Version"] or "")
        for other, number in ((folder_name, folder_version), stated):
            if canonicalize_name(other.strip()) != name:
                raise invalid_wheel(file, f"it holds {other!r}")
            if Version(number) not in {version, Version(version.public)}:
                raise invalid_wheel(file, f"it holds version {number!r}")
    except InvalidWheelFilename:
        raise invalid_wheel(file, "this is not the name of a wheel") from None
    except ValueError as error:  # InvalidVersion, or a number of too many digits
        raise invalid_wheel(file, f"it holds no version: {error}") from None
    return name


def _check_tags(file: str, wheel: Message) -> None:
    texts = [tag.strip() for tag in wheel.get_all("Tag", [])]
    if any(tag.count("-") != 2 for tag in texts) or sum(map(_count_tags, texts)) > _MAX_TAGS:
        raise invalid_wheel(file, f"it holds the tags {', '.join(texts)[:_MAX_SHOWN]}")
    try:
        tags = frozenset(tag for text in texts for tag in parse_tag(text))
    except ValueError as error:
        raise invalid_wheel(file, f"it holds no tag: {error}") from None
    *_, of_file = parse_wheel_filename(file)
    if tags and not _interpreters(tags) & _interpreters(of_file):
        raise invalid_wheel(file, f"it holds a wheel for {', '.join(sorted(map(str, tags)))}")


def _count_tags(tag: str) -> int:
    """Return the number of tags in a compressed tag set (PEP 425)."""
    return prod(part.count(".") + 1 for part in tag.split("-"))


def _interpreters(tags: frozenset[Tag]) -> set[tuple[str, str]]:
    return {(tag.interpreter, tag.abi) for tag in tags}
