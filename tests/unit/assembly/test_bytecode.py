"""Byte code layers: their files, keys and wheels. No Python is run."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from dlimg.assembly import bytecode
from dlimg.assembly.bytecode import (
    LARGE_BYTECODE,
    BytecodeCompiler,
    bytecode_key,
    bytecode_layers,
    compile_missing,
    missing_bytecode,
)
from dlimg.assembly.compile_python import BytecodeRanges
from dlimg.assembly.system import interpreter_digest
from dlimg.assembly.wheel_to_layer import LayerContext, python_sources, read_entries
from dlimg.layer.compress import compress_gzip
from dlimg.layer.entries import LayerEntry, arrange_entries
from dlimg.layer.tar import tar_parts
from dlimg.model import Wheel
from dlimg.store.store import Store, make_layer
from tests.support import wheel_files

LIBRARY = "opt/env/lib/python/site-packages"


@pytest.fixture
def context(tmp_path: Path) -> LayerContext:
    return LayerContext(
        store=Store(path=tmp_path / "store"),
        locate=lambda wheel: tmp_path / wheel.file,
        log=lambda _: None,
    )


def a_wheel(folder: Path, name: str, files: dict[str, bytes | str]) -> Wheel:
    return wheel_files.locked(wheel_files.wheel(folder, name, files))


def compiler(interpreter: str = "one") -> BytecodeCompiler:
    """Return a compiler that fails when it is called."""
    return BytecodeCompiler(interpreter=interpreter, python="3.13", compile_in=_refused)


def _refused(*_: object) -> BytecodeRanges:
    raise AssertionError


def test_sources_are_the_python_files_of_the_library(tmp_path: Path, context: LayerContext) -> None:
    files: dict[str, bytes | str] = {
        "p/a.py": "x = 1",
        "p/b.pyi": "",
        "p/__pycache__/c.py": "",
        "p-1.0.data/purelib/q/d.py": "y = 2",
        "p-1.0.data/data/share/e.py": "",
        "p-1.0.data/scripts/f.py": "#!python\n",
    }
    wheel = a_wheel(tmp_path, "p", files)
    part = python_sources(context, wheel, python="3.13")
    entries = read_entries(context.store, part, owner="p")
    contents = {entry.path: entry.content for entry in entries if entry.content is not None}
    assert contents == {f"{LIBRARY}/p/a.py": b"x = 1", f"{LIBRARY}/q/d.py": b"y = 2"}
    (tmp_path / wheel.file).unlink()
    assert python_sources(context, wheel, python="3.12") == part  # kept, and for any Python


def test_a_wheel_without_python_needs_no_compiler(tmp_path: Path, context: LayerContext) -> None:
    wheel = a_wheel(tmp_path, "data", {"data/x.bin": b"1"})
    compile_missing(context, [wheel], compiler())
    assert missing_bytecode(context.store, [wheel], compiler()) == ()
    assert list(bytecode_layers(context, [wheel], compiler())) == []


def compiled(context: LayerContext, wheel: Wheel, files: Mapping[str, bytes]) -> None:
    """Put byte code into the store as the compiler would."""
    entries = [
        LayerEntry(path=f"{LIBRARY}/{path}", mode=0o644, content=text, owner=wheel.file)
        for path, text in files.items()
    ]
    key = bytecode_key(wheel, interpreter="one", python="3.13")
    make_layer(
        context.store,
        key,
        lambda file: compress_gzip(tar_parts(arrange_entries(entries)), file.write),
        print,
    )


def test_large_byte_code_has_its_own_layer(tmp_path: Path, context: LayerContext) -> None:
    big, first, second = (a_wheel(tmp_path, name, {}) for name in ("big", "a", "b"))
    compiled(context, big, {"big/__pycache__/x.pyc": bytes(LARGE_BYTECODE)})
    compiled(context, first, {"n/__pycache__/x.pyc": b"first", "a.pyc": b"1"})
    compiled(context, second, {"n/__pycache__/x.pyc": b"second", "b.pyc": b"2"})
    layers = list(bytecode_layers(context, [second, big, first], compiler()))
    assert [layer.wheel for layer in layers] == [big, None]
    with tarfile.open(context.store.blob(layers[1].layer)) as archive:
        content = {
            layer.name: cast("Any", archive.extractfile(layer)).read()
            for layer in archive
            if layer.isreg()
        }
    # Of a file that two wheels have, the byte code of the first by name.
    assert content == {
        f"{LIBRARY}/a.pyc": b"1",
        f"{LIBRARY}/b.pyc": b"2",
        f"{LIBRARY}/n/__pycache__/x.pyc": b"first",
    }
    again = list(bytecode_layers(context, [first, big, second], compiler()))
    assert {layer.layer.digest for layer in again} == {layer.layer.digest for layer in layers}
    assert missing_bytecode(context.store, [big], compiler("another")) == (big,)


def test_bytecode_keys_contain_all_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel, other = (a_wheel(tmp_path, name, {}) for name in ("one", "other"))
    keys = [
        bytecode_key(wheel, interpreter="i", python="3.13"),
        bytecode_key(other, interpreter="i", python="3.13"),
        bytecode_key(wheel, interpreter="j", python="3.13"),
        bytecode_key(wheel, interpreter="i", python="3.12"),
    ]
    monkeypatch.setattr(bytecode, "SCRIPT", "another")
    keys.append(bytecode_key(wheel, interpreter="i", python="3.13"))
    assert len(set(keys)) == len(keys)


PROGRAM, LINKED = b"program", b"program, linked with libpython3.13.so"


@pytest.mark.parametrize(
    ("files", "same"),
    [
        ({"usr/bin/python3.13": PROGRAM}, True),
        ({"usr/bin/python3.13": PROGRAM, "usr/bin/g++": b"x"}, True),
        # What comes with the headers compiles nothing.
        ({"usr/bin/python3.13": PROGRAM, "usr/lib/x/libpython3.13.so.1.0": b"1"}, True),
        ({"usr/bin/python3.13": b"another"}, False),
        ({"usr/bin/python3.13": PROGRAM, "usr/lib/python3.13/py_compile.py": b"1"}, False),
        ({"usr/bin/python3.13": LINKED, "usr/lib/x/libpython3.13.so.1.0": b"1"}, False),
        ({"bin/other": PROGRAM}, False),
    ],
)
def test_the_interpreter_digest_is_that_of_python_files(
    files: Mapping[str, bytes], *, same: bool, tmp_path: Path
) -> None:
    def system(name: str, files: Mapping[str, bytes]) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as archive:
            for file, content in files.items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    plain = interpreter_digest([system("plain", {"usr/bin/python3.13": PROGRAM})])
    assert (interpreter_digest([system("alone", files)]) == plain) is same
    # What lies above counts, not what it covers.
    below = system("below", {"etc/x": b"1", "usr/bin/python3.13": b"covered"})
    assert (interpreter_digest([below, system("above", files)]) == plain) is same
