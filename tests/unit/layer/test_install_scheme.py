"""Paths of installed members, and the files that an installer adds, as uv 0.13.8 writes them.

`test_layers_uv.py` compares with uv itself.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from dlimg.errors import BadInput
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.entries import arrange_entries
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import (
    ConsoleScript,
    console_scripts,
    depends_on_python,
    installer_entries,
    launcher_script,
    rewrite_shebang,
    wheel_entries,
)
from dlimg.wheel.metadata import RecordRow, format_record, open_wheel, parse_record
from tests.support import wheel_files

DATA = "small-1.0.data"
INFO = "small-1.0.dist-info"
SHEBANG = b"#!/opt/env/bin/python\n"


def installed(path: Path, *, requested: bool = True) -> dict[str, tuple[int, bytes | None]]:
    """Return all files of an installed wheel, with those of the installer."""
    wheel = open_wheel(path)
    out = io.BytesIO()
    own = installer_entries(wheel, python="3.13", requested=requested)
    splice_wheel_streams(
        tar_parts(arrange_entries([*wheel_entries(wheel, python="3.13"), *own])), out.write
    )
    return {
        path.removeprefix("opt/env/"): entry
        for path, entry in wheel_files.tree(out.getvalue()).items()
    }


def library(name: str) -> str:
    return f"lib/python/site-packages/{name}"


@pytest.mark.parametrize(
    ("member", "mode", "place", "expected"),
    [
        ("a.py", 0o100644, library("a.py"), 0o644),
        ("a.py", 0, library("a.py"), 0o644),
        ("a.sh", 0o100755, library("a.sh"), 0o755),
        ("a.sh", 0o100654, library("a.sh"), 0o755),
        ("a.sh", 0o100645, library("a.sh"), 0o755),
        ("a.txt", 0o100444, library("a.txt"), 0o644),
        ("a.txt", 0o100600, library("a.txt"), 0o644),
        ("a.txt", 0o104755, library("a.txt"), 0o755),
        (f"{DATA}/purelib/p/x.py", 0o100644, library("p/x.py"), 0o644),
        (f"{DATA}/platlib/p/x.so", 0o100755, library("p/x.so"), 0o755),
        (f"{DATA}/scripts/tool", 0o100644, "bin/tool", 0o755),
        (f"{DATA}/scripts/tool", 0o100755, "bin/tool", 0o755),
        (f"{DATA}/data/share/x", 0o100600, "share/x", 0o644),
        (f"{DATA}/data/etc/x", 0o100755, "etc/x", 0o755),
        (f"{DATA}/data/bin/x", 0o100644, "bin/x", 0o644),
        (f"{DATA}/data/lib/x", 0o100644, "lib/x", 0o644),
        (f"{DATA}/data/lib64/x", 0o100644, "lib/x", 0o644),
        (f"{DATA}/data/lib/python3.13/site-packages/x", 0o100644, library("x"), 0o644),
        (f"{DATA}/data/lib64/python3.13/x", 0o100644, "lib/python/x", 0o644),
        (f"{DATA}/data/lib/python3.9/x", 0o100644, "lib/python3.9/x", 0o644),
        (f"{DATA}/headers/x.h", 0o100644, "include/site/python3.13/small/x.h", 0o644),
        (f"{DATA}/headers/s/x.h", 0o100600, "include/site/python3.13/small/s/x.h", 0o644),
        ("other-1.0.data/data/x", 0o100644, library("other-1.0.data/data/x"), 0o644),
    ],
)
def test_paths_and_modes_of_installed_files(
    tmp_path: Path, member: str, mode: int, place: str, expected: int
) -> None:
    path = wheel_files.wheel(tmp_path, files={member: "content"}, modes={member: mode})
    assert installed(path)[place] == (expected, b"content")


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ("empty/", library("empty")),
        (f"{DATA}/data/share/e/", "share/e"),
        (f"{DATA}/data/lib64/", "lib"),
        (f"{DATA}/headers/", "include/site/python3.13/small"),
    ],
)
def test_folders_of_a_wheel_are_in_the_layer(tmp_path: Path, member: str, path: str) -> None:
    assert installed(wheel_files.wheel(tmp_path, files={member: ""}))[path] == (0o755, None)


def test_folders_of_schemes_are_no_folders_of_the_image(tmp_path: Path) -> None:
    members = [f"{DATA}/", f"{DATA}/scripts/", f"{DATA}/purelib/", f"{DATA}/data/"]
    path = wheel_files.wheel(tmp_path, files=dict.fromkeys(members, ""))
    assert not any("data" in name or name.startswith("bin") for name in installed(path))


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (f"{DATA}/other/x", "is for 'other', which is no known scheme"),
        (f"{DATA}/x", "is for 'x', which is no known scheme"),
        (f"{DATA}/scripts/d/x", "in a folder of its scripts"),
        (f"{DATA}/scripts/d/", "in a folder of its scripts"),
        (f"{DATA}/scripts/python", "would replace that of the image's environment"),
        (f"{DATA}/scripts/activate.fish", "would replace that of the image's environment"),
        (f"{DATA}/scripts/python3.13", "would replace that of the image's environment"),
        (f"{DATA}/data/bin/python3", "would replace that of the image's environment"),
        (f"{DATA}/data/pyvenv.cfg", "would replace a part of the environment"),
        (f"{DATA}/data/pip.conf", "would replace a part of the environment"),
        ("dlimg_start.pth", "would replace what every Python of the image starts with"),
        ("dlimg_start/__init__.py", "would replace what every Python of the image starts with"),
        (f"{DATA}/platlib/dlimg_start.py", "would replace what every Python of the image"),
        (f"{DATA}/data/lib64", "would replace a part of the environment"),
        (f"{DATA}/data/lib/python3.13", "would replace a part of the environment"),
        (f"{DATA}/data/lib/python", "two different contents for opt/env/lib/python"),
        (f"{DATA}/data/lib64/python3.13", "two different contents for opt/env/lib/python"),
        (f"{DATA}/data", "would replace a part of the environment"),
        (f"{DATA}/purelib/{INFO}/METADATA", "two different contents for .*METADATA"),
    ],
)
def test_paths_that_are_refused(tmp_path: Path, member: str, reason: str) -> None:
    content = "" if member.endswith("/") else "content"
    with pytest.raises(BadInput, match=reason):
        installed(wheel_files.wheel(tmp_path, files={member: content}))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"#!python\nx\n", SHEBANG + b"x\n"),
        (b"#!python3 -E\r\nx\n", SHEBANG + b"x\n"),
        (b"#!pythonw -x\nx", SHEBANG + b"x"),
        (b"#!python\rx\r", SHEBANG + b"x\r"),
        (b"#!python\r\r\nx\n", SHEBANG + b"\r\nx\n"),
        (b"#!python", SHEBANG),
        (b"#!python3\r", SHEBANG),
    ],
)
def test_scripts_get_the_interpreter(tmp_path: Path, script: bytes, expected: bytes) -> None:
    assert rewrite_shebang(script) == expected
    path = wheel_files.wheel(tmp_path, files={f"{DATA}/scripts/tool": script})
    assert installed(path)["bin/tool"] == (0o755, expected)
    record = "\n".join(record_of(path))
    assert f"../../../bin/tool,{wheel_files.identity(expected)},{len(expected)}" in record


@pytest.mark.parametrize(
    "script", [b"#!/bin/sh\n", b"\x7fELF\0", b"#", b"", b"#!/usr/bin/python\n"]
)
def test_other_scripts_stay(tmp_path: Path, script: bytes) -> None:
    path = wheel_files.wheel(tmp_path, files={f"{DATA}/scripts/tool": script})
    assert installed(path)["bin/tool"] == (0o755, script)


def test_the_launcher_of_a_command() -> None:
    command = ConsoleScript(name="tool", module="a.b", function="c.main")
    assert launcher_script(command).decode() == (
        "#!/opt/env/bin/python\n"
        "# -*- coding: utf-8 -*-\n"
        "import sys\n"
        "from a.b import c\n"
        'if __name__ == "__main__":\n'
        '    if sys.argv[0].endswith("-script.pyw"):\n'
        "        sys.argv[0] = sys.argv[0][:-11]\n"
        '    elif sys.argv[0].endswith(".exe"):\n'
        "        sys.argv[0] = sys.argv[0][:-4]\n"
        "    sys.exit(c.main())\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("[other]\nq = a:b\n", {}),
        ("# c\n[console_scripts]\n; c\nt = a:b\n", {"t": "a b"}),
        ("[console_scripts]\r\nT.x=a.b : c.d [x, y]\r\nn m = a:b[x]\r\n",
         {"T.x": "a.b c.d", "n m": "a b"}),
        ("[gui_scripts]\ng = a:b\n[console_scripts]\nt = a:b\n", {"t": "a b", "g": "a b"}),
        ("[console_scripts]\npip = a:b\npip3 = a:c\npip3.99 = a:d\npip4.1 = a:e\n",
         {"pip": "a b", "pip3": "a c", "pip4.1": "a e", "pip3.13": "a c"}),
    ],
)  # fmt: skip
def test_entry_points_become_commands(text: str, expected: Mapping[str, str]) -> None:
    commands = console_scripts(text, python="3.13", file="w")
    assert {
        command.name: f"{command.module} {command.function}" for command in commands
    } == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\ufeff[console_scripts]\n", "cannot be read"),
        ("t = a:b\n", "cannot be read"),
        ("[console_scripts]\nt: a.b\n", "cannot be read"),
        ("[console_scripts]\nt = a:b\nt = a:b\n", "cannot be read"),
        ("[console_scripts]\n[console_scripts]\n", "cannot be read"),
        ("[console_scripts]\nt = a:b # c\n", "is no function"),
        ("[console_scripts]\nt = a\n", "is no function"),
        ("[console_scripts]\nt = a:b;import os\n", "is no function"),
        ("[console_scripts]\nt = a:b [x\n", "is no function"),
        ("[console_scripts]\nt =\n  a:b\n", "is no function"),
        ("[console_scripts]\n../t = a:b\n", "cannot be a command"),
        ("[console_scripts]\n.. = a:b\n", "cannot be a command"),
        ("[console_scripts]\npython3.12 = a:b\n", "replace that of the image's environment"),
    ],
)
def test_commands_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        console_scripts(text, python="3.13", file="w")


def test_a_command_and_a_script_of_one_name(tmp_path: Path) -> None:
    files = {
        f"{DATA}/scripts/tool": "#!python\n",
        f"{DATA}/scripts/tool-script.py": "#!python\n",
        f"{INFO}/entry_points.txt": "[console_scripts]\ntool = a:b\nboth = a:b\n"
        "[gui_scripts]\nboth = a:c\n",
    }
    files_by_path = installed(wheel_files.wheel(tmp_path, files=files))
    assert b"from a import b" in (files_by_path["bin/tool"][1] or b"")
    assert b"from a import c" in (files_by_path["bin/both"][1] or b"")
    assert "bin/tool-script.py" not in files_by_path
    record = str(files_by_path[library(f"{INFO}/RECORD")][1] or b"", "utf-8")
    assert record.count("../../../bin/both,") == 2
    assert f"{DATA}/scripts/tool,{wheel_files.identity(b'#!python' + bytes([10]))},9\n" in record


def record_of(path: Path, *, requested: bool = True) -> list[str]:
    content = installed(path, requested=requested)[library(f"{INFO}/RECORD")][1]
    return str(content or b"", "utf-8").splitlines()


INSTALLER_ROW = f"{INFO}/INSTALLER,sha256=5hhM4Q4mYTT9z6QB6PGpUAW81PGNFrYrdXMj4oM_6ak,2"
REQUESTED_ROW = f"{INFO}/REQUESTED,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0"


def test_the_record_equals_that_of_uv(tmp_path: Path) -> None:
    files = {
        "b.py": "1",
        "a/c.py": "",
        'q"u,o te.txt': "q",
        "ü.txt": "",
        f"{DATA}/headers/h.h": "h",
        f"{DATA}/data/share/d": "d",
        f"{DATA}/data/lib64/z": "",
        f"{DATA}/data/lib/z": "",
        f"{DATA}/purelib/p.py": "p",
        f"{INFO}/INSTALLER": "pip\n",
        f"{INFO}/entry_points.txt": "[console_scripts]\ntool = a:b\n",
    }
    path = wheel_files.wheel(tmp_path, files=files)
    metadata = wheel_files.metadata("small").encode()
    points = files[f"{INFO}/entry_points.txt"].encode()
    tool = launcher_script(ConsoleScript(name="tool", module="a", function="b"))

    def line(name: str, content: bytes) -> str:
        return f"{name},{wheel_files.identity(content)},{len(content)}"

    assert record_of(path) == [
        line("../../../bin/tool", tool),
        line("../../../include/site/python3.13/small/h.h", b"h"),
        line("../../../lib64/z", b""),
        line("../../../share/d", b"d"),
        line("../../z", b""),
        line("a/c.py", b""),
        line("b.py", b"1"),
        line("p.py", b"p"),
        line('"q""u,o te.txt"', b"q"),
        INSTALLER_ROW,
        line(f"{INFO}/INSTALLER", b"pip\n"),
        line(f"{INFO}/METADATA", metadata),
        f"{INFO}/RECORD,,",
        REQUESTED_ROW,
        line(f"{INFO}/WHEEL", wheel_files.WHEEL.encode()),
        line(f"{INFO}/entry_points.txt", points),
        line("ü.txt", b""),
    ]
    result = installed(path)
    assert result[library(f"{INFO}/INSTALLER")] == (0o644, b"uv")
    assert result[library(f"{INFO}/REQUESTED")] == (0o644, b"")


def test_a_dependency_has_no_requested_file(tmp_path: Path) -> None:
    path = wheel_files.wheel(tmp_path, files={f"{INFO}/REQUESTED": "x"})
    assert not any("REQUESTED" in line for line in record_of(path, requested=False))
    assert library(f"{INFO}/REQUESTED") not in installed(path, requested=False)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("a.py,sha256=2,2\na.py,sha256=1,1\n", ["a.py,sha256=2,2"]),
        ("./a.py,sha256=1,1\na.py,sha256=2,2\n", ["./a.py,sha256=1,1"]),
        ("/a.py,sha256=3,3\n", ["a.py,sha256=3,3"]),
        ("d/../a.py,,\n", ["d/../a.py,,"]),
        ("a.py,,\r\n", ["a.py,,"]),
        ('"a.py","sha256=2","7"\n', ["a.py,sha256=2,7"]),
        ("\ufeffa.py,,\n\n", ["a.py,,"]),
        ("absent.py,sha256=2,7\nd/,,\n", ["a.py,,1"]),
        ("", ["a.py,,1"]),
    ],
)
def test_a_wheels_record_is_corrected_as_uv_does(
    tmp_path: Path, record: str, expected: list[str]
) -> None:
    rest = f"{INFO}/METADATA,x,1\n{INFO}/RECORD,,\n{INFO}/WHEEL,x,1\n"
    path = wheel_files.wheel(tmp_path, files={"a.py": "1"}, record=record + rest)
    others = [INSTALLER_ROW, *rest.splitlines()[:2], REQUESTED_ROW, f"{INFO}/WHEEL,x,1"]
    assert sorted(record_of(path)) == sorted([*expected, *others])


@pytest.mark.parametrize("record", ["a.py,\n", "a.py\n", "a.py,,x\n", "a.py,,-1\n", '"a.py,,\n'])
def test_records_that_are_refused(record: str) -> None:
    with pytest.raises(BadInput, match="RECORD"):
        parse_record(record, file="w")


def test_rows_are_sorted_by_number() -> None:
    rows = [
        RecordRow("a", "", "10"),
        RecordRow("a", "", "9"),
        RecordRow("a", "", ""),
        RecordRow("B", "", "1"),
    ]
    assert format_record(rows) == "B,,1\na,,\na,,9\na,,10\n"


@pytest.mark.parametrize(
    ("member", "depends"),
    [
        ("a.h", False),
        ("headers/a.h", False),
        (f"{DATA}/headers/a.h", True),
        (f"{DATA}/data/lib/python3.13/x", True),
        (f"{DATA}/data/lib64/python3.13/x", True),
        (f"{DATA}/data/lib/x", False),
        (f"{DATA}/scripts/x", False),
        (f"{DATA}/headersx/a.h", False),
    ],
)
def test_wheels_that_depend_on_the_python(tmp_path: Path, member: str, *, depends: bool) -> None:
    path = wheel_files.wheel(tmp_path, files={member: ""})
    assert depends_on_python(open_wheel(path)) is depends


def test_namespace_packages_of_two_wheels(tmp_path: Path) -> None:
    paths = [
        wheel_files.wheel(tmp_path, name, {f"ns/{name}/__init__.py": "", "ns/same.py": "1"})
        for name in ("one", "two")
    ]
    entries = [entry for path in paths for entry in wheel_entries(open_wheel(path), python="3.13")]
    names = [entry.path for entry in arrange_entries(entries) if "/ns" in entry.path]
    assert [name.partition("site-packages/")[2] for name in names] == [
        "ns",
        "ns/one",
        "ns/one/__init__.py",
        "ns/same.py",
        "ns/two",
        "ns/two/__init__.py",
    ]


def write_as(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"without": [f"{INFO}/RECORD"]}, f"it has no {INFO}/RECORD"),
        ({"without": [f"{INFO}/WHEEL"]}, f"it has no {INFO}/WHEEL"),
        ({"without": [f"{INFO}/METADATA"]}, f"it has no {INFO}/METADATA"),
        ({"files": {"z-1.dist-info/x": ""}}, "one folder .*small-1.0, z-1"),
        ({"files": {f"{INFO}/WHEEL": "Wheel-Version: 2.0\n"}}, "format 2"),
        ({"files": {f"{INFO}/WHEEL": ""}}, "format unknown"),
        ({"files": {f"{INFO}/WHEEL": b"\xff"}}, "WHEEL is not UTF-8"),
        ({"files": {f"{INFO}/WHEEL": "Wheel-Version: 1.0\nTag: cp39-cp39-any\n"}}, "cp39-cp39"),
        ({"files": {f"{INFO}/WHEEL": "Wheel-Version: 1.0\nTag: x\n"}}, "holds the tags x"),
        ({"files": {f"{INFO}/METADATA": wheel_files.metadata("other")}}, "it holds 'other'"),
        ({"files": {f"{INFO}/METADATA": wheel_files.metadata("small", "2")}}, "version '2'"),
        ({"files": {f"{INFO}/METADATA": wheel_files.metadata("small", "x y")}}, "no version"),
        ({"files": {f"{INFO}/METADATA": ""}}, "it holds ''"),
    ],
)
def test_wheels_that_are_refused(
    tmp_path: Path, options: Mapping[str, object], reason: str
) -> None:
    path = wheel_files.wheel(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=reason):
        open_wheel(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other-1.0-py3-none-any.whl", "it holds 'small'"),
        ("small-1.1-py3-none-any.whl", "version '1.0'"),
        ("small-1.0-cp313-cp313-any.whl", "it holds a wheel for py3-none-any"),
        ("small.whl", "not the name of a wheel"),
    ],
)
def test_file_names_that_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    path = write_as(wheel_files.wheel(tmp_path), name)
    with pytest.raises(BadInput, match=reason):
        open_wheel(path)


def test_distribution_names_are_compared_normalized(tmp_path: Path) -> None:
    renamed = write_as(wheel_files.wheel(tmp_path), "small-1.0-py3-none-manylinux_2_28_x86_64.whl")
    assert open_wheel(renamed).name == "small"
    files = {"Big_Name-1.0+cpu.dist-info/METADATA": wheel_files.metadata("big.name", "1.0")}
    local = wheel_files.wheel(tmp_path, "Big_Name", files, version="1.0+cpu")
    assert open_wheel(local).name == "big-name"
