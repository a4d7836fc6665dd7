"""`dlimg add` and `dlimg remove` as commands: what they print, write and refuse."""

import shutil
import stat
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.pipeline.facts_files import read_facts
from tests.support.jax_project import ROOT
from tests.support.matrix_to_edit import MATRIX
from tests.support.package_index import made_wheel, package_index

ADDED = "pytorch-2.6.0-cuda12.4-py3.13-debian13"


@pytest.fixture
def matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "matrix.yaml"
    path.write_text(MATRIX, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["pytorch", "torch"])
def test_a_cell_is_added_once_and_removed_again(
    name: str, matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["add", name, "2.6.0", "--cuda", "12.4"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "+  cuda12.4:\n" in printed.out
    assert printed.err.startswith(f"adds {ADDED} (in the group all)\ndrops ")
    assert "combinations: torch 2.6.0 is built for CUDA 12.4, not 13.2\n" in printed.err
    assert printed.err.endswith(
        f"next: `dlimg lock {ADDED}`\nnext: `dlimg render`, then `nox -s build -- {ADDED}`\n"
    )
    written = matrix.read_text(encoding="utf-8")
    assert main(command) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"{ADDED} is there already\n")
    assert matrix.read_text(encoding="utf-8") == written
    assert main(["remove", name, "2.6"]) == 0
    assert f"removes {ADDED}\n" in capsys.readouterr().err
    assert matrix.read_text(encoding="utf-8") == MATRIX
    assert main(["remove", name, "2.6"]) == 0
    assert capsys.readouterr().err == "the matrix has no such cell: nothing to remove\n"


@pytest.mark.parametrize(
    "command", [["add", "jax", "0.10.0"], ["remove", "jax", "--cuda", "12.9"]], ids=" ".join
)
def test_a_dry_run_writes_nothing(
    command: list[str], matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("--- matrix.yaml\n+++ matrix.yaml\n@@ ")
    assert matrix.read_text(encoding="utf-8") == MATRIX
    assert list(matrix.parent.iterdir()) == [matrix]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "cell"),
    [
        (["torch"], "pytorch-2.15.0-cuda13.2-py3.13-debian13"),
        (["torch", "latest", "--cuda", "12.4"], ADDED),
        (["jax", "latest", "--python", "3.10"], "jax-0.6.2-cuda12.9-py3.10-debian13"),
        (["tensorflow", "--cuda", "11"], "tensorflow-2.14.1-cuda11.8-py3.10-ubuntu22.04"),
    ],
    ids=str,
)
def test_the_latest_release_is_the_newest_that_fits(
    arguments: list[str], cell: str, matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matrix.exists()
    assert main(["add", *arguments, "--dry-run"]) == 0
    assert capsys.readouterr().err.split("\n")[0].removeprefix("adds ").split(" ")[0] == cell


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "cell"),
    [
        (["vllm"], "vllm-0.16.0-cuda12.8-py3.11-debian12"),
        (["rapids", "26.6.0", "--cuda", "13"], "rapids-26.6.0-cuda13.2-rapids-py3.13-debian13"),
    ],
    ids=str,
)
def test_a_family_of_dlimgs_own_comes_with_all_that_it_needs(
    arguments: list[str], cell: str, matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", *arguments]) == 0
    assert f"adds {cell} (in the group all)\n" in capsys.readouterr().err
    written = matrix.read_text(encoding="utf-8")
    assert (
        main(["add", *arguments]) == 0
        if len(arguments) > 1
        else main(["add", *arguments, "0.16.0"]) == 0
    )
    assert capsys.readouterr().err == f"{cell} is there already\n"
    assert matrix.read_text(encoding="utf-8") == written
    new = parse_matrix(written, "matrix.yaml")
    own = parse_matrix((ROOT / "matrix.yaml").read_text(), "matrix.yaml")
    family = arguments[0]
    assert new.families[family].platform == own.families[family].platform
    assert [each.variable for each in new.families[family].env] == [
        each.variable for each in own.families[family].env
    ]
    assert {("system-library", "*numba*")} <= {(each.id, each.about) for each in new.ignored}
    assert main(["remove", family]) == 0
    capsys.readouterr()
    assert matrix.read_text(encoding="utf-8") == MATRIX
    matrix.write_text(written, encoding="utf-8")
    locks = matrix.parent / "locks"
    (locks / "stacks").mkdir(parents=True)
    shutil.copy(ROOT / f"locks/{cell}.json", locks)
    stack = next(iter(resolve(new, read_facts()).cells[-1:])).stack
    assert stack is not None
    shutil.copy(ROOT / f"locks/stacks/{stack.lock_name}.json", locks / "stacks")
    assert main(["lock", cell, "--check"]) == 0
    assert main(["lint"]) == 0


def test_a_stack_that_is_there_already_is_used(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = '  mine:\n    cuda: "12.8"\n    leader: torch==2.9.1\n    python: "3.13"\n'
    family = "  mine:\n    framework: none\n    axes: {version: [1.0.0], accelerator: [mine], "
    family += 'flavour: [runtime], python: ["3.13"], os: [debian13]}\n'
    family += "    packages: {cuda12: [mine]}\n"
    text = MATRIX.replace("stacks:\n", f"stacks:\n{stack}", 1)
    matrix.write_text(text.replace("families:\n", f"families:\n{family}", 1), encoding="utf-8")
    assert main(["add", "vllm"]) == 0
    assert "adds vllm-0.16.0-mine-py3.11-debian12" in capsys.readouterr().err


def test_a_release_that_dlimg_does_not_have_is_noted(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matrix.exists()
    assert main(["add", "vllm", "0.15.1", "--python", "3.12", "--dry-run"]) == 0
    message = capsys.readouterr().err
    assert "adds vllm-0.15.1-cuda12.8-py3.12-debian12" in message
    assert "note: vllm 0.15.1 is not what dlimg's own matrix has, which is 0.16.0" in message


def test_what_cannot_exist_is_answered_as_by_why(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "pytorch", "2.6.0", "--cuda", "13.0"]) == 1
    printed = capsys.readouterr()
    assert "no   cuda-build  torch 2.6.0 is built for CUDA 12.4" in printed.out
    assert "To have one of them in the matrix:\n  dlimg add pytorch 2.6.0 --cuda 12.4\n" in (
        printed.out
    )
    assert matrix.read_text(encoding="utf-8") == MATRIX


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["add", "mxnet", "1.0"], 2, "no family or framework is called 'mxnet'"),
        (["add", "vllms"], 2, "did you mean 'vllm'?"),
        (["add", "jax==0.10.0", "0.10.1"], 2, "two versions: 0.10.0 and 0.10.1"),
        (["add", "rapids", "--cuda", "12"], 2, "dlimg's own rapids is for CUDA 13.2"),
        (["add", "rapids", "--cpu"], 2, "dlimg's own rapids is for CUDA 13.2"),
        (["add", "jax", "99"], 2, "no facts about jax 99"),
        (["add", "jax", "0.10.0", "--os", "windows"], 2, "images are Linux"),
        (["add", "jax", "0.10.0", "--python", ""], 2, "the value is empty"),
        (
            ["add", "torch", "2.6.0", "--cuda", "12.4", "--flavour", "devel"],
            1,
            "no wheel with nvcc",
        ),
        (["remove", "mxnet"], 2, "no family or framework is called 'mxnet'"),
        (["remove", "pytorch", "2.15.0"], 1, "the alias pytorch:latest means a cell"),
        (["remove", "tensorflow"], 1, "the matrix would have an error: stack cuda12.9"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_changes_nothing(
    command: list[str],
    code: int,
    message: str,
    matrix: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command) == code
    printed = capsys.readouterr()
    assert message in printed.out + printed.err
    assert matrix.read_text(encoding="utf-8") == MATRIX


@pytest.mark.usefixtures("matrix")
@pytest.mark.parametrize(
    "arguments", [["1", "--cuda", "12", "--cpu"], ["1", "2"], ["1", "--flavour", "y"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["add", "jax", *arguments])
    assert caught.value.code == 2


def test_numpy_is_mentioned_where_the_release_is_too_old_for_its_newest(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "torch", "2.2.2"]) == 0
    assert "note: torch 2.2.2 was built against NumPy 1" in capsys.readouterr().err
    assert "cuda12.1:" in matrix.read_text(encoding="utf-8")


def test_a_family_without_facts_is_not_checked(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MATRIX.replace("framework: jax", "framework: none")
    matrix.write_text(text, encoding="utf-8")
    assert main(["add", "jax", "99.1", "--cuda", "12.9"]) == 0
    assert "adds jax-99.1-cuda12.9-py3.13-debian13 (" in capsys.readouterr().err
    assert main(["remove", "jax", "99.1"]) == 0
    assert matrix.read_text(encoding="utf-8") == text


def test_locks_that_nothing_uses_any_more_are_named(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "jax", "0.10.0", "--cpu"]) == 0
    name = "jax-0.10.0-cpu-py3.13-debian13"
    (matrix.parent / "locks").mkdir()
    (matrix.parent / "locks" / f"{name}.json").write_text("{}")
    capsys.readouterr()
    assert main(["remove", "jax", "0.10.0"]) == 0
    assert f"locks/{name}.json: no cell uses this lock\n  hint: delete it\n" in (
        capsys.readouterr().err
    )


def test_what_is_left_open_is_as_in_the_matrix(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "jax", "0.10.0"]) == 0
    assert "adds jax-0.10.0-cuda13.2-py3.13-debian13" in capsys.readouterr().err
    assert main(["add", "jax", "0.4.38", "--cpu"]) == 0
    assert "adds jax-0.4.38-cpu-py3.13-debian13" in capsys.readouterr().err
    assert main(["add", "jax", "0.4.38", "--cpu", "--os", "debian12"]) == 0
    assert "adds jax-0.4.38-cpu-py3.11-debian12" in capsys.readouterr().err
    assert matrix.read_text(encoding="utf-8").count("0.4.38, ") <= 3


def test_line_ends_mode_and_a_link_are_kept(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    windows = f"\ufeff{MATRIX}".replace("\n", "\r\n").encode()
    real = matrix.parent / "elsewhere" / "m.yaml"
    real.parent.mkdir()
    real.write_bytes(windows)
    real.chmod(0o600)
    matrix.unlink()
    matrix.symlink_to(real)
    assert main(["add", "jax", "0.10.0"]) == 0
    assert "\r" not in capsys.readouterr().out
    written = real.read_bytes()
    assert written.count(b"\r\n") == written.count(b"\n") > windows.count(b"\n")
    assert matrix.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert main(["remove", "jax", "0.10.0"]) == 0
    assert real.read_bytes() == windows


OWN = """\
operating_systems:
  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}
families:
  own:
    framework: none
    axes: {version: ["1.0"], accelerator: [cpu], flavour: [runtime]}
    packages: {cpu: ["numlike=={version}"]}
    defaults: {python: "3.11", os: debian12}
"""


def test_the_new_cell_is_locked_at_once_if_asked_for(
    matrix: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix.write_text(OWN)
    wheels = [made_wheel("numlike", version) for version in ("1.0", "2.0")]
    with package_index(*wheels, made_wheel("pip", "26.3")) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        monkeypatch.setenv("HOME", str(matrix.parent))
        monkeypatch.setenv("UV_CACHE_DIR", str(matrix.parent / "uv"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(matrix.parent / "cache"))
        assert main(["add", "own", "2.0", "--lock"]) == 0
    name = "own-2.0-cpu-py3.11-debian12"
    printed = capsys.readouterr().err
    assert f"{name}: written\n" in printed
    assert f"next: `dlimg lock {name}`" not in printed
    assert [path.stem for path in (matrix.parent / "locks").glob("*.json")] == [name]


@pytest.mark.usefixtures("matrix")
def test_the_line_that_why_ends_with_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "torch==2.6.0", "--cuda", "12.4", "--python", "3.12"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "dlimg add" in line)
    assert main([*line.split()[1:], "--dry-run"]) == 0
    assert "adds pytorch-2.6.0-cuda12.4-py3.12-debian13" in capsys.readouterr().err


@pytest.mark.usefixtures("matrix")
def test_the_line_of_why_for_a_cpu_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "tensorflow-cpu==2.19.0"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "dlimg add" in line)
    assert "--cpu" in line
    assert main([*line.split()[1:], "--dry-run"]) == 0
    assert "adds tensorflow-2.19.0-cpu-" in capsys.readouterr().err


def test_a_requirement_and_the_id_of_a_cell_name_cells(
    matrix: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", "jax==0.10.0", "--cpu", "--python", "3.12", "--os", "debian13"]) == 0
    cell = "jax-0.10.0-cpu-py3.12-debian13"
    assert f"adds {cell} (" in capsys.readouterr().err
    assert main(["remove", cell]) == 0
    assert f"removes {cell}\n" in capsys.readouterr().err
    assert matrix.read_text(encoding="utf-8") == MATRIX
