"""zstd layers: readers understand them, and they depend on the tar and the level alone."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from zstandard import ZstdDecompressor, ZstdError, frame_content_size

import dlimg
from dlimg.layer.compress import (
    ZSTD_FRAME_SIZE,
    WrittenLayer,
    compress_other,
    compress_wheel,
    compress_zstd,
    inflate_zstd,
    splice_wheel_streams,
)
from dlimg.layer.entries import arrange_entries
from dlimg.layer.tar import TarHead, TarPart, tar_parts
from dlimg.layer.wheel_entries import wheel_entries
from dlimg.wheel.metadata import open_wheel
from tests.support import wheel_files


def pressed(parts: list[TarPart], level: int = 3) -> tuple[bytes, WrittenLayer]:
    out = io.BytesIO()
    spliced = compress_zstd(parts, out.write, level=level)
    return out.getvalue(), spliced


def plain(raw: bytes) -> bytes:
    return ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()


def test_a_layer_has_the_files_of_the_wheel(tmp_path: Path) -> None:
    path = wheel_files.wheel(tmp_path, files={"a.py": "1\n" * 500, "ü": bytes(range(256))})
    entries = arrange_entries(wheel_entries(open_wheel(path), python="3.13"))
    raw, spliced = pressed(list(tar_parts(entries)))
    tar = plain(raw)
    assert spliced == WrittenLayer(
        digest=f"sha256:{hashlib.sha256(raw).hexdigest()}",
        size=len(raw),
        diff_id=splice_wheel_streams(tar_parts(entries), io.BytesIO().write).diff_id,
        unpacked=len(tar),
    )
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert "opt/env/lib/python/site-packages/a.py" in archive.getnames()


def test_frames_do_not_depend_on_the_chunks() -> None:
    text = os.urandom(ZSTD_FRAME_SIZE + 1000)
    whole, spliced = pressed([text])
    step = 300_001
    raw, again = pressed([text[at : at + step] for at in range(0, len(text), step)])
    assert (raw, again) == (whole, spliced)
    assert plain(raw) == text
    assert frame_content_size(raw) == ZSTD_FRAME_SIZE


@pytest.mark.parametrize(
    ("level", "digest"),
    [
        (3, "sha256:4c82af33e89a57adbda7ac011f5e3c2b2519e9fd89f033746e1dea4653dc7a17"),
        (19, "sha256:8528f1f9861fd1812af058bd9dccb8f2f8b365fbbcce15e3c4b43bd15262c27c"),
    ],
)
def test_the_digest_of_this_format_is_known(level: int, digest: str) -> None:
    """Another digest requires a new FORMAT, because every stored layer would differ."""
    text = b"".join(hashlib.sha256(b"%d" % number).digest() * 3 for number in range(3000))
    assert pressed([TarHead(text)], level)[1].digest == digest


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_frames_are_inflated_from_chunks_of_any_size(size: int) -> None:
    content = os.urandom(300_000) + bytes(9_000_000)
    raw, _ = pressed([content])
    chunks = (raw[start : start + size] for start in range(0, len(raw), size))
    parts = list(inflate_zstd(chunks))
    assert b"".join(parts) == content
    assert max(map(len, parts)) <= 1 << 20
    assert b"".join(inflate_zstd([raw[: len(raw) // 2]])) != content
    with pytest.raises(ZstdError):
        list(inflate_zstd([b"no zstd"]))


@pytest.mark.parametrize("compress", [compress_wheel, compress_other])
def test_the_compression_is_chosen_by_its_name(
    compress: Callable[[list[bytes], Callable[[bytes], object], str], WrittenLayer],
) -> None:
    out, gzipped = io.BytesIO(), io.BytesIO()
    compress([b"x" * 5000], out.write, "zstd9")
    assert plain(out.getvalue()) == b"x" * 5000
    compress([b"x" * 5000], gzipped.write, "gzip")
    assert gzip.decompress(gzipped.getvalue()) == b"x" * 5000
    with pytest.raises(ValueError, match="lzma"):
        compress([], out.write, "lzma")


def test_gzip_layers_of_wheels_are_spliced() -> None:
    wheel, spliced, other = io.BytesIO(), io.BytesIO(), io.BytesIO()
    compress_wheel([b"x" * 5000], wheel.write, "gzip")
    splice_wheel_streams([b"x" * 5000], spliced.write)
    compress_other([b"x" * 5000], other.write, "gzip")
    assert wheel.getvalue() == spliced.getvalue() != other.getvalue()


MEMORY = """
import sys
from pathlib import Path
from dlimg.layer.compress import compress_wheel
from dlimg.layer.entries import arrange_entries
from dlimg.layer.wheel_entries import wheel_entries
from dlimg.layer.tar import tar_parts
from dlimg.wheel.metadata import open_wheel
entries = arrange_entries(wheel_entries(open_wheel(Path(sys.argv[1])), python="3.13"))
layer = compress_wheel(tar_parts(entries), lambda chunk: None, sys.argv[2])
assert layer.unpacked > 200 << 20
# The most of this process alone; getrusage counts in that of the one which it was forked from.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


class Sparse(io.FileIO):
    """Write a sparse file."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if len(data) < 1 << 16 or data.count(0) < len(data):
            return super().write(data)
        self.seek(len(data), os.SEEK_CUR)
        return len(data)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["gzip", "zstd3"])
def test_memory_does_not_grow_with_the_size_of_a_wheel(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "small-1.0-py3-none-any.whl"
    folder = "small-1.0.dist-info"
    texts = {"METADATA": wheel_files.metadata("small"), "RECORD": "", "WHEEL": wheel_files.WHEEL}
    with Sparse(path, "w+") as file, zipfile.ZipFile(file, "w") as archive:
        with archive.open("large", "w") as member:
            for _ in range(200):
                member.write(bytes(1 << 20))
        for name, text in texts.items():
            archive.writestr(f"{folder}/{name}", text)
    assert path.stat().st_blocks * 512 < 1 << 20
    output = subprocess.run(
        [sys.executable, "-c", MEMORY, path, compression],
        env={**os.environ, "PYTHONPATH": str(Path(dlimg.__file__).parents[1])},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(output.stdout) < 150
