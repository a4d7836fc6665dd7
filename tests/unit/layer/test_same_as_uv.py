"""Layers of wheels hold the same files as uv's install of these wheels."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import uv

from dlimg.errors import BadInput
from dlimg.layer.compress import splice_wheel_streams
from dlimg.layer.entries import arrange_entries
from dlimg.layer.tar import tar_parts
from dlimg.layer.wheel_entries import INTERPRETER, installer_entries, wheel_entries
from dlimg.wheel.metadata import open_wheel
from tests.support import wheel_files

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DATA = "big_Name-1.0.data"
INFO = "big_Name-1.0.dist-info"

# Notes of uv's cache, and of where a wheel came from: of no use in an image.
NOTES = ("uv_cache.json", "direct_url.json")

Tree = dict[str, tuple[int, bytes | None]]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment whose site-packages path has no Python version, as in the images."""
    path = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    (path / "lib" / f"python{PYTHON}").rename(path / "lib/python")
    (path / "lib" / f"python{PYTHON}").symlink_to("python")
    return path


def tree(environment: Path) -> Tree:
    results: Tree = {}
    for folder, folders, files in os.walk(environment):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink() and name not in NOTES:
                content = None if path.is_dir() else path.read_bytes()
                mode = path.stat().st_mode & 0o7777
                results[str(path.relative_to(environment))] = (mode, content)
    return results


def by_uv(environment: Path, wheels: list[Path]) -> Tree:
    before = tree(environment)
    requirements = environment.parent / "requirements.txt"
    requirements.write_text("".join(f"{open_wheel(path).name}\n" for path in wheels))
    options = {
        "--python": environment / "bin/python",
        "--cache-dir": environment.parent / "cache",
        "--link-mode": "copy",
        "--find-links": environment.parent,
        "--requirement": requirements,
    }
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-config", "--no-deps"]
    arguments = [str(part) for option in options.items() for part in option]
    subprocess.run([*install, "--no-index", *arguments], check=True, umask=0o022)
    after = tree(environment)
    return {path: after[path] for path in after if path not in before and path != ".lock"}


def by_us(wheels: list[Path]) -> Tree:
    entries = []
    for wheel in map(open_wheel, wheels):
        entries += [*wheel_entries(wheel, python=PYTHON)]
        entries += [*installer_entries(wheel, python=PYTHON, requested=True)]
    out = io.BytesIO()
    splice_wheel_streams(tar_parts(arrange_entries(entries)), out.write)
    return {
        path.removeprefix("opt/env/"): entry
        for path, entry in wheel_files.tree(out.getvalue()).items()
        if path.startswith("opt/env/")
    }


def compare(theirs: Tree, ours: Tree, environment: Path) -> None:
    """Compare, with the image's interpreter in uv's scripts; RECORD's rows of them may differ."""
    made = {path for path in theirs if path.startswith("bin/")}
    shared = {"bin", "include", "lib", "lib/python", "lib/python/site-packages"}
    assert set(theirs) == set(ours) - shared | (set(theirs) & shared)
    interpreter = f"#!{environment / 'bin/python'}\n".encode()
    for path, (mode, content) in theirs.items():
        our_mode, our_content = ours[path]
        assert mode == our_mode, path
        if path.endswith("/RECORD"):
            assert rows(content, made) == rows(our_content, made)
        else:
            changed = content and content.replace(interpreter, f"#!{INTERPRETER}\n".encode())
            assert changed == our_content, path


def rows(record: bytes | None, scripts: set[str]) -> list[str]:
    assert record is not None
    lines = record.decode().splitlines(keepends=True)
    rows_of_files = []
    for line, (path, _, _) in zip(lines, csv.reader(lines), strict=True):
        if not path.endswith(NOTES):
            rows_of_files.append(path if path.removeprefix("../../../") in scripts else line)
    return rows_of_files


EVERYTHING: Mapping[str, bytes | str] = {
    "big/__init__.py": "x = 1\n",
    "big/with,comma.txt": "c",
    'big/with"quote.txt': "q",
    "big/ü.txt": "u",
    "big/empty/": "",
    "big.pth": "import big\n",
    "ns/big/__init__.py": "",
    f"{DATA}/purelib/pure/__init__.py": "",
    f"{DATA}/platlib/plat/__init__.py": "",
    f"{DATA}/scripts/rewritten": "#!python3 -E\r\nprint()\n",
    f"{DATA}/scripts/other": "#!/bin/sh\n",
    f"{DATA}/scripts/binary": b"\x7fELF\0",
    f"{DATA}/scripts/zeta": "#!python\n",
    f"{DATA}/data/share/big/x": "",
    f"{DATA}/data/lib/y": "",
    f"{DATA}/data/lib/python{PYTHON}/site-packages/z.py": "",
    f"{DATA}/headers/sub/big.h": "h",
    f"{INFO}/INSTALLER": "pip\n",
    f"{INFO}/entry_points.txt": (
        "[console_scripts]\nzeta = big:main\npip3 = big : a.b [extra]\n[gui_scripts]\ng=big:g\n"
    ),
}


def test_uv_installs_the_same_files_for_every_kind_of_member(
    tmp_path: Path, environment: Path
) -> None:
    modes = {
        "big/__init__.py": 0o100600,
        "big.pth": 0o100755,
        f"{DATA}/data/share/big/x": 0o100745,
        f"{DATA}/scripts/other": 0o100755,
    }
    wheels = [
        wheel_files.wheel(tmp_path, "big_Name", EVERYTHING, modes=modes),
        wheel_files.wheel(tmp_path, "other", {"ns/other/__init__.py": ""}),
    ]
    compare(by_uv(environment, wheels), by_us(wheels), environment)


def test_uv_corrects_records_in_the_same_way(tmp_path: Path, environment: Path) -> None:
    record = "./a.py,sha256=1,1\nb.py,sha256=2,2\nb.py,,\n/c.py,,\nabsent.py,,\nd/,,\n"
    files = {"a.py": "", "b.py": "", "c.py": "", "unlisted.py": "1234"}
    wheels = [wheel_files.wheel(tmp_path, "some", files, record=record)]
    compare(by_uv(environment, wheels), by_us(wheels), environment)


def points(text: str) -> dict[str, bytes | str]:
    return {"{info}/entry_points.txt": text}


# Wheels that are all installed together; `{info}` and `{data}` are their own folders.
MANY: Mapping[str, tuple[dict[str, bytes | str], dict[str, int]]] = {
    "extras": (points("[console_scripts]\na1 = x:main [e1,e2]\na2=x.y:A.b.c\n"), {}),
    "comments": (points("# c\n; d\n[console_scripts]\n# e\nb1=x:main\n\n"), {}),
    "both": (points("[console_scripts]\nc1=x:main\n[gui_scripts]\nc1=x:g\n"), {}),
    "upper": (points("[Console_Scripts]\nno=x:m\n[console_scripts]\nBig-Name=x:Main\n"), {}),
    "words": (points("[console_scripts]\nn\u00e4me=x:m\u00e4in\na b=x:main\n"), {}),
    "crlf": (points("[console_scripts]\r\nf1=x:main\r\n"), {}),
    "default": (points("[DEFAULT]\ng1=x:d\ng2=x:d\n[console_scripts]\ng2=x:main\n"), {}),
    "default_alone": (points("[DEFAULT]\nh1=x:d\n[other]\nns:key = a b c %(x)s\n"), {}),
    "pips": (points("[console_scripts]\npip=x:m\npip3=x:m\npip3.9=x:m\n"), {}),
    "covered": ({"{data}/scripts/i1": "#!python\n", **points("[console_scripts]\ni1=x:m")}, {}),
    "scripts": ({"{data}/scripts/j1": "#!python", "{data}/scripts/j2": ""}, {}),
    "placed": ({"{data}/data/etc/k/x.json": "{}", "{data}/data/lib64/k": "1"}, {}),
    "tool": ({"{data}/data/bin/l1": "#!python\n"}, {"{data}/data/bin/l1": 0o100755}),
    "licences": ({"{info}/licenses/LICENSE": "MIT", "{info}/licenses/sub/NOTICE": "n"}, {}),
    "boms": ({"{info}/sboms/a.json": "{}"}, {}),
    "forms": ({"forms/\u00e9.txt": "nfc", "forms/e\u0301.txt": "nfd", "forms/ a b ": "s"}, {}),
    "cases": ({"cases/A.txt": "1", "cases/a.txt": "2"}, {}),
    "long": ({"long/" + 9 * ("d" * 30 + "/") + "f" * 200: "", "long/" + "e" * 95: "100"}, {}),
    "modes": (
        {f"modes/{mode:o}": "" for mode in (0o400, 0o444, 0o700, 0o4755, 0o001)},
        {f"modes/{mode:o}": 0o100000 | mode for mode in (0o400, 0o444, 0o700, 0o4755, 0o001)},
    ),
    "all_executable": (
        {"{info}/INSTALLER": "conda", "{info}/REQUESTED": ""},
        {f"{{info}}/{name}": 0o100777 for name in ("RECORD", "INSTALLER", "REQUESTED")},
    ),
    "compiled": ({"compiled/__pycache__/a.cpython-313.pyc": b"pyc", "compiled/a.py": ""}, {}),
    "legacy": ({"legacy-nspkg.pth": "import sys", "{info}/namespace_packages.txt": "ns\n"}, {}),
    "many": ({f"many/{number % 37}/{number}.py": f"{number}" for number in range(2000)}, {}),
    "folders": ({"folders/d/": "", "folders/d/a": "1"}, {"folders/d/": 0o40700}),
}


def test_uv_installs_the_same_files_for_many_wheels(tmp_path: Path, environment: Path) -> None:
    wheels = []
    for name, (files, modes) in MANY.items():
        own = {"{info}": f"{name}-1.0.dist-info", "{data}": f"{name}-1.0.data"}
        contents = {named(path, own): content for path, content in files.items()}
        kinds = {named(path, own): mode for path, mode in modes.items()}
        wheels.append(wheel_files.wheel(tmp_path, name, contents, modes=kinds))
    compare(by_uv(environment, wheels), by_us(wheels), environment)


def named(path: str, own: Mapping[str, str]) -> str:
    for short, folder in own.items():
        path = path.replace(short, folder)
    return path


def test_sizes_in_a_record(tmp_path: Path, environment: Path) -> None:
    record = "a.py,sha256=1,0001\nb.py,,+1\nc.py,,18446744073709551615\n"
    files = {"a.py": "", "b.py": "", "c.py": ""}
    wheels = [wheel_files.wheel(tmp_path, "some", files, record=record)]
    compare(by_uv(environment, wheels), by_us(wheels), environment)


@pytest.mark.parametrize("size", ["18446744073709551616", "-1", "1.0", "1_0", "\u0661", "9" * 5000])
def test_no_size_in_a_record(tmp_path: Path, size: str) -> None:
    wheel = wheel_files.wheel(tmp_path, "some", {"a.py": ""}, record=f"a.py,,{size}\n")
    with pytest.raises(BadInput, match="its RECORD has a row"):
        by_us([wheel])
