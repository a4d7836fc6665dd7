"""What `libraries_load` finds, on made-up trees and on damaged copies of a real library."""

import base64
import hashlib
import importlib
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.check_scripts import FAILED, code_of, run

elf = importlib.import_module("_elf")
libraries = importlib.import_module("_libraries")
check = importlib.import_module("libraries_load")
excuses = importlib.import_module("_excuses")
records = importlib.import_module("_records")
trials = importlib.import_module("_second_trial")

MACHINE = elf.read(Path(sys.executable).resolve()).machine


def made(file: Path, paths: str = "", machine: int = MACHINE, tag: int = 29) -> Path:
    """A file as the loader reads one: a header, two program headers, a table and its strings."""
    strings = b"\0" + paths.encode() + b"\0"
    table = struct.pack("<QQQQQQ", 5, 0x10000 + 64 + 112 + 48, tag, 1, 0, 0)
    header = b"\x7fELF\x02\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2).ljust(48, b"\0")
    size = 64 + 112 + len(table) + len(strings)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0x10000, 0, size, size, 4096)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, 64 + 112, 0x10000 + 64 + 112, 0, 48, 48, 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(header + load + dynamic + table + strings)
    return file


@pytest.mark.parametrize("tag", [15, 29])
def test_where_a_library_looks_is_read(tmp_path: Path, tag: int) -> None:
    paths = "$ORIGIN/../../nvidia/cu13/lib:${ORIGIN}::/opt/x/../y"
    file = made(tmp_path / "a" / "b" / "libx.so", paths, 62, tag)
    here = tmp_path.resolve()
    wanted = [here / "nvidia/cu13/lib", here / "a/b", Path("/opt/y")]
    assert elf.read(file) == (62, wanted)


@pytest.mark.parametrize(
    "text",
    [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 90, b"text" * 99],
    ids=["empty", "short", "wild", "text"],
)
def test_other_files_are_no_libraries(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.so").write_bytes(text)
    assert elf.read(tmp_path / "x.so") == (0, [])
    assert elf.read(tmp_path / "none.so") == (0, [])


def test_the_libraries_of_packages_are_found(tmp_path: Path) -> None:
    version = "{}{}".format(*sys.version_info[:2])
    top = tmp_path / "site-packages"
    cuda = [
        made(top / "nvidia/cudnn/lib/libcudnn.so.9"),
        made(top / "nvidia/nvshmem/lib/nvshmem_transport_ucx.so.6"),
    ]
    modules = [
        made(top / f"jaxlib/x.cpython-{version}-x86_64-linux-gnu.so"),
        made(top / "plain.so"),
        made(top / "triton/libMLIR.so.24.0git"),
    ]
    (top / "damaged.so").write_text("no library")
    made(top / "jaxlib/x.cpython-36m-x86_64-linux-gnu.so")
    made(top / "h5py.libs/libhdf5.so.310")
    made(top / "arm.so", machine=MACHINE + 1)
    made(top / "x.so.txt")
    (top / "link.so").symlink_to("plain.so")
    os.mkfifo(top / "pipe.so")
    made(tmp_path / "src" / "own.so")
    result = libraries.find([str(top), str(top), str(tmp_path / "src"), ""])
    assert sorted(result.cuda) == cuda
    assert sorted(result.modules) == sorted([*modules, top / "damaged.so"])


def test_what_a_wheel_of_nvidia_has_brought_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia-cudnn-cu13", "other"):
        about = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        rows = ["libcudnn.so.9", "libcudnn_ops.so.9", "libcudnn.h"]
        (about / "RECORD").write_text("".join(f"nvidia/{name}/lib/{row},x,1\n" for row in rows))
    made(tmp_path / "nvidia/nvidia-cudnn-cu13/lib/libcudnn.so.9")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert libraries.lost() == ["nvidia/nvidia-cudnn-cu13/lib/libcudnn_ops.so.9"]


def raises(_: str) -> None:
    raise OSError("x.so: undefined symbol: y")


def aborts(_: str) -> None:
    os.write(2, b"first\nCheck failed: twice\n")
    os.kill(os.getpid(), signal.SIGKILL)


def talks(_: str) -> None:
    os.write(1, b"{}\n")
    os.write(2, b"hello\n")


@pytest.mark.parametrize(
    ("load", "complaint"),
    [
        (talks, ""),
        (raises, "x.so: undefined symbol: y"),
        (aborts, "it ends the process by SIGKILL: Check failed: twice"),
        (lambda _: os._exit(0), "it ends the process with 0"),
        (lambda _: os._exit(1), "it ends the process with 1"),
        (lambda _: time.sleep(60), "it takes more than 1 s"),
    ],
)
def test_a_library_that_crashes_or_hangs_is_named(
    load: Callable[[str], object], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "PATIENCE", 1)
    assert libraries.opened(Path("x.so"), load) == complaint


@pytest.fixture
def real(tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    """Makes a damaged copy of the C library's mathematics, which needs libc.so.6."""
    (place,) = (library for library in libraries.cached() if (library / "libm.so.6").exists())
    content = (place / "libm.so.6").read_bytes()

    def damaged(old: bytes, new: bytes) -> Path:
        assert old in content
        (tmp_path / "libown.so").write_bytes(content.replace(old, new))
        return tmp_path / "libown.so"

    return damaged


def test_a_real_library_is_loaded_with_all_its_symbols(real: Callable[..., Path]) -> None:
    assert libraries.opened(real(b"", b"")) == ""
    output = libraries.opened(real(b"\0fputs\0", b"\0fputx\0"))
    assert "undefined symbol: fputx" in output
    assert libraries.absent(Path("/x.so"), output) == set()
    file = real(b"\0libc.so.6\0", b"\0libq.so.6\0")
    output = libraries.opened(file)
    assert output == "libq.so.6: cannot open shared object file: No such file or directory"
    assert libraries.absent(file, output) == {"libq.so.6"}
    # The loader has looked among what is loaded; ldd, a process of its own, has not.
    assert libraries.absent(file, output, frozenset({"libq.so.6"})) == {"libq.so.6"}
    driver = output.replace("libq.so.6", "libcuda.so.1")
    assert libraries.absent(file, driver) == {"libcuda.so.1", "libq.so.6"}
    assert libraries.absent(file, driver, frozenset({"libq.so.6"})) == {"libcuda.so.1"}
    file.write_bytes(file.read_bytes()[:4096])
    assert libraries.opened(file) != ""


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_several_libraries_are_loaded_each_in_its_own_process(
    at_once: int, real: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(libraries, "AT_ONCE", at_once)
    sound = tmp_path / "sound.so"
    sound.write_bytes(real(b"", b"").read_bytes())
    lacking = real(b"\0fputs\0", b"\0fputx\0")
    paths = [sound, lacking, Path("/none.so"), sound.with_name("none.so")]
    complaints = libraries.opened_each(paths)
    assert list(complaints) == paths
    assert complaints[sound] == ""
    assert "undefined symbol: fputx" in complaints[lacking]
    assert complaints[Path("/none.so")].startswith("/none.so: cannot open")
    assert libraries.opened_each([]) == {}


CUDNN, OPS = "nvidia/cudnn/lib/libcudnn.so.9", "libcudnn_ops.so.9"


@pytest.mark.parametrize(
    ("name", "missing", "fault"),
    [
        ("/x/nvidia/cudnn/lib/libcudnn.so.9", "libcuda.so.1", ""),
        ("/x/nvidia/nvshmem/lib/nvshmem_transport_ibrc.so.6", "libmlx5.so.1", ""),
        ("/x/nvidia/cu13/lib/libcufile_rdma.so.1", "libmlx5.so.1", ""),
        ("/x/triton/plugins/libMLIRDialectPlugin.so", "libtriton.so", ""),
        ("/x/torch/lib/libgfortran.so.5", "libquadmath.so.0", ""),
        ("/x/torch/lib/libtorch.so", "libquadmath.so.0", "libquadmath.so.0: not found"),
        ("/x/nvidia/cudnn/lib/libcudnn.so.9", "libmlx5.so.1", "libmlx5.so.1: not found"),
        ("/x/nvidia/nvshmem/lib/nvshmem_bootstrap_mpi.so.3", "libucs.so.0", "libucs.so.0: not"),
        ("/x/torch/lib/libtorch.so", "libcudart.so.13", "libcudart.so.13: not found"),
        ("/x/torch/lib/libtorch.so", "libcuda.so", "libcuda.so: not found"),
        ("/x/torio/lib/_torio_ffmpeg6.so", "libavutil.so.58", ""),
        ("/x/torchaudio/lib/libtorchaudio_ffmpeg.so", "libavfilter.so.7", ""),
        ("/x/torchaudio/lib/libtorchaudio_sox.so", "libsox.so", ""),
        ("/x/torchaudio/lib/_torchaudio.so", "libavutil.so.58", "libavutil.so.58: not found"),
        ("/x/torio/lib/_torio_ffmpeg6.so", "libavutil.so.59", "libavutil.so.59: not found"),
        ("/x/torchvision/image.so", "libavutil.so.58", "libavutil.so.58: not found"),
        ("/x/cupy_backends/cuda/libs/cutensor.cpython-313.so", "libcutensor.so.2", ""),
        ("/x/cupy/_core/core.so", "libcutensor.so.2", "libcutensor.so.2: not found"),
    ],
)
def test_only_what_is_listed_may_be_missing(name: str, missing: str, fault: str) -> None:
    complaint = f"{missing}: cannot open shared object file: No such file or directory"
    faults, optional = check.judge(trials.Trial({Path(name): complaint, Path("/y.so"): ""}))
    assert optional == (set() if fault else {missing})
    assert [one for one in faults.values() if fault not in one.text] == []
    assert all(fault.missing == {missing} for fault in faults.values())
    assert len(faults) == bool(fault)


def test_what_is_missing_besides_an_optional_library_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {"libcuda.so.1", OPS}
    monkeypatch.setattr(libraries, "absent", lambda *_: missing)
    assert check.judge(trials.Trial({Path("/x.so"): "libcuda.so.1"})) == (
        {Path("/x.so"): (f"/x.so needs {OPS}: not found", {OPS})},
        {"libcuda.so.1"},
    )


def test_every_exception_has_its_reason() -> None:
    assert all(why for _, why in check.OPTIONAL.values())
    assert all(check.UNUSED.values())


@pytest.mark.parametrize(
    ("other", "is_twice"),
    [
        ("nvidia/cu13/lib", True),  # two of NVIDIA's wheels
        ("given", True),  # by LD_LIBRARY_PATH
        ("torch/lib", True),  # where a module looks
        ("elsewhere", False),
        ("nvidia/cudnn/lib/stubs", False),
    ],
)
def test_a_library_is_there_once(
    other: str, *, is_twice: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/none::{tmp_path}/given")
    top = tmp_path.resolve()
    first = made(top / CUDNN)
    second = made(top / "nvidia/cu13/lib/libcublas.so.13")
    module = made(top / "torch/_C.so", "$ORIGIN/lib:/root/closed:/none")
    result = libraries.Libraries([first, second], [module])

    def twice() -> list[str]:
        return list(libraries.twice(result, libraries.search_path(result)))

    assert twice() == []
    link = top / other / first.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(first)
    assert twice() == []
    link.unlink()
    made(link)
    assert bool(twice()) is is_twice
    assert all(str(link) in fault and str(first) in fault for fault in twice())


def test_only_a_driver_that_is_mounted_is_the_machines(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    library = top / "usr/lib"
    shipped = made(top / "usr/local/cuda/lib64/stubs/libcuda.so")
    real = made(library / "libcuda.so.580.159")
    (library / "libcuda.so.1").symlink_to(real.name)
    made(top / "wsl/lib/libcuda.so.1")
    made(library / "libcudart.so.13")
    given = ["/", str(real), f"{top}/wsl", str(top / "usr/lib/x")]
    assert libraries.drivers(top, given) == [str(shipped)]
    assert len(libraries.drivers(top, ["/"])) == 4


def test_mounts_are_read(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    row = "22 1 0:20 / {} ro,nosuid - overlay overlay rw\n"
    table.write_text(row.format("/") + row.format(r"/a\040b"))
    assert libraries.mounts(table) == ["/", "/a b"]
    assert "/" in libraries.mounts() or "/proc" in libraries.mounts()


def test_the_error_of_a_framework_that_cannot_be_imported_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jax.py").write_text("raise OSError('libcudart.so.13 is gone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"framework": "jax"}))
    (trial,), broken = check.try_modules([], {})
    assert trial.complaints == {}
    assert broken == ["importing the framework ends with 1, says: OSError: libcudart.so.13 is gone"]


@pytest.mark.slow  # the script looks for drivers in all of this machine's file system
def test_a_framework_that_cannot_be_imported_fails(tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text("raise OSError('libcudart.so.13 is gone')")
    cell = json.dumps({"framework": "jax"})
    done = run("common/checks/libraries_load.py", PYTHONPATH=str(tmp_path), DLIMG_CELL=cell)
    assert done.returncode == FAILED
    output = done.stderr.splitlines()[-1]
    assert "importing the framework ends with 1, says: OSError: libcudart.so.13 is gone" in output


def test_modules_are_tried_where_the_framework_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: Callable[..., Path]
) -> None:
    file = real(b"\0libc.so.6\0", b"\0libq.so.6\0")
    (tmp_path / "torch.py").write_text("print('noise')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (trial,), broken = check.try_modules([file, Path("/none.so")], CELL)
    assert broken == []
    assert "libc.so.6" in trial.loaded
    assert "libq.so.6" not in trial.loaded
    assert trial.complaints[file].startswith("libq.so.6: cannot open")
    assert trial.complaints[Path("/none.so")].startswith("/none.so: cannot open")


CELL = {"package": "torch", "framework_packages": "torch triton torchvision"}
OTHERS = ("bitsandbytes/__init__.py", "bitsandbytes/libown.so")


def wheel(top: Path, name: str, *paths: str) -> None:
    """An installed package whose RECORD is true."""
    about = top / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    rows = []
    for path in paths:
        file = top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text("")
        digest = hashlib.sha256(file.read_bytes()).digest()
        text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        rows.append(f"{path},sha256={text},{file.stat().st_size}\n")
    (about / "RECORD").write_text("".join(rows))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Site-packages with a package whose one library needs a library that is nowhere."""
    top = tmp_path.resolve() / "site-packages"
    wheel(top, "bitsandbytes", *OTHERS)
    monkeypatch.setattr(sys, "path", [str(top)])
    return top


def judge_one(site: Path, starts: str = "", cell: dict[str, str] | None = None) -> Any:
    """What comes of the library that needs another, and what was imported for it."""
    path, imported = site / OTHERS[1], []

    def start(modules: list[str]) -> str:
        imported.extend(modules)
        return starts

    fault = excuses.Fault(f"{path} needs libsycl.so.8: not found", frozenset({"libsycl.so.8"}))
    result, stale = excuses.sort({path: fault}, [path], CELL if cell is None else cell, start)
    return result, stale, imported


def test_a_library_that_no_import_of_its_package_needs_may_fail_to_load(site: Path) -> None:
    result, stale, imported = judge_one(site)
    assert (result.faults, stale, imported) == ([], [], ["bitsandbytes"])
    assert list(result.unused.values()) == ["bitsandbytes is imported without it"]


def fails_to_import(site: Path) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    return "ImportError: libsycl.so.8", CELL


def damaged(site: Path) -> tuple[str, dict[str, str]]:
    (site / OTHERS[1]).write_text("x")
    return "", CELL


def has_no_package(site: Path) -> tuple[str, dict[str, str]]:
    (site / "bitsandbytes-1.0.dist-info/RECORD").write_text("bitsandbytes/__init__.py,,\n")
    return "", CELL


def is_the_frameworks(site: Path) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    return "", {"package": "torch", "framework_packages": "torch bitsandbytes"}


def is_the_framework(site: Path) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    return "", {"package": "bitsandbytes"}


def is_of_nvidia(site: Path) -> tuple[str, dict[str, str]]:
    (site / "bitsandbytes-1.0.dist-info/METADATA").write_text("Name: nvidia_dali\nVersion: 1\n")
    return "", CELL


def lost_the_other(site: Path) -> tuple[str, dict[str, str]]:
    wheel(site, "intel-sycl-rt", "sycl/libsycl.so.8")
    (site / "sycl/libsycl.so.8").unlink()
    return "", CELL


def is_on_a_host(site: Path) -> tuple[str, dict[str, str]]:  # noqa: ARG001
    return "", {}


@pytest.mark.parametrize(
    "spoil",
    [
        fails_to_import,
        damaged,
        has_no_package,
        is_the_frameworks,
        is_the_framework,
        is_of_nvidia,
        lost_the_other,
        is_on_a_host,
    ],
)
def test_any_other_library_has_to_load(
    spoil: Callable[[Path], tuple[str, dict[str, str]]], site: Path
) -> None:
    starts, cell = spoil(site)
    result, stale, _ = judge_one(site, starts, cell)
    assert [fault.partition(";")[0] for fault in result.faults] == [
        f"{site / OTHERS[1]} needs libsycl.so.8: not found"
    ]
    assert (result.unused, result.excepted, stale) == ({}, {}, [])


@pytest.mark.parametrize(
    ("about", "spoil", "is_excepted"),
    [
        ("bitsandbytes/*", fails_to_import, True),
        ("bitsandbytes/libown.so", is_of_nvidia, True),
        ("torch/*", fails_to_import, False),
        ("bitsandbytes/*", is_the_frameworks, False),
        ("*", has_no_package, False),
    ],
)
def test_the_matrix_excepts_libraries_by_their_path(
    about: str,
    spoil: Callable[[Path], tuple[str, dict[str, str]]],
    is_excepted: bool,  # noqa: FBT001
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {"check": "libraries_load", "about": about, "why": "chosen at run time"},
        {"check": "another", "about": "*", "why": "x"},
    ]
    monkeypatch.setenv("DLIMG_EXCEPTIONS", json.dumps(rows))
    starts, cell = spoil(site)
    result, stale, _ = judge_one(site, starts, cell)
    assert bool(result.faults) is not is_excepted
    assert list(result.excepted.values()) == ["chosen at run time"] * is_excepted
    names_none = about == "torch/*" or spoil is has_no_package
    assert len(stale) == names_none


@pytest.mark.parametrize("text", ["{", "[1]", '[{"check": "libraries_load"}]'])
def test_exceptions_that_cannot_be_read_fail(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIMG_EXCEPTIONS", text)
    assert code_of(lambda: excuses.exceptions("libraries_load")) == FAILED


def test_the_topmost_modules_of_a_package_are_imported(site: Path) -> None:
    paths = (
        *("google/cloud/x/__init__.py", "google/cloud/x/y/__init__.py", "plain.py"),
        *("fast.cpython-313-x86_64-linux-gnu.so", "data-files/__init__.py", "lib/libx.so"),
    )
    wheel(site, "many", *paths)
    wanted = ["fast", "google.cloud.x", "plain"]
    assert records.modules("many", records.by_place()) == wanted


def test_what_a_package_needs_to_start_is_tried_for_real(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"framework": "none"}))
    assert check.starts(["bitsandbytes"]) == ""
    (site / OTHERS[0]).write_text("raise OSError('no libsycl.so.8')")
    assert check.starts(["bitsandbytes"]) == "OSError: no libsycl.so.8"


SOUND, MODULE = "sound/lib/libq.so.6", "sound/lib/_module.so"


@pytest.fixture
def sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Site-packages with a package whose module needs a library of its own folder.

    The module is a copy of the C++ library, and needs the mathematics by another name.
    """
    top = tmp_path.resolve() / "site-packages"
    (system,) = (folder for folder in libraries.cached() if (folder / "libstdc++.so.6").exists())
    for name, path in (("libm.so.6", SOUND), ("libstdc++.so.6", MODULE)):
        content = (system / name).read_bytes()
        assert b"\0libm.so.6\0" in content
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content.replace(b"\0libm.so.6\0", b"\0libq.so.6\0"))
    wheel(top, "sound", "sound/__init__.py", SOUND, MODULE)
    monkeypatch.setattr(sys, "path", [str(top)])
    monkeypatch.setenv("PYTHONPATH", str(top))
    monkeypatch.setenv("DLIMG_CELL", json.dumps({"framework": "none"}))
    return top


def faults_of(top: Path, *, is_framework: bool = True) -> tuple[list[str], list[str]]:
    """The faults of all libraries there, without the folder; and what does not import."""
    cell = {"package": "torch", "framework_packages": "torch sound" if is_framework else "torch"}
    paths = [path for path in libraries.find([str(top)]).modules if not path.is_symlink()]
    results, broken = check.try_modules(paths, cell)
    faults: dict[Path, Any] = {}
    for trial in results:
        faults |= check.judge(trial)[0]
    return [fault.text.replace(f"{top}/", "") for fault in faults.values()], broken


def test_a_module_loads_after_the_library_of_its_package_that_it_needs(sound: Path) -> None:
    assert libraries.opened(sound / MODULE).startswith("libq.so.6: cannot open")
    assert faults_of(sound) == ([], [])


def test_a_module_loads_after_a_library_of_a_package_that_its_own_requires(sound: Path) -> None:
    (sound / "sound-1.0.dist-info/RECORD").unlink()
    wheel(sound, "sound", "sound/__init__.py", MODULE)
    assert faults_of(sound) == ([f"{MODULE} needs libq.so.6: not found"], [])
    about = sound / "sound-1.0.dist-info/METADATA"
    about.write_text(f"{about.read_text()}Requires-Dist: middle ; extra == 'x'\n")
    wheel(sound, "middle", "middle.py")
    wheel(sound, "base.libraries", SOUND)
    about = sound / "middle-1.0.dist-info/METADATA"
    about.write_text(f"{about.read_text()}Requires-Dist: base_libraries>=1\n")
    assert faults_of(sound) == ([], [])


def test_a_module_loads_after_the_import_of_its_package(sound: Path) -> None:
    (sound / "sound/lib/libq.so.6").rename(sound / "sound/by_path.so")
    (sound / "sound-1.0.dist-info/RECORD").unlink()
    loading = f"import ctypes\nctypes.CDLL({str(sound / 'sound/by_path.so')!r})\n"
    (sound / "sound/__init__.py").write_text(loading)
    wheel(sound, "sound", "sound/__init__.py", "sound/by_path.so", MODULE)
    assert faults_of(sound) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "path", "fault"),
    [
        # A symbol of its own, one of the library that it needs, and a library that nothing has.
        (
            b"\0__strxfrm_l\0",
            b"\0__strxfrx_l\0",
            MODULE,
            f"{MODULE} does not load: {MODULE}: undefined symbol: __strxfrx_l",
        ),
        (b"\0libc.so.6\0", b"\0libx.so.6\0", SOUND, f"{SOUND} needs libx.so.6: not found"),
        (b"\0libc.so.6\0", b"\0libx.so.6\0", MODULE, f"{MODULE} needs libx.so.6: not found"),
        (b"\0libq.so.6\0", b"\0liby.so.6\0", SOUND, f"{MODULE} needs libq.so.6: not found"),
    ],
)
def test_a_module_that_never_loads_fails(
    old: bytes, new: bytes, path: str, fault: str, sound: Path
) -> None:
    file = sound / path
    assert old in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(old, new))
    (text,), broken = faults_of(sound)
    assert text.startswith(fault)
    assert broken == []


def test_a_package_of_the_framework_that_cannot_be_imported_fails(sound: Path) -> None:
    (sound / "sound/__init__.py").write_text("raise OSError('no libsound.so')")
    fault = f"{MODULE} needs libq.so.6: not found"
    broken = "importing sound ends with 1, says: OSError: no libsound.so"
    assert faults_of(sound) == ([fault], [broken])
    # Of other packages the excuses ask for the same.
    assert faults_of(sound, is_framework=False) == ([fault], [])


def test_a_library_of_no_package_is_loaded_alone(sound: Path) -> None:
    (sound / "sound-1.0.dist-info/RECORD").write_text("sound/__init__.py,,\n")
    assert faults_of(sound) == ([f"{MODULE} needs libq.so.6: not found"], [])
