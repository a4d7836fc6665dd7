"""Packages against the lock that was handed in; and byte code against its source."""

import base64
import hashlib
import importlib
import importlib.util
import json
import marshal
import py_compile
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.support.check_scripts import FAILED, code_of

lock = importlib.import_module("_lock")
byte_code = importlib.import_module("_bytecode")
tag = importlib.import_module("_tag")
pip_check = importlib.import_module("pip_check")

A, B = "a" * 64, "b" * 64
NUMPY = "numpy-2.5.5-cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
WHEELS = {
    "numpy": lock.Wheel("2.5.5", NUMPY, A),
    "six": lock.Wheel("1.17.0", "six-1.17.0-py2.py3-none-any.whl", B),
}
NOTED = {"numpy": "2.5.5", "six": "1.17.0"}
HASHES = {"numpy": {A}, "six": {B}}
TAGS = {
    "numpy": "Wheel-Version: 1.0\nTag: cp313-cp313-manylinux_2_28_x86_64\n"
    "Tag: cp313-cp313-manylinux_2_27_x86_64\n",
    "six": "Generator: x\nTag: py2-none-any\nTag: py3-none-any\n\n",
}


def test_the_lock_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lock.json"
    rows = [{"name": name, **wheel._asdict()} for name, wheel in WHEELS.items()]
    file.write_text(json.dumps(rows))
    monkeypatch.setenv("DLIMG_LOCK", str(file))
    assert lock.read() == WHEELS


@pytest.mark.parametrize("text", ["", "{", "[]", '["numpy"]', '[{"name": "numpy"}]', None])
def test_a_lock_that_cannot_be_read_fails(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lock.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("DLIMG_LOCK", str(file))
    assert code_of(lock.read) == FAILED


def test_a_machine_that_no_lock_was_handed_to_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLIMG_LOCK", raising=False)
    assert lock.read() == {}


@pytest.mark.parametrize(
    ("noted", "hashes", "lie"),
    [
        (NOTED, HASHES, ""),
        ({"numpy": "2.5.5"}, HASHES, "six: the lock has 1.17.0, the image notes none"),
        ({**NOTED, "x": "1"}, HASHES, "x: the lock has none, the image notes 1"),
        ({**NOTED, "six": "1.16"}, HASHES, "six: the lock has 1.17.0, the image notes 1.16"),
        (NOTED, {**HASHES, "six": {A}}, "six: the image notes another sha256 than the lock's"),
        (NOTED, {**HASHES, "six": {A, B}}, "six: the image notes another sha256 than the lock's"),
        (NOTED, {"numpy": {A}}, "six: the image notes another sha256 than the lock's"),
    ],
)
def test_what_the_image_notes_is_the_lock(
    noted: dict[str, str], hashes: dict[str, set[str]], lie: str
) -> None:
    assert lock.note_mismatches(WHEELS, noted, hashes) == ([lie] if lie else [])


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("six", TAGS["six"], None),
        ("six", "Tag: py3-none-any\n", "py3-none-any"),
        ("six", "", "nothing"),
        ("numpy", TAGS["numpy"].replace("cp313-cp313", "cp313-abi3"), "cp313-abi3-manylinux_2_27"),
        ("numpy", TAGS["numpy"] + "Tag: cp313-cp313-linux_x86_64\n", "cp313-cp313-linux_x86_64"),
        ("numpy", "Tag: cp313-cp313-linux_x86_64\n", None),  # renamed after its build
        ("numpy", "Tag: cp313-cp313-linux_aarch64\n", "cp313-cp313-linux_aarch64"),
        ("numpy", "Tag: cp312-cp312-linux_x86_64\n", "cp312-cp312-linux_x86_64"),
        ("six", "Tag: py2-none-linux_x86_64\n", "py2-none-linux_x86_64"),
        # Compressed, as maturin writes it.
        (
            "numpy",
            "Tag: cp313-cp313-manylinux_2_27_x86_64.manylinux_2_28_x86_64\n",
            None,
        ),
        ("six", "Tag: py2.py3-none-any\n", None),
        ("six", "Tag: py3.py2-none-linux_x86_64\n", "py2-none-linux_x86_64"),
        ("six", "Tag: py3\n", "py3"),
        # More or fewer manylinux than the file name has, as treelite and others note.
        ("numpy", TAGS["numpy"] + "Tag: cp313-cp313-manylinux_2_17_x86_64\n", None),
        ("numpy", TAGS["numpy"].rpartition("Tag")[0], None),
        ("numpy", "Tag: cp313-cp313-manylinux_2_17_x86_64\n", "cp313-cp313-manylinux_2_17"),
        ("numpy", TAGS["numpy"] + "Tag: cp313-cp313-manylinux_2_17_aarch64\n", "cp313-cp313"),
        ("numpy", TAGS["numpy"] + "Tag: cp312-cp312-manylinux_2_17_x86_64\n", "cp312-cp312"),
    ],
)
def test_a_wheel_that_the_lock_does_not_name_is_found(
    name: str, text: str, found: str | None
) -> None:
    lies = lock.tag_mismatches(WHEELS, {**TAGS, name: text, "unlocked": ""})
    assert len(lies) == (found is not None)
    assert all(lie.startswith(f"{name}: the lock's wheel is {name}-") for lie in lies)
    assert all(f"installed is one for {found}" in lie for lie in lies)


def test_the_hashes_of_a_requirement_are_read() -> None:
    assert lock.hashes(f"six==1.17.0 --hash=sha256:{A} --hash=sha256:{B}") == {A, B}
    assert lock.hashes("six==1.17.0") == set()


OVERLAY = "import site; site.addsitedir('/opt/env/lib/python3.13/site-packages')\n"


@pytest.mark.parametrize(
    ("name", "text", "is_stray"),
    [
        ("thing/__init__.py", "", False),
        ("thing/__pycache__/__init__.cpython-313.pyc", "", False),
        ("dlimg.pth", OVERLAY, False),
        ("dlimg.pth", OVERLAY.replace("opt", "home/user") + OVERLAY, False),
        ("thing/more.py", "", True),
        ("thing.pyc", "", True),
        ("thing/__pycache__/more.txt", "", True),
        ("dlimg.pth", OVERLAY + "import evil\n", True),
        ("dlimg.pth", OVERLAY.replace("/opt", "/srv"), True),
        ("dlimg.pth", OVERLAY.replace("opt", "home/jovyan") + OVERLAY, True),
        ("dlimg.pth", "", True),
        ("other.pth", OVERLAY, True),
    ],
)
def test_a_file_that_came_with_no_package_is_found(
    name: str,
    text: str,
    is_stray: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"home": "/home/user"}))
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    owned = {str(tmp_path / "thing/__init__.py")}
    assert lock.strays([tmp_path], owned) == ([str(file)] if is_stray else [])


def test_a_file_of_the_layouts_own_came_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lock.of_layout() == set()
    path = tmp_path / "layout.json"
    path.write_text(json.dumps({"nodes": [{"path": "opt/env/pip.conf"}]}))
    monkeypatch.setenv("DLIMG_LAYOUT", str(path))
    assert lock.of_layout() == {"/opt/env/pip.conf"}
    path.write_text("[]")
    assert code_of(lock.of_layout) == FAILED


def test_what_packages_own_and_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "lib" / "site-packages"
    about = top / "thing-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: thing\nVersion: 1.0\n")
    (about / "RECORD").write_text('thing.py,,\n\n../../bin/thing,,\n"a,b.py",,\n')
    package = metadata.Distribution.at(about)
    assert pip_check.owned([package]) == {
        str(top / "thing.py"),
        str(tmp_path / "bin/thing"),
        str(top / "a,b.py"),
    }
    beside = tmp_path / "dist-packages"
    beside.mkdir()
    monkeypatch.setattr("sys.path", [str(beside), str(tmp_path), str(tmp_path / "x-packages")])
    assert pip_check.folders([package]) == [beside, top]


COMPLAINT = (
    "torch 2.13.0 has requirement nvidia-cudnn-cu13==9.20.0.48; platform_system == 'Linux',"
    " but you have nvidia-cudnn-cu13 9.24.1.1."
)
OTHER = "torch 2.13.0 requires sympy, which is not installed."


def test_pip_may_complain_of_the_forced_cudnn_of_the_tag_alone() -> None:
    forced = {"cudnn": "9.24.1.1", "cudnn-override": "a fix"}
    assert pip_check.without_forced([COMPLAINT], forced) == []
    assert pip_check.without_forced([COMPLAINT, OTHER], forced) == [OTHER]
    assert pip_check.without_forced([COMPLAINT], {"cudnn": "9.24.1.1"}) == [COMPLAINT]
    another = forced | {"cudnn": "9.24.0.43"}
    assert pip_check.without_forced([COMPLAINT], another) == [COMPLAINT]
    nccl = COMPLAINT.replace("cudnn", "nccl")
    assert pip_check.without_forced([nccl], forced) == [nccl]


def test_of_many_faults_the_first_is_named() -> None:
    assert pip_check.listed([], "is odd") == []
    assert pip_check.listed(["a"], "is odd") == ["a is odd"]
    assert pip_check.listed(["a: odd", "b", "c"], "") == ["a: odd, and 2 more files"]


def test_a_list_in_lines_that_go_on_is_read(
    tmp_path: Path,
) -> None:
    about = tmp_path / "six-1.17.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: Six\nVersion: 1.17.0\n")
    (about / "WHEEL").write_text(TAGS["six"])
    packages = [metadata.Distribution.at(about)]
    noted = f"six==1.17.0 \\\n    --hash=sha256:{B}\n"
    wheels = {"six": WHEELS["six"]}
    assert pip_check.lock_mismatches(wheels, noted, packages) == []
    (about / "WHEEL").write_text("Tag: cp313-cp313-linux_x86_64\n")
    assert len(pip_check.lock_mismatches(wheels, noted.replace("b", "a"), packages)) == 2


def test_a_record_that_was_changed_with_its_file_is_found(tmp_path: Path) -> None:
    about = tmp_path / "six-1.17.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: six\nVersion: 1.17.0\n")
    (about / "RECORD").write_text("six.py,,\n")
    packages = [metadata.Distribution.at(about)]
    digest = hashlib.sha256(b"six.py,,\n").hexdigest()
    for record, lies in ((digest, 0), ("", 0), (A, 1)):
        wheels = {"six": lock.Wheel("1.17.0", "six-1.17.0-py3-none-any.whl", B, record)}
        assert len(list(pip_check.record_mismatches(wheels, packages))) == lies


HASHED = py_compile.PycInvalidationMode.UNCHECKED_HASH
TIMED = py_compile.PycInvalidationMode.TIMESTAMP


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A package's module below its top, with byte code that is never compared."""
    for name in ("thing/__init__.py", "thing/deep.py", "single.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("'''Text.'''\nassert True\ndef two():\n    return 1 + 1\n")
        py_compile.compile(str(file), doraise=True, invalidation_mode=HASHED)
    return tmp_path / "thing" / "deep.py"


def kept(source: Path, optimization: str = "") -> Path:
    return Path(importlib.util.cache_from_source(str(source), optimization=optimization))


def other_code(source: Path) -> None:
    """Other code under the hash of the source."""
    code = marshal.dumps(compile("def two():\n    return 3\n", "x", "exec"))
    kept(source).write_bytes(kept(source).read_bytes()[:16] + code)


def no_code(source: Path) -> None:
    kept(source).write_bytes(kept(source).read_bytes()[:20])


def other_hash(source: Path) -> None:
    content = kept(source).read_bytes()
    kept(source).write_bytes(content[:8] + bytes(8) + content[16:])


def other_source(source: Path) -> None:
    source.write_text("def two():\n    return 3\n")


def timed(source: Path) -> None:
    py_compile.compile(str(source), doraise=True, invalidation_mode=TIMED)
    source.write_text("x = 1\n")


def another_python(source: Path) -> None:
    kept(source).write_bytes(b"\0\0\r\n" + kept(source).read_bytes()[4:8])


def optimized(source: Path) -> None:
    for level in (1, 2):
        py_compile.compile(str(source), doraise=True, invalidation_mode=HASHED, optimize=level)


def oddly_named(source: Path) -> None:
    kept(source).rename(kept(source).with_name("deep.pyc"))


CASES = [
    (lambda _: None, "", ""),
    (other_code, "", "not what its source compiles to"),
    (no_code, "", "not what its source compiles to"),
    (other_hash, "byte code of another source", "byte code of another source"),
    (other_source, "byte code of another source", "byte code of another source"),
    (Path.unlink, "byte code without its source", "byte code without its source"),
    (oddly_named, "byte code without its source", "byte code without its source"),
    (timed, "not what its source compiles to", "not what its source compiles to"),
    (another_python, "", ""),
    (optimized, "", ""),
]


@pytest.mark.parametrize(("spoil", "by_hash", "by_code"), CASES)
def test_forged_byte_code_is_found(
    spoil: Callable[[Path], Any], by_hash: str, by_code: str, module: Path, tmp_path: Path
) -> None:
    spoil(module)
    result = [path for path in byte_code.files([tmp_path]) if path.name.startswith("deep.")]
    assert result
    for path in result:
        assert byte_code.fault(path, is_compiled=False) == by_hash
        assert byte_code.fault(path, is_compiled=True) == by_code


def test_the_topmost_modules_are_compiled_and_some_of_the_others(
    module: Path, tmp_path: Path
) -> None:
    result = byte_code.files([tmp_path])
    assert [path.name.partition(".")[0] for path in result] == ["single", "__init__", "deep"]
    assert byte_code.forged(result, [tmp_path]) == (2, [])
    other_code(module)
    assert byte_code.forged(result, [tmp_path]) == (2, [])
    # The first of 40 is always among them.
    assert byte_code.forged(result[2:], [tmp_path]) == (
        1,
        [f"{result[2]}: not what its source compiles to"],
    )
    other_code(tmp_path / "thing" / "__init__.py")
    other_code(tmp_path / "single.py")
    assert len(byte_code.forged(result, [tmp_path])[1]) == 2


def shipped(module: Path, tmp_path: Path, content: bytes) -> list[str]:
    """What is said of a package whose wheel shipped other byte code than is installed."""
    about = tmp_path / "thing-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Name: thing\nVersion: 1.0\n")
    source = module.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(source).digest()).decode().rstrip("=")
    code = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    (about / "RECORD").write_text(
        f"thing/deep.py,sha256={digest},{len(source)}\n"
        f"thing/__pycache__/{kept(module).name},sha256={code},{len(content)}\n"
    )
    problems: list[str] = pip_check.damages([metadata.Distribution.at(about)])
    return problems


def test_byte_code_of_a_wheel_is_compiled_anew(module: Path, tmp_path: Path) -> None:
    assert shipped(module, tmp_path, b"as the wheel had it") == []


def without_flag(source: Path) -> None:
    py_compile.compile(str(source), doraise=True, invalidation_mode=TIMED)


@pytest.mark.parametrize(
    "spoil",
    [
        other_code,
        no_code,
        other_hash,
        without_flag,
        another_python,
        lambda file: kept(file).unlink(),
    ],
)
def test_byte_code_of_a_wheel_that_is_not_what_its_source_compiles_to_is_found(
    spoil: Callable[[Path], Any], module: Path, tmp_path: Path
) -> None:
    spoil(module)
    (result,) = shipped(module, tmp_path, b"as the wheel had it")
    assert result.startswith("thing: 1 files are gone or changed: thing/__pycache__/deep.")


def test_byte_code_of_a_changed_source_is_found(module: Path, tmp_path: Path) -> None:
    about = tmp_path / "thing-1.0.dist-info"
    assert shipped(module, tmp_path, b"as the wheel had it") == []
    other_source(module)
    py_compile.compile(str(module), doraise=True, invalidation_mode=HASHED)
    (problems,) = pip_check.damages([metadata.Distribution.at(about)])
    assert problems == "thing: 1 files are gone or changed: thing/deep.py"


def test_a_wheel_may_ship_byte_code_without_its_source(module: Path, tmp_path: Path) -> None:
    path = kept(module)
    module.unlink()
    assert byte_code.forged([path], [tmp_path])[1] == [f"{path}: byte code without its source"]
    assert byte_code.forged([path], [tmp_path], {str(path)})[1] == []


def test_packages_that_a_package_carries_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools puts its `_vendor` on the path, Ray its `thirdparty_files`."""
    site = tmp_path / "lib/python/site-packages"
    for folder, name in (
        (site, "setuptools"),
        (site / "setuptools/_vendor", "autocommand"),
        (site / "old.egg", "old"),
        (tmp_path / "my-packages/project", "project"),
    ):
        about = folder / (f"{name}-1.0.dist-info" if folder.suffix != ".egg" else "EGG-INFO")
        about.mkdir(parents=True)
        kind = "METADATA" if folder.suffix != ".egg" else "PKG-INFO"
        (about / kind).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        monkeypatch.setattr("sys.path", [*sys.path, str(folder)])
    assert {"setuptools", "old", "project"} <= tag.distributions().keys()
    assert "autocommand" not in tag.distributions()


@pytest.mark.parametrize(
    ("replaced", "spoil", "faults"),
    [
        ({"two"}, False, 0),
        ({"two"}, True, 1),
        (set(), False, 1),
        ({"one"}, False, 1),
    ],
)
def test_a_path_of_two_wheels_has_the_file_that_the_lock_names(
    replaced: set[str],
    spoil: bool,  # noqa: FBT001
    faults: int,
    tmp_path: Path,
) -> None:
    packages = []
    for name, text in (("two", b"# two\n"), ("one", b"# one\n")):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (tmp_path / "x.py").write_bytes(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")
        (about / "RECORD").write_text(f"x.py,sha256={digest},{len(text)}\n")
        packages.append(metadata.Distribution.at(about))
    if spoil:
        (tmp_path / "x.py").write_bytes(b"# two\n")
    wheels = {
        name: lock.Wheel("1.0", f"{name}-1.0-py3-none-any.whl", A, "", ("x.py",))
        for name in replaced
    }
    assert len(pip_check.damages(packages, wheels)) == faults
