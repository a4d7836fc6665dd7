"""The zip structure of wheels: valid ones are read, all others are refused."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.wheel.archive import WheelArchive, read_archive
from dlimg.wheel.unpack import read_content
from tests.support import wheel_files
from tests.support.wheel_files import Record, deflated, descriptor, zipped

A = Record(name=b"a", content=b"first")
B = Record(name=b"b", content=b"second")
BIG_EXTRA = struct.pack("<2H2Q", 1, 16, 5, len(deflated(b"first")))
SMALL_EXTRA = struct.pack("<2HQ", 1, 8, 5)
LINK = stat.S_IFLNK | 0o777
DEVICE = stat.S_IFCHR | 0o666


def read(folder: Path, raw: bytes) -> WheelArchive:
    path = folder / "small-1.0-py3-none-any.whl"
    path.write_bytes(raw)
    return read_archive(path)


def contents(archive: WheelArchive) -> dict[str, bytes]:
    return {member.path: read_content(archive, member) for member in archive.members}


def plain_end(count: int, size: int, start: int, **other: int) -> bytes:
    fields = {"disk": 0, "first": 0, "here": count, "comment": 0, **other}
    return struct.pack(
        "<4s4H2LH",
        b"PK\5\6",
        fields["disk"],
        fields["first"],
        fields["here"],
        count,
        size,
        start,
        fields["comment"],
    )


def big_end(raw: bytes, **other: int) -> bytes:
    """Return the zip with a zip64 end record, and the old one saturated."""
    listing, start = struct.unpack("<2L", raw[-10:-2])
    fields = {"count": 2, "size": listing, "start": start, "length": 44, "disks": 1, **other}
    offset = len(raw) - 22
    end = struct.pack(
        "<4sQ2H2L4Q",
        b"PK\6\6",
        fields["length"],
        45,
        45,
        0,
        0,
        fields["count"],
        fields["count"],
        fields["size"],
        fields["start"],
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, fields.get("offset", offset), fields["disks"])
    full = plain_end(
        fields.get("old_count", 0xFFFF), fields.get("old_size", 0xFFFFFFFF), 0xFFFFFFFF
    )
    return raw[:-22] + end + locator + full


def described(*, signature: bool = True, big: bool = False, local: int = 0) -> bytes:
    """Return a record whose size and CRC follow its data."""
    fields = {"crc": 0, "packed": local, "size": local}
    first = Record(
        name=b"a",
        content=b"first",
        flags=8,
        local=fields,
        after=descriptor(b"first", signature=signature, big=big),
    )
    return zipped([first, B])


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(zipped([A, B]), id="plain"),
        pytest.param(zipped([Record(name=b"a", content=b"first", method=0), B]), id="stored"),
        pytest.param(described(), id="a data descriptor"),
        pytest.param(described(signature=False), id="a data descriptor without signature"),
        pytest.param(described(big=True), id="a data descriptor of zip64"),
        pytest.param(big_end(zipped([A, B])), id="zip64's end"),
        pytest.param(
            zipped(
                [
                    Record(
                        name=b"a",
                        content=b"first",
                        local={
                            "packed": 0xFFFFFFFF,
                            "size": 0xFFFFFFFF,
                            "extra": BIG_EXTRA,
                        },
                    ),
                    B,
                ]
            ),
            id="zip64 in a member's own header",
        ),
        pytest.param(
            zipped([Record(name=b"a", content=b"first", size=0xFFFFFFFF, extra=SMALL_EXTRA,
                           local={"size": 5}), B]),
            id="zip64 in the directory",
        ),
    ],
)  # fmt: skip
def test_members_of_valid_wheels(tmp_path: Path, raw: bytes) -> None:
    assert contents(read(tmp_path, raw)) == {"a": b"first", "b": b"second"}
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.read("b") == b"second"


def test_a_wheel_that_zipfile_wrote_to_a_pipe(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """A file that cannot seek, so that zipfile writes descriptors."""

        def __init__(self) -> None:
            self.taken = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.taken += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"first")
        with archive.open("b", "w", force_zip64=True) as file:
            file.write(b"second")
    assert contents(read(tmp_path, bytes(pipe.taken))) == {"a": b"first", "b": b"second"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"/etc/passwd", "is an absolute path"),
        (b"../x", "leads out of its folder"),
        (b"a/../../x", "leads out of its folder"),
        (b"a/..", "leads out of its folder"),
        (b"./x", "is not a plain path"),
        (b"a//x", "is not a plain path"),
        (b"", "is not a plain path"),
        (b"/", "is not a plain path"),
        (b"a\\x", "holds a backslash"),
        (b"..\\x", "holds a backslash"),
        (b"C:x", "begins with a drive letter"),
        (b"c:/x", "begins with a drive letter"),
        (b"a\0b", "holds a control character"),
        (b"a\nb", "holds a control character"),
        (b"a/.wh.b", "would delete a file in an image"),
        (b".wh..wh..opq", "would delete a file in an image"),
        (b"x" * 256, "is too long"),
        (b"x/" * 1600 + b"x", "is too long"),
    ],
)
def test_names_that_are_refused(tmp_path: Path, name: bytes, reason: str) -> None:
    content = b"" if name.endswith(b"/") else b"evil"
    with pytest.raises(BadInput) as caught:
        read(tmp_path, zipped([Record(name=name, content=content)]))
    (problem,) = caught.value.problems
    assert reason in problem.message
    assert problem.where == "small-1.0-py3-none-any.whl"
    assert problem.hint


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(name=b"\xc3\xbc"), "neither ASCII nor marked as UTF-8"),
        (Record(name=b"\xfc", flags=0x800), "is not UTF-8"),
        (Record(name=b"\xed\xa0\x80", flags=0x800), "is not UTF-8"),
        (Record(name=b"a", flags=0x1), "a is encrypted"),
        (Record(name=b"a", flags=0x41), "a is encrypted"),
        (Record(name=b"a", flags=0x2000), "a is encrypted"),
        (Record(name=b"a", flags=0x20), "flags 0x0020"),
        (Record(name=b"a", content=b"x", method=12), "method 12"),
        (Record(name=b"a", content=b"x", method=93), "method 93"),
        (Record(name=b"a", content=b"/etc", mode=LINK), "a is a symbolic link"),
        (Record(name=b"a", mode=DEVICE), "is of type 0o20000"),
        (Record(name=b"a", mode=stat.S_IFDIR), "is of type 0o40000"),
        (Record(name=b"a/", mode=stat.S_IFREG), "is of type 0o100000"),
        (Record(name=b"a/", content=b"x", mode=stat.S_IFDIR), "the folder a has content"),
        (Record(name=b"a", content=b"x", method=0, size=2), "its two sizes differ"),
        (Record(name=b"a", content=b"x", size=10**6), "cannot have 1000000 bytes in 3"),
        (Record(name=b"a", extra=b"\x75\x70\1\0x"), "has a second name"),
        (Record(name=b"a", extra=b"\1\0\x09\0" + b"x" * 9), "broken zip64 field"),
        (Record(name=b"a", extra=b"\1\0\x08\0" + b"x" * 8), "fields too many"),
        (Record(name=b"a", extra=b"\1"), "broken extra field"),
        (Record(name=b"a", extra=b"\7\0\7\0x"), "broken extra field"),
        (Record(name=b"a", local={"name": b"b"}), "another name or method"),
        (Record(name=b"a", local={"method": 0}), "another name or method"),
        (Record(name=b"a", local={"flags": 1}), "another name or method"),
        (Record(name=b"a", content=b"x", local={"size": 2}), "another size or CRC"),
        (Record(name=b"a", content=b"x", local={"crc": 2}), "another size or CRC"),
        (Record(name=b"a", content=b"x", local={"packed": 0}), "another size or CRC"),
        (Record(name=b"a", local={"crc": 0, "packed": 0xFFFFFFFF, "size": 0xFFFFFFFF}),
         "another size or CRC"),
        (Record(name=b"a", after=b"junk"), "followed by bytes that belong to no member"),
        (Record(name=b"a", flags=8, after=descriptor(b"other")), "another size or CRC"),
        (Record(name=b"a", flags=8), "another size or CRC"),
    ],
)  # fmt: skip
def test_members_that_are_refused(tmp_path: Path, record: Record, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read(tmp_path, zipped([record, B]))


def test_a_name_in_utf8(tmp_path: Path) -> None:
    archive = read(tmp_path, zipped([Record(name="ü".encode(), flags=0x800)]))
    assert [member.path for member in archive.members] == ["ü"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([b"a", b"a"], "a is in it twice"),
        ([b"a/", b"a/"], "a is in it twice"),
        ([b"a", b"a/"], "a is in it twice"),
        ([b"a/b/c", b"a/b"], "a/b is both a file and a folder"),
        ([b"a", b"a/b/c/"], "a is both a file and a folder"),
    ],
)
def test_members_that_clash_are_refused(tmp_path: Path, names: list[bytes], reason: str) -> None:
    records = [
        Record(name=name, mode=stat.S_IFDIR if name.endswith(b"/") else stat.S_IFREG)
        for name in names
    ]
    with pytest.raises(BadInput, match=reason):
        read(tmp_path, zipped(records))


WHOLE = zipped([A, B])
LISTING = WHOLE.index(b"PK\1\2")


def overlapping() -> bytes:
    """Return a zip whose second member lies inside the first one's data."""
    inner = zipped([B])[: -22 - 47]
    outer = Record(name=b"a", content=inner, method=0)
    raw = zipped([outer, B])
    second = raw.index(b"PK\3\4", 4)
    start = raw.rindex(b"PK\1\2")
    return raw[: start + 42] + struct.pack("<L", second) + raw[start + 46 :]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "cut off"),
        (b"PK", "cut off"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[:-22], "cut off"),
        (WHOLE[:LISTING], "cut off"),
        (WHOLE[:40], "cut off"),
        (WHOLE + b"junk", "something behind its end"),
        (WHOLE + WHOLE, "its directory is not where its end says"),
        (b"junk" + WHOLE, "its directory is not where its end says"),
        (zipped([A, B], before=b"junk"), "begins with bytes that belong to no member"),
        (WHOLE[:-2] + b"\4\0" + b"note", "something behind its end"),
        (WHOLE[:-2] + b"\4\0", "claims a comment"),
        (WHOLE[:LISTING] + b"x" + WHOLE[LISTING:], "not where its end says"),
        (zipped([A, B], end=plain_end(2, 1, 2)), "not where its end says"),
        (zipped([], end=plain_end(0, 0, 0)), "not where its end says"),
        (zipped([A], end=plain_end(2, 47, 37 + 1)), "lists 1 file, claims 2"),
        (zipped([A], end=plain_end(1, 47, 38, disk=1)), "one part of several"),
        (zipped([A], end=plain_end(1, 47, 38, here=0)), "one part of several"),
        (WHOLE.replace(b"PK\1\2", b"PK\1\3", 1), "its directory is broken"),
        (WHOLE.replace(b"PK\3\4", b"PK\3\5", 1), "there is no header where 'a' should begin"),
        (overlapping(), "overlaps"),
        (big_end(WHOLE, offset=0), "not where its locator says"),
        (big_end(WHOLE, length=45), "holds something that is not known"),
        (big_end(WHOLE, disks=2), "one part of several"),
        (big_end(WHOLE, old_count=3), "do not agree"),
        (big_end(WHOLE, size=1, old_size=94), "do not agree"),
        (big_end(WHOLE, count=300_000), "more than any wheel"),
        (big_end(WHOLE, start=0), "not where its end says"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, raw: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read(tmp_path, raw)


def test_every_truncated_wheel_is_refused(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(BadInput):
            read(tmp_path, WHOLE[:length])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(name=b"a", content=b"first", crc=1), "a wrong CRC"),
        (Record(name=b"a", content=b"first", size=6), "a has 5 bytes, not 6"),
        (Record(name=b"a", content=b"first", size=4), "larger than its 4 bytes"),
        (Record(name=b"a", content=b"", size=0, packed=deflated(b"x")), "larger than its 0"),
        (Record(name=b"a", content=b"first", packed=b"\xff" * 9), "cannot be unpacked"),
        (Record(name=b"a", content=b"first", packed=deflated(b"first")[:-2]), "is cut off"),
        (Record(name=b"a", content=b"first", packed=deflated(b"first") + b"x"), "stream's end"),
        (Record(name=b"a", content=b"x" * 900_000, size=500_000), "larger than its 500000"),
    ],
)
def test_content_that_is_refused(tmp_path: Path, record: Record, reason: str) -> None:
    archive = read(tmp_path, zipped([record]))
    with pytest.raises(BadInput, match=reason):
        read_content(archive, archive.members[0])


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    packed = deflated(bytes(100_000_000))
    record = Record(name=b"a", packed=packed, size=100_000_000)
    with pytest.raises(BadInput, match="zip bomb"):
        read(tmp_path, zipped([record]))


def test_a_wheel_that_is_truncated_while_it_is_read(tmp_path: Path) -> None:
    archive = read(tmp_path, zipped([A]))
    archive.path.write_bytes(b"PK")
    with pytest.raises(BadInput, match="it ends within a"):
        read_content(archive, archive.members[0])


def test_a_text_member_over_the_limit_is_refused(tmp_path: Path) -> None:
    record = Record(name=b"a", size=33 << 20, packed=deflated(bytes(33 << 20)))
    archive = read(tmp_path, zipped([record]))
    with pytest.raises(BadInput, match="too large to be read whole"):
        read_content(archive, archive.members[0])


def test_content_that_zlib_holds_back(tmp_path: Path) -> None:
    # One packed byte more or less decides whether a piece of output is exactly full.
    for size in (1 << 18, (1 << 18) + 1, (1 << 19) - 1, (1 << 20) + 258):
        plain = bytes(size)
        archive = read(tmp_path, zipped([Record(name=b"a", content=plain)]))
        assert read_content(archive, archive.members[0]) == plain


def test_the_helpers_lock_their_wheels_correctly(tmp_path: Path) -> None:
    path = wheel_files.wheel(tmp_path, "Some_Name", {"x/": b"", "x/y.py": b"1"})
    assert wheel_files.locked(path).name == "some-name"
    assert {member.path for member in read_archive(path).members if member.folder} == {"x"}


def test_a_member_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """The wheel is a sparse file, in which the large member is a hole."""
    size = (1 << 32) + 5
    offset = 30 + 3 + 20 + size
    own = struct.pack("<2H2Q", 1, 16, size, size)
    full = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF, "extra": own}
    large = Record(name=b"big", method=0, size=0xFFFFFFFF, extra=own, local=full)
    head, _, _ = zipped([large]).partition(b"PK\1\2")
    second = zipped([B])
    path = tmp_path / "small-1.0-py3-none-any.whl"
    with path.open("wb") as file:
        file.write(head)
        file.seek(offset)
        file.write(second[: second.index(b"PK\1\2")])
        start = file.tell()
        file.write(_listed_at(zipped([large]), packed=True))
        file.write(_listed_at(second, offset=offset))
        listing = file.tell() - start
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, listing, start))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, start + listing, 1))
        file.write(plain_end(2, listing, 0xFFFFFFFF))
    archive = read_archive(path)
    big, other = archive.members
    assert (big.size, big.packed, big.offset) == (size, size, 53)
    assert other.offset > 1 << 32
    assert read_content(archive, other) == b"second"
    with zipfile.ZipFile(path) as peer:
        assert peer.getinfo("big").file_size == size
        assert peer.read("b") == b"second"


def _listed_at(raw: bytes, *, packed: bool = False, offset: int | None = None) -> bytes:
    """Return a directory entry with a saturated compressed size, or its offset in zip64's field."""
    line = bytearray(raw[raw.index(b"PK\1\2") : -22])
    if packed:
        line[20:24] = b"\xff" * 4
    if offset is not None:
        line[30:32] = struct.pack("<H", 12)
        line[42:46] = b"\xff" * 4
        line += struct.pack("<2HQ", 1, 8, offset)
    return bytes(line)
