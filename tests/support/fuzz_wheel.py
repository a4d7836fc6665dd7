"""A check of any input as a wheel: it must be refused or become a valid layer.

By hand, with atheris beside dlimg's own dependencies, in the folder of the checkout:

    python -m tests.support.fuzz_wheel -max_total_time=600 -rss_limit_mb=600 \\
        -timeout=10 FOLDER tests/corpus

What it finds goes into `tests/corpus`, which a test replays.
"""

import gzip
import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path

from dlimg.errors import BadInput
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.entries import arrange_entries
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import installer_entries, wheel_entries
from dlimg.wheel.metadata import open_wheel

NAME = "small-1.0-py3-none-any.whl"
FOLDER = "small-1.0.dist-info"
# What stands first in an input says what it is: a whole wheel, or contents to be zipped.
CONTENTS = b"C"


def checked(raw: bytes) -> dict[str, bytes] | None:
    """Return the files of the valid layer, or None for an input that was refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        path.write_bytes(raw)
        out = io.BytesIO()
        try:
            wheel = open_wheel(path)
            added = installer_entries(wheel, python="3.13", requested=True)
            entries = arrange_entries([*wheel_entries(wheel, python="3.13"), *added])
            layer = splice_wheel_streams(tar_parts(entries), out.write)
        except BadInput as error:
            refusal = error.problems[0].message
            assert refusal
            assert refusal.isprintable(), refusal
            return None
        finally:
            assert [member.name for member in Path(folder).iterdir()] == [NAME]
    tar = gzip.decompress(out.getvalue())
    assert layer.diff_id == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    assert layer.digest == f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    return _files(tar)


def _files(tar: bytes) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    folders: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            parts = member.name.split("/")
            assert parts[0] == "opt", member.name
            assert not {"", ".", ".."} & set(parts), member.name
            assert not any(part.startswith(".wh.") for part in parts), member.name
            assert "/".join(parts[:-1]) in folders or len(parts) == 1, member.name
            assert member.name not in contents, member.name
            if member.isdir():
                folders.add(member.name)
                continue
            assert member.isfile(), member.name
            file = archive.extractfile(member)
            assert file
            contents[member.name] = file.read()
    return contents


def wheel_of(raw: bytes) -> bytes:
    """Return the wheel of an input: the input itself, or a valid zip of its contents.

    Contents are `name\\0content\\0`, and so on; those that every wheel has may be left out.
    """
    if not raw.startswith(CONTENTS):
        return raw
    from tests.support import wheel_files

    fields = raw[1:].split(b"\0")
    contents = dict(zip(fields[::2], fields[1::2], strict=False))
    texts = {
        b"METADATA": wheel_files.metadata("small").encode(),
        b"RECORD": b"",
        b"WHEEL": wheel_files.WHEEL.encode(),
    }
    for name, text in texts.items():
        contents.setdefault(FOLDER.encode() + b"/" + name, text)
    records = [
        wheel_files.Record(name=name, content=content, flags=0 if name.isascii() else 0x800)
        for name, content in contents.items()
        if len(name) < 1 << 16
    ]
    return wheel_files.zipped(records)


def _fuzz() -> None:
    import atheris  # only by hand

    for name, module in list(sys.modules.items()):
        if name.startswith(("dlimg.wheel", "dlimg.layer")):
            for key, value in list(vars(module).items()):
                if getattr(value, "__module__", "") == name and hasattr(value, "__code__"):
                    setattr(module, key, atheris.instrument_func(value))

    def one(raw: bytes) -> None:
        checked(wheel_of(raw))

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz()
