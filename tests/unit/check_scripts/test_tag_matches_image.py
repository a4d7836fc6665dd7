"""Lies of a tag, each found; and how versions, libraries and names are read."""

import importlib
import json
import os
from pathlib import Path

import pytest

from tests.support import elf_files
from tests.support.check_scripts import FAILED, NOT_RUN, code_of

tag = importlib.import_module("_tag")
truth = importlib.import_module("tag_matches_image")
adapter = importlib.import_module("_adapter")
loaded = importlib.import_module("_cuda_libraries")
flavours = importlib.import_module("_flavour")
users = importlib.import_module("_user")
beside = importlib.import_module("_paired_packages")
labels = importlib.import_module("_labels")
fatbin = importlib.import_module("_fatbin")


def judge(version: str, cuda: str) -> None:
    """Judge a build by the tag of the environment."""
    truth.judge(tag.cell(), adapter.Build(version, cuda), has_adapter=True)


CPU = {
    "cell": "pytorch-2.13.0-cpu-py3.11-debian12",
    "family": "pytorch",
    "package": "torch",
    "version": "2.13.0",
    "accelerator": "cpu",
    "cuda": "",
    "cudnn": "",
    "nccl": "",
    "python": "3.11",
    "os": "debian12",
    "glibc": "2.36",
    "platform": "x86_64-manylinux_2_28",
    "flavour": "runtime",
    "paired_packages": "",
    "architectures": "",
    "user": "user",
    "uid": "1000",
    "gid": "100",
    "home": "/home/user",
    "key": "a1b2",
    "base": "sha256:c3",
    "base-source": "registry",
    "packages": "sha256:e5",
}
CUDA = {
    **CPU,
    "accelerator": "cuda13.2",
    "cuda": "13.2",
    "cudnn": "9.26.0.51",
    "nccl": "2.30.7",
    "architectures": "sm_80 sm_90 compute_90",
}
FOUND = {
    "os": "debian12",
    "glibc": "2.36",
    "machine": "x86_64",
    "python": "3.11.2",
    "user": "user",
    "uid": "1000",
    "gid": "100",
    "home": "/home/user",
    "version": "2.13.0+cpu",
    "built_cuda": "",
    "built_cudnn": "",
    "package": "2.13.0+cpu",
}
FOUND_CUDA = {
    **FOUND,
    "version": "2.13.0+cu130",
    "package": "2.13.0",
    "built_cuda": "13.0",
    "built_cudnn": "9.12.0",
    "cudart": "13.2",
    "cudnn": "9.26.0",
    "nccl": "2.30.7",
}


def test_a_true_tag_has_no_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tag.contradictions(CPU) == tag.contradictions(CUDA) == []
    assert tag.basic_mismatches(CPU, FOUND) == []
    assert tag.cpu_mismatches(FOUND, {"torch": "2.13.0+cpu"}, []) == []
    assert tag.basic_mismatches(CUDA, FOUND_CUDA) == []
    assert tag.cuda_mismatches(CUDA, FOUND_CUDA) == []
    assert tag.cuda_mismatches({**CUDA, "nccl": ""}, {**FOUND_CUDA, "nccl": ""}) == []
    assert users.mismatches(CPU, FOUND) == []
    monkeypatch.setenv("PATH", str(tmp_path))  # the tests' own machine may have an nvcc
    assert flavours.mismatches(CPU, {}) == []


@pytest.mark.parametrize(
    ("axis", "value", "lie"),
    [
        ("os", "debian13", "os: the tag says debian12, this is debian13"),
        ("python", "3.13.5", "python: the tag says 3.11, this is 3.13.5"),
        ("python", "3.1", "python: "),
        ("machine", "aarch64", "platform: the wheels are for x86_64, this is aarch64"),
        ("version", "2.13.1+cpu", "version: the tag says 2.13.0, found 2.13.1+cpu"),
        ("version", "2.13", "version: "),
        ("package", "", "package: the tag says 2.13.0, found none"),
        ("package", "2.12.0", "package: the tag says 2.13.0, found 2.12.0"),
    ],
)
def test_a_lie_of_any_tag_is_found(axis: str, value: str, lie: str) -> None:
    (problems,) = tag.basic_mismatches(CPU, {**FOUND, axis: value})
    assert problems.startswith(lie)


@pytest.mark.parametrize(
    ("found", "installed", "lie"),
    [
        ({**FOUND, "built_cuda": "13.0"}, {}, "the framework is built for 13.0"),
        ({**FOUND, "version": "2.13.0+cu130"}, {}, "the framework is 2.13.0+cu130"),
        (FOUND, {"nvidia-cudnn-cu13": "9.26.0.51"}, "but nvidia-cudnn-cu13 is installed"),
        (FOUND, {"jax-cuda13-plugin": "0.12.0"}, "but jax-cuda13-plugin is installed"),
    ],
)
def test_cuda_in_a_cpu_image_is_found(
    found: dict[str, str], installed: dict[str, str], lie: str
) -> None:
    assert [
        cpu_mismatche
        for cpu_mismatche in tag.cpu_mismatches(found, installed, [])
        if lie in cpu_mismatche
    ]


@pytest.mark.parametrize(
    "name",
    [
        "nvidia/cudnn/lib/libcudnn.so.9",
        "lib/libcudart-d0da41ae.so.11.0",
        "libcudnn_graph.so",
        "libnccl.so.2",
    ],
)
def test_a_cuda_library_in_a_cpu_image_is_found(name: str, tmp_path: Path) -> None:
    library = tmp_path / "python" / name
    library.parent.mkdir(parents=True)
    library.touch()
    library.with_name("libcudnn.txt").touch()
    (tmp_path / "python3.13").symlink_to("python")
    files = loaded.cuda_files([tmp_path / "python3.13", tmp_path, tmp_path / "nowhere"])
    assert files == [library]
    assert tag.cpu_mismatches(FOUND, {}, files) == [
        f"cuda: the tag says cpu, but there is {library}"
    ]


@pytest.mark.parametrize(
    ("said", "lie"),
    [
        ({**CPU, "accelerator": "cuda13.2"}, "accelerator: the tag says cuda13.2, and CUDA none"),
        ({**CUDA, "accelerator": "cpu"}, "accelerator: the tag says cpu, and CUDA 13.2"),
        ({**CUDA, "accelerator": "cuda13.20"}, "accelerator: the tag says cuda13.20"),
        ({**CPU, "cudnn": "9.26.0.51"}, "cudnn: the tag says 9.26.0.51, and CUDA none"),
        ({**CPU, "nccl": "2.30.7"}, "nccl: the tag says 2.30.7, and CUDA none"),
        ({**CPU, "architectures": "sm_90"}, "architectures: the tag says sm_90, and CUDA none"),
    ],
)
def test_axes_that_deny_each_other_are_found(said: dict[str, str], lie: str) -> None:
    (problems,) = tag.contradictions(said)
    assert problems.startswith(lie)


def test_of_two_packages_with_one_name_the_imported_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("below", "2.0"), ("above", "1.0")):
        about = tmp_path / folder / f"Made_up.Thing-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: Made_up.Thing\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path / folder)
    assert tag.distributions()["made-up-thing"] == "1.0"


@pytest.mark.parametrize(
    ("said", "found", "lie"),
    [
        ({"cuda": "13.0"}, {}, "cuda: the tag says 13.0, the runtime that loads is 13.2"),
        ({}, {"cudart": "13.5"}, "the runtime that loads is 13.5"),
        ({}, {"built_cuda": "12.9", "version": "2.13.0"}, "built for 12.9, the runtime is 13.2"),
        ({}, {"built_cuda": "13.4", "version": "2.13.0"}, "built for 13.4, the runtime is 13.2"),
        ({}, {"built_cuda": "", "version": "2.13.0+cpu"}, "the framework is a CPU build"),
        ({}, {"version": "2.13.0+cu126"}, "the framework is 2.13.0+cu126, but built for 13.0"),
        ({"cudnn": "9.28.0.42"}, {}, "cudnn: the tag says 9.28.0.42, 9.26.0 loads"),
        ({"cudnn": "9.26.1.1"}, {}, "cudnn: the tag says 9.26.1.1"),
        ({"cudnn": "9"}, {}, "cudnn: the tag says 9, 9.26.0 loads"),
        ({"cudnn": ""}, {}, "cudnn: the tag says none, 9.26.0 loads"),
        ({}, {"cudnn": ""}, "cudnn: the tag says 9.26.0.51, none loads"),
        ({}, {"cudart": ""}, "cuda: the tag says 13.2, the runtime that loads is none"),
        ({}, {"built_cudnn": "9.27.0"}, "cudnn: built for 9.27.0, 9.26.0 loads"),
        ({"nccl": "2.30.4"}, {}, "nccl: 2.30.4 is promised, 2.30.7 loads"),
        ({"nccl": ""}, {}, "nccl: none is promised, 2.30.7 loads"),
        ({"nccl": "2"}, {}, "nccl: 2 is promised, 2.30.7 loads"),
        ({}, {"nccl": ""}, "nccl: 2.30.7 is promised, none loads"),
        ({}, {"built_cudnn": "8"}, "cudnn: built for 8, 9.26.0 loads"),
    ],
)
def test_a_lie_of_a_cuda_tag_is_found(
    said: dict[str, str], found: dict[str, str], lie: str
) -> None:
    lies = tag.cuda_mismatches({**CUDA, **said}, {**FOUND_CUDA, **found})
    assert [one for one in lies if lie in one]


@pytest.mark.parametrize("cudnn", ["9.26.0.51", "9.26.0", "9.26"])
def test_a_cudnn_may_be_said_in_fewer_words(cudnn: str) -> None:
    assert tag.cuda_mismatches({**CUDA, "cudnn": cudnn}, FOUND_CUDA) == []


@pytest.mark.parametrize(
    ("flavour", "cuda", "release", "lie"),
    [
        ("devel", "13.2", "13.2", ""),
        ("devel", "13.2", "", "there is none"),
        ("devel", "13.2", "13.5", "there is 13.5"),
        ("devel", "13.2", "unknown", "there is unknown"),
        ("runtime", "13.2", "", ""),
        ("runtime", "13.2", "13.2", "has no nvcc"),
        ("compile", "", "12.9", "has no nvcc"),
    ],
)
def test_only_devel_has_nvcc_and_of_the_tags_cuda(
    flavour: str, cuda: str, release: str, lie: str
) -> None:
    lies = flavours.compiler_mismatches(flavour, cuda, release)
    assert bool(lies) is bool(lie)
    assert all(lie in text for text in lies)


@pytest.mark.parametrize(
    ("flavour", "lie"),
    [("compile", "a C compiler"), ("devel", "a C compiler"), ("workspace", "jupyterlab")],
)
def test_a_flavour_without_its_tools_is_found(
    flavour: str, lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [
        mismatch
        for mismatch in flavours.mismatches({**CPU, "flavour": flavour}, {})
        if lie in mismatch
    ]


@pytest.mark.parametrize(
    ("said", "found", "is_same"),
    [
        ("2.13.0", "2.13.0", True),
        ("2.13.0", "2.13.0+cpu", True),
        ("2.13.0+cpu", "2.13.0+cpu", True),
        ("2.13.0+cpu", "2.13.0+cu130", False),
        ("2.13.0+cpu", "2.13.0", False),
        ("2.13.0", "2.13.0.1", False),
        ("", "", False),
    ],
)
def test_versions_are_the_same(said: str, found: str, is_same: bool) -> None:  # noqa: FBT001
    assert tag.same_version(said, found) is is_same


@pytest.mark.parametrize(
    ("number", "text"), [(13020, "13.2"), (12090, "12.9"), (13000, "13.0"), (11080, "11.8")]
)
def test_the_number_of_a_cuda(number: int, text: str) -> None:
    assert loaded.cuda_text(number) == text


class RuntimeWithoutDriver:
    """The runtime of CUDA 11, which tells its version only where a driver is."""

    def cudaRuntimeGetVersion(self, _number: object) -> int:  # noqa: N802 - its name
        return 35


def test_a_runtime_that_needs_a_driver_to_tell_its_version_is_told_by_its_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = loaded.VERSIONS["cudart"]
    assert tell(RuntimeWithoutDriver()) == ""
    folder = tmp_path / "nvidia_cuda_runtime_cu11-11.7.99.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: nvidia-cuda-runtime-cu11\nVersion: 11.7.99\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert tell(RuntimeWithoutDriver()) == "11.7"


@pytest.mark.parametrize(
    ("number", "text"), [(92600, "9.26.0"), (90501, "9.5.1"), (8907, "8.9.7"), (7605, "7.6.5")]
)
def test_the_number_of_a_cudnn(number: int, text: str) -> None:
    assert loaded.cudnn_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(23007, "2.30.7"), (22703, "2.27.3"), (2804, "2.8.4")]
)
def test_the_number_of_an_nccl(number: int, text: str) -> None:
    assert loaded.nccl_text(number) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Debian"\nID=debian\nVERSION_ID="13"\n', "debian13"),
        ('ID=ubuntu\nVERSION_ID="24.04"\nID_LIKE=debian\n', "ubuntu24.04"),
        ("ID=debian\n", "debian"),
    ],
)
def test_the_name_of_an_os(tmp_path: Path, text: str, name: str) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    assert tag.os_name(release) == name


def place_library(site: Path, part: str, name: str) -> Path:
    file = site / "nvidia" / part / "lib" / name
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def test_a_library_is_found_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_library(tmp_path, "cu13", "libcudart.so.13")
    place_library(tmp_path, "cuda_runtime", "libcudart.so.12")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(loaded.library_files("cudart")) == 2
    version, trouble = loaded.load("cudart")
    assert version == ""
    assert trouble.count("libcudart.so.1") == 2


def test_a_library_on_two_names_of_a_path_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place_library(tmp_path / "python", "cu13", "libcudart.so.13")
    (tmp_path / "python3.13").symlink_to("python")
    monkeypatch.syspath_prepend(tmp_path / "python")
    monkeypatch.syspath_prepend(tmp_path / "python3.13")
    assert loaded.library_files("cudart") == [file.resolve()]


@pytest.mark.parametrize("library", ["cudart", "cudnn", "nccl"])
def test_a_missing_library_is_said(library: str) -> None:
    assert loaded.load(library) == ("", f"{library}: one is to be installed, found none")


def test_a_library_that_does_not_load_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_library(tmp_path, "cudnn", "libcudnn.so.9").write_text("no library")
    monkeypatch.syspath_prepend(tmp_path)
    version, trouble = loaded.load("cudnn")
    assert version == ""
    assert trouble.startswith("cudnn: it does not load")


def test_another_loaded_library_is_seen(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00 00:00 1   /usr/lib/libcudnn.so.9\n"
        "7f02-7f03 r-xp 00 00:00 2   /opt/env/lib/nvidia/cudnn/lib/libcudnn.so.9\n"
        "7f02-7f03 rw-p 00 00:00 0\n"
        "7f02-7f03 rw-p 00 00:00 0   [heap]\n"
    )
    assert [path.parts[1] for path in loaded.mapped_files("libcudnn.so.", maps)] == ["opt", "usr"]


@pytest.mark.parametrize("text", ["{", "[]", '"cpu"'])
def test_a_cell_that_cannot_be_read_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIMG_CELL", text)
    assert code_of(tag.cell) == FAILED


def test_without_a_tag_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLIMG_CELL", raising=False)
    assert code_of(truth.main) == NOT_RUN


def test_all_lies_come_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "libcudart.so.13").touch()
    monkeypatch.setattr(truth, "SYSTEM", [tmp_path])
    wrong = {**CPU, "os": "plan9", "python": "2.7", "package": "no-such-package"}
    monkeypatch.setenv("DLIMG_CELL", json.dumps(wrong))
    assert code_of(lambda: judge("1.0", "13.2")) == FAILED
    printed = capsys.readouterr()
    for axis in ("os: ", "python: ", "version: ", "package: ", "cuda: ", "labels: "):
        assert axis in printed.err
    assert "libcudart.so.13" in printed.err
    assert json.loads(printed.out)["actual"]["version"] == "1.0"


@pytest.mark.parametrize(
    ("promised", "runs", "lies"),
    [
        ("2.36", "2.36", []),
        ("", "2.28", []),
        ("2.41", "2.36", ["glibc: 2.41 is promised, this is 2.36"]),
        ("2.36", "", ["glibc: 2.36 is promised", "glibc: wheels of x86_64-manylinux_2_28 may"]),
        ("", "", ["glibc: wheels of x86_64-manylinux_2_28 may be here, this is none"]),
        ("", "2.27", ["glibc: wheels of x86_64-manylinux_2_28 may be here, this is 2.27"]),
        ("2.9", "2.9", ["glibc: wheels of x86_64-manylinux_2_28 may be here, this is 2.9"]),
    ],
)
def test_another_glibc_is_found(promised: str, runs: str, lies: list[str]) -> None:
    problems = tag.platform_mismatches({**CPU, "glibc": promised}, {**FOUND, "glibc": runs})
    assert len(problems) == len(lies)
    assert all(one.startswith(lie) for one, lie in zip(problems, lies, strict=True))


def test_the_glibc_of_this_machine_is_read() -> None:
    assert tag.glibc().startswith("2.")


@pytest.mark.parametrize(
    ("axis", "value", "lie"),
    [
        ("uid", "0", "user: this runs as root"),
        ("uid", "12345", "uid: 1000 is promised, this is 12345"),
        ("user", "", "user: user is promised, this is none"),
        ("gid", "1000", "gid: 100 is promised, this is 1000"),
        ("home", "/root", "home: /home/user is promised, this is /root"),
    ],
)
def test_another_user_is_found(axis: str, value: str, lie: str) -> None:
    assert users.mismatches(CPU, {**FOUND, axis: value}) == [lie]


def test_who_runs_this_is_read() -> None:
    result = users.current()
    assert (result["uid"], result["gid"]) == (str(os.geteuid()), str(os.getegid()))
    assert result["home"].startswith("/") or not result["user"]


HELD = ["sm_80", "sm_90", "compute_90"]


@pytest.mark.parametrize(
    ("said", "named", "held", "lie"),
    [
        (CUDA, HELD, HELD, ""),
        (CUDA, [], HELD, ""),
        (CUDA, ["sm_80", "sm_90"], HELD, ""),
        ({**CUDA, "architectures": ""}, ["sm_80", "sm_90"], HELD, ""),
        (CPU, [], [], ""),
        (CUDA, [], [], "the framework's library has no GPU code"),
        ({**CUDA, "architectures": ""}, [], [], "the framework's library has no GPU code"),
        (CUDA, [], ["sm_80", "sm_90"], "is promised, held is sm_80 sm_90"),
        (CUDA, [], [*HELD, "sm_120"], "is promised, held is sm_80 sm_90 compute_90 sm_120"),
        (CUDA, ["sm_80"], HELD, "the framework says sm_80, held is sm_80 sm_90 compute_90"),
        (CUDA, ["sm_80", "sm_90", "compute_80"], HELD, "the framework says sm_80 sm_90 compute_80"),
        (CPU, ["sm_90"], [], "the tag says cpu, and there is GPU code for sm_90"),
        (CPU, [], ["sm_90"], "the tag says cpu, and there is GPU code for sm_90"),
    ],
)
def test_other_architectures_are_found(
    said: dict[str, str], named: list[str], held: list[str], lie: str
) -> None:
    lies = truth.architecture_mismatches(said, named, held)
    assert len(lies) == bool(lie)
    assert all(lie in one for one in lies)


ALL = elf_files.container(
    elf_files.entry(2, 80), elf_files.entry(2, 90), elf_files.entry(1, 90), elf_files.entry(9, 70)
)
SOME = elf_files.container(
    elf_files.entry(2, 120), elf_files.entry(2, 90, 24), elf_files.entry(2, 80)
)


@pytest.mark.parametrize(
    ("content", "everywhere", "partly"),
    [
        (ALL, HELD, []),
        (ALL + bytes(8) + SOME, ["sm_80", "sm_90"], ["sm_120", "compute_90"]),
        (b"", [], []),
        (ALL + elf_files.container(), [], HELD),
    ],
)
def test_the_architectures_of_a_library_are_read(
    content: bytes, everywhere: list[str], partly: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "libmade_up.so"
    file.write_bytes(elf_files.library(content))
    assert truth.architectures(file) == fatbin.Held(everywhere, partly)
    file.write_bytes(elf_files.library(content, b".rodata"))
    assert truth.architectures(file) == fatbin.Held([], [])


@pytest.mark.parametrize(
    "content",
    [
        b"no library, but long enough for its header to be looked for in here, and beyond",
        elf_files.library(ALL)[:200],
        elf_files.library(elf_files.container(bytes(64))),
        elf_files.library(ALL[:-40]),
        b"",
    ],
    ids=["text", "cut off", "no length", "half", "empty"],
)
def test_gpu_code_that_cannot_be_read_fails(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "libmade_up.so"
    file.write_bytes(content)
    assert code_of(lambda: truth.architectures(file)) == FAILED


def test_a_framework_without_such_a_library_has_no_gpu_code(tmp_path: Path) -> None:
    assert truth.architectures(None) == truth.architectures(tmp_path / "x") == ([], [])


@pytest.fixture
def paired_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Packages made up here: whole, without a version, with a local one, broken, without module."""
    packages = {
        "whole_one": "__version__ = '1.0'",
        "silent_one": "",
        "local_one": "__version__ = '1.0+cu132'",
        "broken_one": "import no_such_module",
        "older_one": "__version__ = '0.9'",
    }
    for name, text in packages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    for name in (*packages, "nvidia_tool"):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1.0\n")
        (about / "RECORD").write_text(
            f"{name}/__init__.py,,\n" if name in packages else "bin/x,,\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, str] = beside.named(
        " ".join(f"{n.replace('_', '-')}==1.0" for n in (*packages, "nvidia_tool"))
    )
    return names


def test_paired_packages_are_imported_and_compared(paired_packages: dict[str, str]) -> None:
    versions, broken = beside.imported(paired_packages)
    assert versions == {
        "whole-one": "1.0",
        "silent-one": "",
        "local-one": "1.0+cu132",
        "older-one": "0.9",
    }
    (lie,) = broken
    assert lie.startswith("paired packages: broken-one cannot be imported: ModuleNotFoundError")
    assert beside.mismatches(paired_packages, paired_packages, versions) == [
        "paired packages: older-one 1.0 is promised, imported is 0.9"
    ]


def test_a_paired_package_that_is_not_installed_is_found() -> None:
    promised = beside.named("torchvision==0.30.0 torchaudio==2.15.0")
    assert beside.imported(promised) == ({}, [])
    assert beside.mismatches(promised, {"torchvision": "0.29.0"}, {}) == [
        "paired packages: torchvision 0.30.0 is promised, installed is 0.29.0",
        "paired packages: torchaudio 2.15.0 is promised, installed is none",
    ]
    assert beside.named("") == {}


LABELS = {
    "io.dlimg.accelerator": "cuda13.2",
    "io.dlimg.base": "sha256:c3",
    "io.dlimg.base-source": "registry",
    "io.dlimg.cell": CUDA["cell"],
    "io.dlimg.cuda": "13.2",
    "io.dlimg.cudnn": "9.26.0.51",
    "io.dlimg.family": "pytorch",
    "io.dlimg.flavour": "runtime",
    "io.dlimg.key": "a1b2",
    "io.dlimg.os": "debian12",
    "io.dlimg.package": "torch",
    "io.dlimg.packages": "sha256:e5",
    "io.dlimg.python": "3.11",
    "io.dlimg.version": "2.13.0",
    "io.dlimg.wheels": "pip==26.3 torch==2.13.0",
    "org.opencontainers.image.title": CUDA["cell"],
    "org.opencontainers.image.version": "2.13.0",
    "maintainer": "somebody",
}
INSTALLED = {"torch": "2.13.0", "pip": "26.3"}
OF_BASE = {"io.dlimg.base-os": "debian12", "io.dlimg.base-identity": "sha256:c3"}


@pytest.mark.parametrize("more", [{}, {**OF_BASE, "io.dlimg.base-recipe": "any"}])
def test_true_labels_have_no_lies(more: dict[str, str]) -> None:
    assert labels.mismatches({**LABELS, **more}, CUDA, INSTALLED) == []


@pytest.mark.parametrize("name", [name for name in LABELS if name != "maintainer"])
def test_a_label_that_is_gone_or_wrong_is_found(name: str) -> None:
    gone = {key: value for key, value in LABELS.items() if key != name}
    short = name.removeprefix("io.dlimg.")
    (lie,) = labels.mismatches(gone, CUDA, INSTALLED)
    assert lie.startswith(f"label {short}: ")
    (lie,) = labels.mismatches({**LABELS, name: "other==1"}, CUDA, INSTALLED)
    assert lie.startswith(f"label {short}: ")
    assert "other" in lie


@pytest.mark.parametrize(
    ("more", "lie"),
    [
        (
            {"io.dlimg.base-os": "debian13"},
            "label base-os: it says debian13, and what was promised",
        ),
        ({"io.dlimg.base-identity": "sha256:d4"}, "label base-identity: it says sha256:d4"),
        ({"io.dlimg.driver": "580"}, "label driver: it says 580, and what was promised is nothing"),
        ({"io.dlimg.wheels": "torch==2.13.0"}, "label wheels: it names pip not (installed 26.3)"),
        (
            {"io.dlimg.wheels": "pip==26.3 torch==2.13.0 x==1"},
            "label wheels: it names x 1 (installed not)",
        ),
        (
            {"io.dlimg.wheels": "pip==26.3 torch==2.14.0"},
            "label wheels: it names torch 2.14.0 (installed 2.13.0)",
        ),
    ],
)
def test_a_label_that_nothing_bears_out_is_found(more: dict[str, str], lie: str) -> None:
    (problems,) = labels.mismatches({**LABELS, **more}, CUDA, INSTALLED)
    assert problems.startswith(lie)


def test_a_label_of_cuda_on_a_cpu_image_is_found() -> None:
    output = {**CUDA, "cuda": "", "cudnn": ""}
    assert [
        mismatch.split(":")[0] for mismatch in labels.mismatches(LABELS, output, INSTALLED)
    ] == [
        "label cuda",
        "label cudnn",
    ]


@pytest.mark.parametrize("own", [{}, {"maintainer": "somebody"}])
def test_an_image_without_labels_of_its_own_is_found(own: dict[str, str]) -> None:
    assert labels.mismatches(own, CUDA, INSTALLED) == ["labels: the image has none of its own"]


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_labels_that_cannot_be_read_fail(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIMG_LABELS", text)
    assert code_of(labels.read) == FAILED


def test_labels_that_were_not_told_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLIMG_LABELS", raising=False)
    assert labels.read() == {}
    monkeypatch.setenv("DLIMG_LABELS", '{"a": "b"}')
    assert labels.read() == {"a": "b"}


def test_libraries_are_loaded_where_they_are_promised_or_lie_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert truth.wanted_libraries(CUDA) == ["cudart", "cudnn", "nccl"]
    assert truth.wanted_libraries(CPU) == ["cudart"]
    monkeypatch.syspath_prepend(tmp_path)
    place_library(tmp_path, "nccl", "libnccl.so.2")
    assert truth.wanted_libraries(CPU) == ["cudart", "nccl"]
    place_library(tmp_path, "cudnn", "libcudnn.so.9")
    assert truth.wanted_libraries(CPU) == ["cudart", "cudnn", "nccl"]


def test_an_image_without_cudnn_promises_none() -> None:
    actual = {"cudart": "13.2", "nccl": "2.30.7", "built_cuda": "13", "built_cudnn": ""}
    expected = {"cuda": "13.2", "cudnn": "", "nccl": "2.30.7"}
    build = {"version": "26.6.0"}
    assert tag.cuda_mismatches(expected, {**actual, **build, "cudnn": ""}) == []
    assert tag.cuda_mismatches(expected, {**actual, **build}) == []
    (wrong,) = tag.cuda_mismatches(expected, {**actual, **build, "cudnn": "9.26.0"})
    assert wrong == "cudnn: the tag says none, 9.26.0 loads"
