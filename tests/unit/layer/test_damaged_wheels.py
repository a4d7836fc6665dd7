"""Damaged wheels, thousands of them: each is refused or makes the layer of the original."""

import functools
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dlimg.errors import BadInput
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.entries import arrange_entries
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import installer_entries, wheel_entries
from dlimg.wheel.metadata import open_wheel
from tests.support import wheel_files

Damage = list[tuple[int, int]]


@functools.cache
def whole() -> bytes:
    files: dict[str, bytes | str] = {
        "pkg/__init__.py": "text = 1\n" * 30,
        "pkg/stored.bin": bytes(range(64)),
        "small-1.0.data/scripts/tool": "#!python\nprint(1)\n",
        "small-1.0.data/data/share/x": "",
        "small-1.0.dist-info/entry_points.txt": "[console_scripts]\ncommand = pkg:main\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        return wheel_files.wheel(Path(folder), files=files, stored=("pkg/stored.bin",)).read_bytes()


def made(raw: bytes, folder: Path) -> dict[str, bytes]:
    path = folder / "small-1.0-py3-none-any.whl"
    path.write_bytes(raw)
    wheel = open_wheel(path)
    out = io.BytesIO()
    own = installer_entries(wheel, python="3.13", requested=True)
    splice_wheel_streams(
        tar_parts(arrange_entries([*wheel_entries(wheel, python="3.13"), *own])), out.write
    )
    return wheel_files.files(out.getvalue())


@functools.cache
def right() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return made(whole(), Path(folder))


def check(raw: bytes) -> None:
    """Assert that names and contents are equal; a flipped bit may change modes."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = made(raw, Path(folder))
        except BadInput:
            return
    assert files == right()


def flipped(damage: Damage) -> bytes:
    raw = bytearray(whole())
    for position, value in damage:
        raw[position % len(raw)] = value
    return bytes(raw)


FLIPS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)


@given(FLIPS)
@example([(6, 1)])  # encrypted
@example([(8, 9)])  # deflate64
@example([(-1, 1)])  # a comment
@settings(suppress_health_check=list(HealthCheck))
def test_wheels_with_flipped_bytes(damage: Damage) -> None:
    check(flipped(damage))


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_wheels_with_one_flipped_bit(step: int) -> None:
    for position in range(0, len(whole()), step):
        check(flipped([(position, whole()[position] ^ 1 << position % 8)]))


@given(st.integers(0, 1 << 16), st.integers(0, 1 << 16), st.binary(max_size=40))
def test_wheels_with_bytes_replaced(start: int, stop: int, other: bytes) -> None:
    raw = whole()
    first, last = sorted((start % len(raw), stop % len(raw)))
    check(raw[:first] + other + raw[last:])


@given(st.binary(max_size=400))
def test_random_bytes_as_wheels(raw: bytes) -> None:
    check(raw)
    check(b"PK\3\4" + raw + whole()[-22:])


EVIL = st.text(alphabet="/.\\:\0ab\u00fcC", max_size=8).map(str.encode)
RECORDS = st.lists(
    st.builds(
        wheel_files.Record,
        name=EVIL | st.sampled_from([b"small-1.0.dist-info/WHEEL", b"a/b", b"a"]),
        content=st.binary(max_size=20),
        method=st.sampled_from([0, 8, 8, 8, 12]),
        flags=st.sampled_from([0, 0, 0x800, 1, 8]),
        mode=st.sampled_from([0o100644, 0o100755, 0o120777, 0o40755, 0]),
    ),
    max_size=5,
)


@given(RECORDS)
def test_random_zip_archives_as_wheels(records: list[wheel_files.Record]) -> None:
    names = [b"small-1.0.dist-info/" + name for name in (b"METADATA", b"RECORD", b"WHEEL")]
    texts = [wheel_files.metadata("small").encode(), b"", wheel_files.WHEEL.encode()]
    needed = [wheel_files.Record(name=n, content=t) for n, t in zip(names, texts, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            files = made(wheel_files.zipped([*records, *needed]), Path(folder))
        except BadInput:
            return
    assert all(".." not in path.split("/") and not path.startswith("/") for path in files)
