"""Lies of a tag, each found; and how versions, libraries and names are read."""

import importlib
import json
from pathlib import Path

import pytest
from checking import FAILED, NOT_RUN, code_of

tag = importlib.import_module("_tag")

CPU = {
    "family": "pytorch",
    "package": "torch",
    "version": "2.13.0",
    "accelerator": "cpu",
    "cuda": "",
    "cudnn": "",
    "python": "3.11",
    "os": "debian12",
    "flavour": "runtime",
}
CUDA = {**CPU, "accelerator": "cuda13.2", "cuda": "13.2", "cudnn": "9.26.0.51"}
FOUND = {
    "os": "debian12",
    "python": "3.11.2",
    "user": "1000",
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
}


def test_a_true_tag_has_no_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tag.contradictions(CPU) == tag.contradictions(CUDA) == []
    assert tag.basic_lies(CPU, FOUND) == []
    assert tag.cpu_lies(FOUND, {"torch": "2.13.0+cpu"}, []) == []
    assert tag.basic_lies(CUDA, FOUND_CUDA) == []
    assert tag.cuda_lies(CUDA, FOUND_CUDA) == []
    monkeypatch.setenv("PATH", str(tmp_path))  # the tests' own machine may have an nvcc
    assert tag.flavour_lies(CPU, {}) == []


@pytest.mark.parametrize(
    ("axis", "value", "lie"),
    [
        ("os", "debian13", "os: the tag says debian12, this is debian13"),
        ("python", "3.13.5", "python: the tag says 3.11, this is 3.13.5"),
        ("python", "3.1", "python: "),
        ("user", "0", "user: this runs as root"),
        ("version", "2.13.1+cpu", "version: the tag says 2.13.0, found 2.13.1+cpu"),
        ("version", "2.13", "version: "),
        ("package", "", "package: the tag says 2.13.0, found none"),
        ("package", "2.12.0", "package: the tag says 2.13.0, found 2.12.0"),
    ],
)
def test_a_lie_of_any_tag_is_found(axis: str, value: str, lie: str) -> None:
    (found,) = tag.basic_lies(CPU, {**FOUND, axis: value})
    assert found.startswith(lie)


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
    assert [said for said in tag.cpu_lies(found, installed, []) if lie in said]


@pytest.mark.parametrize(
    "name",
    ["nvidia/cudnn/lib/libcudnn.so.9", "lib/libcudart-d0da41ae.so.11.0", "libcudnn_graph.so"],
)
def test_a_cuda_library_in_a_cpu_image_is_found(name: str, tmp_path: Path) -> None:
    library = tmp_path / "python" / name
    library.parent.mkdir(parents=True)
    library.touch()
    library.with_name("libcudnn.txt").touch()
    (tmp_path / "python3.13").symlink_to("python")
    files = tag.cuda_files([tmp_path / "python3.13", tmp_path, tmp_path / "nowhere"])
    assert files == [library]
    assert tag.cpu_lies(FOUND, {}, files) == [f"cuda: the tag says cpu, but there is {library}"]


@pytest.mark.parametrize(
    ("said", "lie"),
    [
        ({**CPU, "accelerator": "cuda13.2"}, "accelerator: the tag says cuda13.2, and CUDA none"),
        ({**CUDA, "accelerator": "cpu"}, "accelerator: the tag says cpu, and CUDA 13.2"),
        ({**CUDA, "accelerator": "cuda13.20"}, "accelerator: the tag says cuda13.20"),
        ({**CPU, "cudnn": "9.26.0.51"}, "cudnn: the tag says 9.26.0.51, and CUDA none"),
    ],
)
def test_axes_that_deny_each_other_are_found(said: dict[str, str], lie: str) -> None:
    (found,) = tag.contradictions(said)
    assert found.startswith(lie)


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
        ({}, {"built_cudnn": "8"}, "cudnn: built for 8, 9.26.0 loads"),
    ],
)
def test_a_lie_of_a_cuda_tag_is_found(
    said: dict[str, str], found: dict[str, str], lie: str
) -> None:
    lies = tag.cuda_lies({**CUDA, **said}, {**FOUND_CUDA, **found})
    assert [one for one in lies if lie in one]


@pytest.mark.parametrize("cudnn", ["9.26.0.51", "9.26.0", "9.26"])
def test_a_cudnn_may_be_said_in_fewer_words(cudnn: str) -> None:
    assert tag.cuda_lies({**CUDA, "cudnn": cudnn}, FOUND_CUDA) == []


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
    lies = tag.compiler_lies(flavour, cuda, release)
    assert bool(lies) is bool(lie)
    assert all(lie in text for text in lies)


@pytest.mark.parametrize(
    ("flavour", "lie"),
    [("compile", "a C compiler"), ("devel", "a C compiler"), ("notebook", "jupyterlab")],
)
def test_a_flavour_without_its_tools_is_found(
    flavour: str, lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [said for said in tag.flavour_lies({**CPU, "flavour": flavour}, {}) if lie in said]


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
    assert tag.cuda_text(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(92600, "9.26.0"), (90501, "9.5.1"), (8907, "8.9.7"), (7605, "7.6.5")]
)
def test_the_number_of_a_cudnn(number: int, text: str) -> None:
    assert tag.cudnn_text(number) == text


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
    assert len(tag.library_files("cudart")) == 2
    version, trouble = tag.load("cudart")
    assert version == ""
    assert trouble.count("libcudart.so.1") == 2


def test_a_library_on_two_names_of_a_path_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place_library(tmp_path / "python", "cu13", "libcudart.so.13")
    (tmp_path / "python3.13").symlink_to("python")
    monkeypatch.syspath_prepend(tmp_path / "python")
    monkeypatch.syspath_prepend(tmp_path / "python3.13")
    assert tag.library_files("cudart") == [file.resolve()]


@pytest.mark.parametrize("library", ["cudart", "cudnn"])
def test_a_missing_library_is_said(library: str) -> None:
    assert tag.load(library) == ("", f"{library}: one is to be installed, found none")


def test_a_library_that_does_not_load_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_library(tmp_path, "cudnn", "libcudnn.so.9").write_text("no library")
    monkeypatch.syspath_prepend(tmp_path)
    version, trouble = tag.load("cudnn")
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
    assert [path.parts[1] for path in tag.mapped_files("libcudnn.so.", maps)] == ["opt", "usr"]


@pytest.mark.parametrize("text", ["{", "[]", '"cpu"'])
def test_a_cell_that_cannot_be_read_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLIMG_CELL", text)
    assert code_of(tag.cell) == FAILED


def test_without_a_tag_nothing_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLIMG_CELL", raising=False)
    assert code_of(lambda: tag.judge(tag.Framework("2.13.0", ""))) == NOT_RUN


def test_all_lies_come_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**CPU, "os": "plan9", "python": "2.7", "package": "no-such-package"}
    monkeypatch.setenv("DLIMG_CELL", json.dumps(wrong))
    assert code_of(lambda: tag.judge(tag.Framework("1.0", "13.2"))) == FAILED
    printed = capsys.readouterr()
    for axis in ("os: ", "python: ", "version: ", "package: ", "cuda: "):
        assert axis in printed.err
    assert json.loads(printed.out)["found"]["version"] == "1.0"
