"""gzip layers: tar and gzip read them, and they depend on their entries alone."""

import ast
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dlimg.assembly
import dlimg.layer
import dlimg.store
import dlimg.wheel
from dlimg.errors import BadInput
from dlimg.layer.compress import WrittenLayer, fixed_block, splice_wheel_streams, stored_blocks
from dlimg.layer.entries import LayerEntry, PackedContent, arrange_entries, folder_entry
from dlimg.layer.tar import entry_header, tar_bytes, tar_parts
from dlimg.layer.wheel_entries import wheel_entries
from dlimg.wheel.metadata import open_wheel
from tests.support import wheel_files

LIBRARY = "opt/env/lib/python/site-packages"


def layer(entries: Iterable[LayerEntry]) -> tuple[bytes, WrittenLayer]:
    out = io.BytesIO()
    spliced = splice_wheel_streams(tar_parts(arrange_entries(entries)), out.write)
    return out.getvalue(), spliced


def of_wheel(path: Path) -> tuple[bytes, WrittenLayer]:
    return layer(wheel_entries(open_wheel(path), python="3.13"))


def entry(path: str, content: bytes = b"x", *, mode: int = 0o644, owner: str = "w") -> LayerEntry:
    return LayerEntry(path=path, mode=mode, content=content, owner=owner)


def inflated(text: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15)
    plain = unpacker.decompress(text)
    assert unpacker.eof
    assert not unpacker.unused_data
    return plain


def sample(folder: Path, *, level: int = 6, stored: tuple[str, ...] = ()) -> Path:
    files: dict[str, bytes | str] = {
        "pkg/__init__.py": "text = 1\n" * 100,
        "pkg/empty.py": "",
        "pkg/data.bin": bytes(range(256)) * 2000,
        "pkg/run.sh": "#!/bin/sh\n",
        "pkg/ü.txt": "umlaut",
        "pkg/nothing/": "",
        f"pkg/{'long' * 30}/{'name' * 30}.txt": "long",
        "pkg.pth": "import pkg",
    }
    return wheel_files.wheel(
        folder, files=files, modes={"pkg/run.sh": 0o100744}, level=level, stored=stored
    )


def test_a_layer_has_the_files_of_the_wheel(tmp_path: Path) -> None:
    path = sample(tmp_path)
    raw, spliced = of_wheel(path)
    files = wheel_files.tree(raw)
    assert files["opt"] == files["opt/env"] == files[LIBRARY] == (0o755, None)
    assert files[f"{LIBRARY}/pkg/nothing"] == (0o755, None)
    assert files[f"{LIBRARY}/pkg/run.sh"] == (0o755, b"#!/bin/sh\n")
    assert files[f"{LIBRARY}/pkg/ü.txt"] == (0o644, b"umlaut")
    assert files[f"{LIBRARY}/pkg/empty.py"] == (0o644, b"")
    assert files[f"{LIBRARY}/pkg/data.bin"] == (0o644, bytes(range(256)) * 2000)
    assert files[f"{LIBRARY}/pkg/{'long' * 30}/{'name' * 30}.txt"] == (0o644, b"long")
    assert f"{LIBRARY}/small-1.0.dist-info/METADATA" in files
    assert f"{LIBRARY}/small-1.0.dist-info/RECORD" not in files
    assert list(files) == sorted(files)
    tar = gzip.decompress(raw)
    assert spliced == WrittenLayer(
        digest=f"sha256:{hashlib.sha256(raw).hexdigest()}",
        size=len(raw),
        diff_id=f"sha256:{hashlib.sha256(tar).hexdigest()}",
        unpacked=len(tar),
    )


def test_the_tar_is_the_same_for_a_compressor_of_another_kind(tmp_path: Path) -> None:
    entries = arrange_entries(wheel_entries(open_wheel(sample(tmp_path)), python="3.13"))
    raw, _ = layer(entries)
    assert b"".join(tar_bytes(tar_parts(entries))) == gzip.decompress(raw)


def test_compressed_streams_are_copied(tmp_path: Path) -> None:
    plain = b"text = 1\n" * 100
    (tmp_path / "fast").mkdir()
    fast, of_fast = of_wheel(sample(tmp_path / "fast", level=1))
    best, of_best = of_wheel(sample(tmp_path, level=9))
    assert wheel_files.deflated(plain, 1) in fast
    assert wheel_files.deflated(plain, 9) in best
    assert of_fast.diff_id == of_best.diff_id
    assert of_fast.digest != of_best.digest


def test_members_that_are_not_compressed_become_stored_blocks(tmp_path: Path) -> None:
    raw, spliced = of_wheel(sample(tmp_path, stored=("pkg/data.bin",)))
    assert (bytes(range(256)) * 2000)[:65_535] in raw
    (tmp_path / "other").mkdir()
    assert of_wheel(sample(tmp_path / "other"))[1].diff_id == spliced.diff_id


def test_layers_do_not_depend_on_the_standard_librarys_compressors() -> None:
    """zlib's output differs between its releases, so that layers must not depend on it."""
    packages = (dlimg.assembly, dlimg.layer, dlimg.store, dlimg.wheel)
    folders = [Path(package.__path__[0]) for package in packages]
    for path in (path for folder in folders for path in folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        modules = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        # zstandard brings its own libzstd, and is pinned to one release.
        names -= {"compress"} if path.name == "compress.py" else set()
        # The tar that it writes is no layer: it carries some to an engine.
        names -= {"TarInfo"} if path.name == "load.py" else set()
        # It reads tars; the one header that it writes is the same in whatever Python.
        names -= {"TarInfo"} if path.name == "whiteout.py" else set()
        # It reads tars, and names the type of what it reads.
        names -= {"TarInfo"} if path.name in {"docker_save.py", "rootfs_diff.py"} else set()
        assert not names & {"compress", "compressobj", "GzipFile", "TarInfo", "addfile"}, path
        assert not modules & {"zipfile", "time", "random", "locale"}, path


def test_the_digest_of_this_format_is_known(tmp_path: Path) -> None:
    """Another digest requires a new FORMAT, because every stored layer would differ."""
    path = tmp_path / "small-1.0-py3-none-any.whl"
    names = [b"small-1.0.dist-info/" + name for name in (b"METADATA", b"RECORD", b"WHEEL")]
    texts = [wheel_files.metadata("small").encode(), b"", wheel_files.WHEEL.encode()]
    records = [
        wheel_files.Record(name=name, content=text, packed=text, method=0)
        for name, text in zip(names, texts, strict=True)
    ]
    path.write_bytes(
        wheel_files.zipped([wheel_files.Record(name=b"a.py", packed=b"\3\0"), *records])
    )
    _, spliced = of_wheel(path)
    assert spliced.digest == (
        "sha256:0e3bb8b0eae3aa931a200ed9664bb2b8e9113f9fedc993f18df715830fa64278"
    )
    assert spliced.diff_id == (
        "sha256:c5ebc65d19c9453f0cbb404cf740150d11b02cd2bae08bde7c8be1d6c5845e66"
    )


CODE = """
import os, sys, io
from pathlib import Path
os.umask(int(sys.argv[2], 8))
from dlimg.layer.entries import arrange_entries
from dlimg.layer.wheel_entries import wheel_entries
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.tar import tar_parts
from dlimg.wheel.metadata import open_wheel
entries = wheel_entries(open_wheel(Path(sys.argv[1])), python="3.13")
print(splice_wheel_streams(tar_parts(arrange_entries(entries)), io.BytesIO().write).digest)
"""


def test_the_environment_does_not_change_a_layer(tmp_path: Path) -> None:
    path = sample(tmp_path)
    worlds = [
        ("077", {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        ("000", {"TZ": "America/New_York", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
    ]
    digests = {
        subprocess.run(
            [sys.executable, "-c", CODE, path, umask],
            env={**os.environ, **world, "PYTHONPATH": str(Path(dlimg.__file__).parents[1])},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for umask, world in worlds
    }
    path.touch()
    assert digests == {of_wheel(path)[1].digest}


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 600)), max_size=12))
@example([(b"\0", length) for length in (1, 2, 3, 4, 5, 257, 258, 259, 260, 261, 262, 518)])
@example([(bytes(range(256)), 3)])
@example([(b"\x8f\x90\xff", 5), (b"\xff", 300)])
def test_compressed_blocks_are_valid_deflate(runs: list[tuple[bytes, int]]) -> None:
    text = b"".join(part * count for part, count in runs)
    assert inflated(fixed_block(text)) == text


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000])
@pytest.mark.parametrize("step", [1000, 65_535, 300_000])
def test_stored_blocks_are_valid_deflate(size: int, step: int) -> None:
    text = os.urandom(size)
    chunks = [text[start : start + step] for start in range(0, size, step)]
    packed = b"".join(stored_blocks(chunks))
    assert inflated(packed) == text
    assert packed == b"".join(stored_blocks([text]))


@pytest.mark.parametrize(
    "path",
    ["a", "a" * 100, "a" * 101, f"{'b' * 120}/{'c' * 200}", "ü", "x" * 93 + "/ü", "a b,c'\""],
)
@pytest.mark.parametrize("size", [None, 0, 5])
def test_tar_headers_equal_those_of_tarfile(path: str, size: int | None) -> None:
    content = None if size is None else bytes(size)
    large_entry = LayerEntry(path=path, mode=0o755, content=content, owner="")
    raw = entry_header(large_entry) + bytes(512 * bool(size)) + bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        (member,) = archive.getmembers()
    assert (member.name, member.mode, member.size) == (path, 0o755, size or 0)
    assert member.isdir() is (content is None)
    assert (member.uname, member.gname) == ("", "")


@pytest.mark.parametrize("size", [0o77777777777, 0o77777777777 + 1, 1 << 40])
def test_headers_of_large_files(tmp_path: Path, size: int) -> None:
    archive = open_wheel(sample(tmp_path)).archive
    member = archive.members[0]
    large = type(member)(
        path="x", folder=False, executable=False, method=0, crc=0, packed=size, size=size, offset=0
    )
    large_entry = LayerEntry(
        path="x", mode=0o644, content=PackedContent(wheel=archive.path, member=large), owner=""
    )
    with tarfile.open(
        fileobj=io.BytesIO(entry_header(large_entry) + bytes(1024)), mode="r|"
    ) as file:
        assert file.next().size == size  # type: ignore[union-attr]


def test_the_gzip_trailer_has_the_lower_32_bits_of_the_size() -> None:
    from dlimg.layer.compress import _gzip_trailer

    assert _gzip_trailer(5, (1 << 32) + 7) == b"\5\0\0\0\7\0\0\0"
    assert _gzip_trailer(5, 1 << 32) == b"\5\0\0\0\0\0\0\0"


def test_the_same_file_of_two_wheels_is_one_entry() -> None:
    raw, _ = layer(
        [entry("n/__init__.py", owner="a"), entry("n/__init__.py", mode=0o755, owner="b")]
    )
    assert wheel_files.tree(raw) == {"n": (0o755, None), "n/__init__.py": (0o755, b"x")}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([entry("n", b"1", owner="a"), entry("n", b"2", owner="b")],
         "wheels a and b have different contents for n"),
        ([entry("n", b"1", owner="a"), entry("n", b"22", owner="b")],
         "wheels a and b have different contents for n"),
        ([entry("n", b"1", owner="a"), folder_entry("n", owner="b")],
         "wheels a and b have different contents for n"),
        ([entry("n", b"1", owner="a"), entry("n/x", b"2", owner="b")],
         "wheels a and b have different contents for n"),
        ([entry("n", b"1"), entry("n", b"2")], "wheel w has two different contents for n"),
    ],
)  # fmt: skip
def test_conflicting_files_of_wheels_are_refused(entries: list[LayerEntry], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        arrange_entries(entries)
    with pytest.raises(BadInput):
        arrange_entries(reversed(entries))


def test_an_empty_member_with_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small-1.0-py3-none-any.whl"
    whole = sample(tmp_path).read_bytes()
    # The stream of an empty file becomes one with a byte, while all sizes stay as they are.
    assert wheel_files.deflated(b"") == b"\3\0"
    at = whole.index(b"pkg/empty.py") + len("pkg/empty.py")
    path.write_bytes(whole[:at] + b"\3\4" + whole[at + 2 :])
    of_wheel(path)  # the bits behind a stream's end are not content
    path.write_bytes(whole[:at] + b"\3\1" + whole[at + 2 :])
    with pytest.raises(BadInput, match=r"empty\.py cannot be unpacked"):
        of_wheel(path)
