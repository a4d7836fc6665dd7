"""The `dlimg add` line of `pick` and `why`: what the facts know to run and no matrix has."""

import json
import shlex
from pathlib import Path

import pytest

from dlimg.cli.main import main
from dlimg.compat.addition import additions
from dlimg.compat.pick import PickRequest
from dlimg.compat.query import QueryContext
from tests.support.why_tables import TODAY, answer, engine, facts

MATRIX = """\
operating_systems:
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: "13.2", leader: torch==2.15.0, python: "3.13"}
groups: {default: [{}]}
families:
  pytorch:
    framework: torch
    axes: {version: [2.15.0], accelerator: [cuda13.2], python: ["3.13"], flavour: [runtime]}
    packages: {cuda13: ["torch=={version}"]}
    defaults: {python: "3.13", os: debian13}
"""

# A GPU, a driver, a framework, and the words after `dlimg add`; none if nothing runs there.
MACHINES: list[tuple[str, str, str, str]] = [
    ("RTX 4090", "570", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("RTX 4090", "580", "torch", "pytorch 2.15.0 --cuda 13.2"),
    ("RTX 4090", "535", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("L20", "550", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("T4", "470", "torch", "pytorch 2.0.1 --cuda 11.7 --python 3.11"),
    ("H20", "550.54.15", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("V100S", "580", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("P40", "535", "torch", "pytorch 2.7.1 --cuda 12.6"),
    ("RTX 5090", "570", "torch", "pytorch 2.10.0 --cuda 12.8"),
    ("RTX 5090 D", "580", "torch", "pytorch 2.15.0 --cuda 13.2"),
    ("RTX 4090", "570", "tensorflow", "tensorflow 2.21.0 --cuda 12.9"),
    ("GTX 1080", "470", "tensorflow", "tensorflow 2.14.1 --cuda 11.8 --python 3.10"),
    ("K40", "470", "torch", ""),
    ("GH200", "580", "torch", ""),
]


def request(gpu: str, driver: str) -> PickRequest:
    return PickRequest(gpus=(facts().gpu(gpu),), driver=driver)


@pytest.mark.parametrize(("gpu", "driver", "framework", "text"), MACHINES)
def test_the_newest_release_that_runs(gpu: str, driver: str, framework: str, text: str) -> None:
    context = QueryContext(facts(), TODAY)
    added = additions(engine(), context, request(gpu, driver), [framework])
    assert [addition.command for addition in added] == [f"dlimg add {text}"] * bool(text)


@pytest.mark.parametrize("driver", ["470", "525", "535", "550", "570", "580"])
@pytest.mark.parametrize(
    "gpu", ["P4", "V100", "T4", "A800", "A10G", "L20", "RTX 4090 D", "H20", "H800", "B200"]
)
def test_what_is_added_is_answered_yes(gpu: str, driver: str) -> None:
    context = QueryContext(facts(), TODAY)
    for addition in additions(engine(), context, request(gpu, driver), facts().frameworks):
        combination = addition.combination
        extra = "" if combination.framework == "torch" else f"[{combination.build.variant}]"  # type: ignore[union-attr]
        judged = answer(
            f"'{combination.framework}{extra}=={combination.version}' --cuda {combination.cuda} "
            f"--python {combination.python} --gpu {shlex.quote(gpu)} --driver {driver}"
        )
        assert judged.valid, (addition.command, [reason.message for reason in judged.reasons])


def test_two_kinds_of_gpu_need_one_release_for_both() -> None:
    gpus = (facts().gpu("V100"), facts().gpu("RTX 5090"))
    both = PickRequest(gpus=gpus, driver="580")
    (addition,) = additions(engine(), QueryContext(facts(), TODAY), both, ["torch"])
    assert addition.command == "dlimg add pytorch 2.10.0 --cuda 12.8"


@pytest.mark.parametrize(
    ("versions", "texts"),
    [
        ("==2.5.0", ["pytorch 2.5.0 --cuda 12.4"]),
        (">=2.4,<2.6", ["pytorch 2.5.1 --cuda 12.4"]),
        ("==2.15.0", []),
        ("==1.0.99", []),
    ],
)
def test_the_versions_asked_for_are_added(versions: str, texts: list[str]) -> None:
    asked = PickRequest(gpus=(facts().gpu("RTX 4090"),), driver="550", versions=versions)
    added = additions(engine(), QueryContext(facts(), TODAY), asked, ["torch"])
    assert [addition.command for addition in added] == [f"dlimg add {text}" for text in texts]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("project")
def test_pick_ends_with_the_line_where_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pick", "--gpu", "RTX 4090", "--driver", "570", "pytorch"]) == 1
    assert capsys.readouterr().err.endswith("\n  dlimg add pytorch 2.10.0 --cuda 12.8\n")


@pytest.mark.usefixtures("project")
def test_pick_says_nothing_of_it_where_an_image_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pick", "--gpu", "RTX 4090", "--driver", "580"]) == 0
    shown = capsys.readouterr()
    assert "dlimg add" not in shown.err + shown.out


@pytest.mark.usefixtures("project")
def test_the_json_of_pick_has_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["pick", "--gpu", "RTX 4090", "--driver", "570", "torch", "--format", "json"]
    assert main(argv) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["asked"]["family"] == "pytorch"
    (added,) = document["add"]
    assert added == {
        "command": "dlimg add pytorch 2.10.0 --cuda 12.8",
        "requirement": "torch==2.10.0",
        "cuda": "12.8",
        "python": "3.13",
        "os": "debian13",
    }


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command_line", "code", "command"),
    [
        ("torch==2.6.0 --gpu L20", 0, "dlimg add pytorch 2.6.0 --cuda 12.4"),
        ("torch==2.15.0 --gpu L20", 0, None),
        ("torch==2.15.0 --gpu sm_89 --driver 570", 1, "dlimg add pytorch 2.10.0 --cuda 12.8"),
        (
            "'tensorflow[and-cuda]==2.15.0' --python 3.11",
            1,
            "dlimg add tensorflow 2.15.1 --cuda 12.2 --python 3.11",
        ),
        ("torch==2.6.0 --os ubuntu24.04 --python 3.12", 0, "--python 3.12 --os ubuntu24.04"),
        ("torch==2.8.0 --gpu GH200", 1, None),
        ("jax==0.4.38 --cuda cpu", 0, "dlimg add jax 0.4.38 --cpu"),
        ("torch==2.6.0 --os centos7", 0, None),
        ("torch==2.6.0 --os rocky9", 0, None),
    ],
)
def test_why_ends_with_the_line_for_what_no_cell_has(
    command_line: str, code: int, command: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["why", *shlex.split(command_line), "--format", "json"]) == code
    added = json.loads(capsys.readouterr().out)["add"]
    assert (added is None) is (command is None)
    assert (command or "") in (added or "")
    assert main(["why", *shlex.split(command_line)]) == code
    assert capsys.readouterr().out.endswith(f"\n  {added}\n") is bool(added)


def test_pick_and_why_need_no_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pick", "--gpu", "RTX 4090", "--driver", "580", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"]
    assert main(["why", "torch==2.6.0"]) == 0
    assert "it works" in capsys.readouterr().out


def test_a_newer_driver_is_advised_for_a_family_without_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pick", "rapids", "--gpu", "RTX 4090", "--driver", "570"]) == 1
    assert "update the driver to 580.65.06 or newer: then dlimg/rapids:" in capsys.readouterr().err
