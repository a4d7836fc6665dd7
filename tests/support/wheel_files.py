"""Wheels for tests: valid ones made by zipfile, and zips put together byte by byte."""

import base64
import csv
import gzip
import hashlib
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlimg.model import Wheel

WHEEL = "Wheel-Version: 1.0\nGenerator: smith\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record of a zip; fields that are not given follow from the content."""

    name: bytes
    content: bytes = b""
    method: int = 8
    flags: int = 0
    mode: int = stat.S_IFREG | 0o644
    crc: int | None = None
    size: int | None = None
    packed: bytes | None = None
    extra: bytes = b""
    local: Mapping[str, object] = field(default_factory=dict)
    after: bytes = b""

    @property
    def data(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.content) if self.method == 8 else self.content


def deflated(content: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def zipped(records: Iterable[Record], *, before: bytes = b"", end: bytes | None = None) -> bytes:
    """Return a zip of these records; `local` overrides fields of a member's own header."""
    out = bytearray(before)
    directory = bytearray()
    count = 0
    for record in records:
        offset = len(out)
        crc = zlib.crc32(record.content) if record.crc is None else record.crc
        size = len(record.content) if record.size is None else record.size
        fields: dict[str, object] = {
            "name": record.name,
            "flags": record.flags,
            "method": record.method,
            "crc": crc,
            "packed": len(record.data),
            "size": size,
            "extra": b"",
            **record.local,
        }
        out += _local(fields) + record.data + record.after
        directory += _listed(record, (crc, size, offset))
        count += 1
    start = len(out)
    if end is None:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    return bytes(out + directory) + end


def descriptor(content: bytes, *, signature: bool = True, big: bool = False) -> bytes:
    form = "<LQQ" if big else "<LLL"
    packed = len(deflated(content))
    sizes = struct.pack(form, zlib.crc32(content), packed, len(content))
    return (b"PK\x07\x08" if signature else b"") + sizes


def metadata(name: str, version: str = "1.0") -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def wheel(  # noqa: PLR0913  # a test names the few that it cares about
    folder: Path,
    name: str = "small",
    files: Mapping[str, bytes | str] | None = None,
    *,
    version: str = "1.0",
    modes: Mapping[str, int] | None = None,
    tag: str = "py3-none-any",
    record: str | None = None,
    without: Sequence[str] = (),
    level: int = 6,
    stored: Sequence[str] = (),
) -> Path:
    """Write a wheel as build tools do."""
    dist_info = f"{name}-{version}.dist-info"
    contents = {path: _bytes(content) for path, content in (files or {}).items()}
    contents.setdefault(f"{dist_info}/METADATA", metadata(name, version).encode())
    contents.setdefault(f"{dist_info}/WHEEL", WHEEL.replace("py3-none-any", tag).encode())
    contents[f"{dist_info}/RECORD"] = (
        record if record is not None else _record(contents, dist_info)
    ).encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for member, content in contents.items():
            if member in without:
                continue
            info = zipfile.ZipInfo(member, (2020, 2, 2, 2, 2, 2))
            kind = stat.S_IFDIR | 0o755 if member.endswith("/") else stat.S_IFREG | 0o644
            info.external_attr = ((modes or {}).get(member) or kind) << 16
            info.compress_type = zipfile.ZIP_STORED if member in stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=level)
    return path


def locked(path: Path) -> Wheel:
    """Return the wheel as it is in a lock."""
    name, version, *_ = path.name.split("-")
    return Wheel(
        name=name.lower().replace("_", "-"),
        version=version,
        file=path.name,
        size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def tree(layer: bytes) -> dict[str, tuple[int, bytes | None]]:
    """Return mode and content (None for a folder) by path, as Python reads the layer."""
    entries: dict[str, tuple[int, bytes | None]] = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.mtime) == (0, 0, 315_619_200)
            assert member.name not in entries
            file = archive.extractfile(member)
            assert member.isdir() or member.isfile()
            entries[member.name] = (member.mode, file.read() if file else None)
    return entries


def files(layer: bytes) -> dict[str, bytes]:
    """Return the files below site-packages, and all others by their path in the environment."""
    return {
        path.removeprefix("opt/env/").removeprefix("lib/python/site-packages/"): content
        for path, (_, content) in tree(layer).items()
        if content is not None
    }


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _record(contents: Mapping[str, bytes], dist_info: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for path, content in contents.items():
        if not path.endswith("/"):
            writer.writerow([path, identity(content), len(content)])
    writer.writerow([f"{dist_info}/RECORD", "", ""])
    return text.getvalue()


def identity(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


def _local(fields: Mapping[str, object]) -> bytes:
    name, extra = fields["name"], fields["extra"]
    assert isinstance(name, bytes)
    assert isinstance(extra, bytes)
    fixed = struct.pack(
        "<4s5H3L2H",
        b"PK\3\4",
        20,
        fields["flags"],
        fields["method"],
        0,
        0x21,
        fields["crc"],
        fields["packed"],
        fields["size"],
        len(name),
        len(extra),
    )
    return fixed + name + extra


def _listed(record: Record, location: tuple[int, int, int]) -> bytes:
    crc, size, offset = location
    fixed = struct.pack(
        "<4s6H3L5H2L",
        b"PK\1\2",
        0x031E,
        20,
        record.flags,
        record.method,
        0,
        0x21,
        crc,
        len(record.data),
        size,
        len(record.name),
        len(record.extra),
        0,
        0,
        0,
        record.mode << 16,
        offset,
    )
    return fixed + record.name + record.extra
