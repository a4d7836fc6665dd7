"""`pick`: the best images for a GPU and driver, and the advice where none runs."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dlimg.checks.evidence import evidence_folder, write_evidence
from dlimg.cli.main import main
from dlimg.cli.printing import log
from dlimg.compat.pick import (
    EXACT,
    MAJOR,
    PTX,
    Advice,
    Catalog,
    PickRequest,
    PickResult,
    advise,
    pick,
)
from dlimg.compat.pick_table import pick_table
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.context import Context
from dlimg.errors import Problem
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.model import CheckStatus, DetectedGpu, Evidence, LocalMachine, Lock, Verdict
from dlimg.pipeline.facts_files import read_facts
from dlimg.pipeline.pick import request_on_machine
from dlimg.report.pick import nothing_text
from tests.support import samples

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 21)
FACTS = read_facts()
CUDNNS = {
    "cuda13.2": ("nvidia-cudnn-cu13", "9.26.0.51"),
    "cuda13.0": ("nvidia-cudnn-cu13", "9.20.0.48"),
    "cuda12.9": ("nvidia-cudnn-cu12", "9.28.0.42"),
    "cuda12.4": ("nvidia-cudnn-cu12", "9.1.0.70"),
    "cuda11.7": ("nvidia-cudnn-cu11", "8.5.0.96"),
}
NONE_FOR_AARCH64 = (
    "No image in this matrix runs on that machine: it has none for aarch64; for such machines, a"
    " matrix of its own has `platform: aarch64-manylinux_2_28` (docs/matrix.md)"
)
MATRIX = """\
operating_systems:
  debian12: {distribution: Debian 12, image: "debian:bookworm-slim"}
  debian13: {distribution: Debian 13, image: "debian:trixie-slim"}
stacks:
  cuda13.2: {cuda: "13.2", leader: torch==2.15.0, python: "3.13"}
  cuda13.0: {cuda: "13.0", leader: torch==2.13.0, python: "3.13"}
  cuda12.9: {cuda: "12.9", leader: "tensorflow[and-cuda]==2.21.0", python: "3.13"}
  cuda12.4: {cuda: "12.4", leader: torch==2.6.0, python: "3.11"}
  cuda11.7: {cuda: "11.7", leader: torch==1.13.1, python: "3.11"}
families:
  pytorch:
    framework: torch
    axes:
      version: [2.15.0, 2.13.0, 2.6.0, 1.13.1]
      accelerator: [cuda13.2, cuda13.0, cuda12.4, cuda11.7, cpu]
      python: ["3.11", "3.13"]
      os: [debian12, debian13]
      flavour: [runtime, compile]
    packages:
      cpu: ["torch=={version}+cpu"]
      cuda11: ["torch=={version}"]
      cuda12: ["torch=={version}"]
      cuda13: ["torch=={version}"]
    defaults: {python: "3.13", os: debian13}
    exclude:
      - {accelerator: cpu, version: [2.15.0, 2.6.0, 1.13.1], why: "one is enough"}
      - {python: "3.11", os: debian13, why: "Debian 12 has it"}
      - {python: "3.13", os: debian12, why: "Debian 13 has it"}
    aliases:
      latest: {version: 2.15.0, accelerator: cuda13.2, python: "3.13", flavour: runtime}
  tensorflow:
    framework: tensorflow
    axes:
      version: [2.21.0]
      accelerator: [cuda12.9, cpu]
      python: ["3.11", "3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["tensorflow-cpu=={version}"]
      cuda12: ["tensorflow[and-cuda]=={version}"]
  jax:
    framework: jax
    axes:
      version: [0.12.0.1]
      accelerator: [cuda13.2, cuda12.9, cpu]
      python: ["3.13"]
      os: [debian13]
      flavour: [runtime]
    packages:
      cpu: ["jax=={version}"]
      cuda12: ["jax[cuda12]=={version}"]
      cuda13: ["jax[cuda13]=={version}"]
"""
RESOLUTION = resolve(parse_matrix(MATRIX, "matrix.yaml"), FACTS)
ENGINE = RuleEngine(FACTS, rules(TODAY))


def stack_lock(name: str) -> Lock:
    package, version = CUDNNS[name.partition("-")[0]]
    return samples.lock(name, wheels=(samples.wheel(package, version),))


CATALOG = Catalog(
    cells=RESOLUTION.cells,
    lock_of=lambda _: None,
    is_locked=lambda cell: not cell.endswith("-devel"),
    stack_lock_of=stack_lock,
    aliases=RESOLUTION.aliases,
)


def request_for(*gpus: str, **fields: str) -> PickRequest:
    return PickRequest(gpus=tuple(map(FACTS.gpu, gpus)), **fields)  # type: ignore[arg-type]


def picked(*gpus: str, **fields: str) -> PickResult:
    return pick(CATALOG, request_for(*gpus, **fields), ENGINE)


def best(result: PickResult) -> tuple[str, str, str]:
    """Return the accelerator of the best image of each family, with `?` where it is doubtful."""
    of: dict[str, str] = {}
    for match in result.matches:
        of.setdefault(match.cell.family, f"{match.cell.accelerator}{'?' if match.doubts else ''}")
    return of.get("pytorch", "-"), of.get("tensorflow", "-"), of.get("jax", "-")


# GPU, driver -> the best of PyTorch (13.2: 2.15.0; 13.0: 2.13.0; 12.4: 2.6.0; 11.7: 1.13.1), of
# TensorFlow (12.9) and of JAX (13.2 and 12.9).
QUESTIONS = """
K80          -           | cuda11.7 - -
K80          470.82.01   | cuda11.7 - -
K80          535.104.05  | - - -
M60          -           | cuda12.4 - -
M60          580.65.06   | cuda12.4 - -
M60          590.44.01   | - - -
P100         535.104.05  | cuda12.4 - -
P100         525.60.13   | cuda12.4 - -
P100         450.80.02   | cuda11.7 - -
GTX_1080     570.86.10   | cuda12.4 - -
GTX_1080_Ti  595.45.04   | - - -
V100         -           | cuda12.4 - -
V100         580.65.06   | cuda12.4 - -
V100         525.60.13   | cuda12.4 - -
V100         525.60.11   | cuda11.7 - -
V100         450.80.02   | cuda11.7 - -
T4           -           | cuda13.2 cuda12.9 cuda13.2
T4           595.45.04   | cuda13.2 cuda12.9 cuda13.2
T4           580.65.06   | cuda13.2 cuda12.9 cuda12.9
T4           580.65.05   | cuda12.4 cuda12.9 cuda12.9
T4           535.104.05  | cuda12.4 cuda12.9 cuda12.9
T4           450.80.02   | cuda11.7 - -
T4           450.36.06   | - - -
T4           418.39      | - - -
RTX_2080_Ti  550.54.15   | cuda12.4 cuda12.9 cuda12.9
A100         -           | cuda13.2 cuda12.9 cuda13.2
A100         535         | cuda12.4 cuda12.9 cuda12.9
A100         515.65.01   | cuda11.7 - -
A100         470.57.02   | cuda11.7 - -
RTX_3090     560.35.03   | cuda12.4 cuda12.9 cuda12.9
A10          580.65.06   | cuda13.2 cuda12.9 cuda12.9
RTX_4090     -           | cuda13.2 cuda12.9 cuda13.2
RTX_4090     595.45.04   | cuda13.2 cuda12.9 cuda13.2
RTX_4090     590.44.01   | cuda13.2 cuda12.9 cuda12.9
RTX_4090     570.86.10   | cuda12.4 cuda12.9 cuda12.9
RTX_4090     520.61.05   | cuda11.7 - -
L4           535.104.05  | cuda12.4 cuda12.9 cuda12.9
L40S         550.54.15   | cuda12.4 cuda12.9 cuda12.9
H100         580.65.06   | cuda13.2 cuda12.9 cuda12.9
H100         570.86.10   | cuda12.4 cuda12.9 cuda12.9
H100         525.60.13   | cuda12.4 cuda12.9 cuda12.9
H100         520.61.05   | - - -
H200         580.159.03  | cuda13.2 cuda12.9 cuda12.9
B200         580.65.06   | cuda13.2 cuda12.9 cuda12.9
B200         570.86.10   | - cuda12.9 cuda12.9
RTX_5090     -           | cuda13.2 cuda12.9 cuda13.2
RTX_5090     580.65.06   | cuda13.2 cuda12.9 cuda12.9
RTX_5090     570.86.10   | - cuda12.9 cuda12.9
RTX_5090     550.54.15   | - - cuda12.9?
sm_89        580.65.06   | cuda13.2 cuda12.9 cuda12.9
sm_61        580.65.06   | cuda12.4 - -
8.6          -           | cuda13.2 cuda12.9 cuda13.2
NVIDIA_A100-SXM4-80GB 535 | cuda12.4 cuda12.9 cuda12.9
-            595.45.04   | cuda13.2 cuda12.9 cuda13.2
-            580.65.06   | cuda13.2 cuda12.9 cuda12.9
-            525.60.13   | cuda12.4 cuda12.9 cuda12.9
-            470.57.02   | cuda11.7 - -
-            440.33      | - - -
"""
ROWS = [line.replace("|", " ").split() for line in QUESTIONS.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_the_best_image_on_a_gpu_and_driver(row: list[str]) -> None:
    gpu, driver, *expected = row
    gpus = [gpu.replace("_", " ")] if gpu != "-" and not gpu.startswith("sm_") else []
    gpus = [gpu] if gpu.startswith("sm_") else gpus
    result = picked(*gpus, driver=driver.strip("-"))
    assert best(result) == tuple(expected)
    # Every requested cell has an answer, and each rejection a source.
    named = sum(len(rejection.cells) for rejection in result.rejections) + len(result.matches)
    assert named == sum(cell.is_cuda for cell in RESOLUTION.cells)
    assert all(rejection.reason.source for rejection in result.rejections)


# A GPU whose host is an ARM machine has nothing here, with CUDA or without: who says so.
@pytest.mark.parametrize(
    ("gpu", "source"),
    [
        ("GB10", "arm-learning-paths"),
        ("DGX Spark", "arm-learning-paths"),
        ("GH200", "nvidia-grace-cpu-platforms"),
        ("GB200", "nvidia-grace-cpu-platforms"),
        ("GB300", "nvidia-grace-cpu-platforms"),
        ("Jetson Nano", "cross-compiling"),
        ("Jetson Xavier NX", "cross-compiling"),
        ("Jetson AGX Orin", "cross-compiling"),
        ("Jetson Orin NX", "cross-compiling"),
        ("Jetson Orin Nano", "cross-compiling"),
        ("Jetson Thor", "cross-compiling"),
    ],
)
@pytest.mark.parametrize("driver", ["", "580.65.06"])
def test_on_a_host_of_another_machine_nothing_starts(gpu: str, driver: str, source: str) -> None:
    wanted = request_for(gpu, driver=driver)
    result = pick(CATALOG, wanted, ENGINE)
    assert result.matches == ()
    [rejection] = result.rejections
    assert len(rejection.cells) == len(RESOLUTION.cells)
    assert (rejection.reason.rule, rejection.reason.at) == ("gpu-host", "runtime")
    assert "aarch64 hosts only, and this is for x86_64" in rejection.reason.message
    assert source in rejection.reason.source
    assert advise(CATALOG, wanted, ENGINE) == ()
    assert nothing_text(result, wanted) == NONE_FOR_AARCH64


def test_a_host_that_nobody_confirmed_only_warns() -> None:
    result = picked("T4G")
    assert {doubt.rule for match in result.matches for doubt in match.doubts} == {"gpu-host"}


def test_beside_a_gpu_of_another_host_the_rest_is_kept_to() -> None:
    result = picked("T4", "GB10", python="3.11", family="pytorch")
    assert best(result) == ("-", "-", "-")
    assert {(rejection.on, rejection.reason.rule) for rejection in result.rejections} == {
        ("GB10", "gpu-host")
    }
    assert {cell.accelerator for rejection in result.rejections for cell in rejection.cells} >= {
        "cpu",
        "cuda13.2",
    }
    assert {(c.family, c.python) for rejection in result.rejections for c in rejection.cells} == {
        ("pytorch", "3.11")
    }
    advised = changes(request_for("T4", "GB10", family="pytorch"))
    assert advised == [("use only the T4", "pytorch-2.15.0-cuda13.2-py3.13-debian13")]


def on_machine(request: PickRequest, machine: LocalMachine) -> PickRequest:
    return request_on_machine(request, machine, FACTS, TODAY, Context.of({}, log))


def test_only_the_machine_that_speaks_against_an_image_is_named() -> None:
    completed = on_machine(request_for("GB10"), LocalMachine(gpus=(), arch="x86_64"))
    assert completed.arch == "x86_64"
    result = pick(CATALOG, completed, ENGINE)
    assert nothing_text(result, completed) == NONE_FOR_AARCH64


@pytest.mark.parametrize("without_gpu", [False, True])
def test_on_this_machine_nothing_starts_that_is_for_another(without_gpu: bool) -> None:  # noqa: FBT001
    gpus = () if without_gpu else (DetectedGpu(name="NVIDIA A100", capability="8.0"),)
    for arch, runs in (("aarch64", False), ("x86_64", True), ("", True)):
        completed = on_machine(PickRequest(), LocalMachine(gpus=gpus, arch=arch))
        result = pick(CATALOG, completed, ENGINE)
        assert bool(result.matches) is runs
        if not runs:
            cells = RESOLUTION.cells
            count = sum(not cell.is_cuda for cell in cells) if without_gpu else len(cells)
            [rejection] = result.rejections
            assert (len(rejection.cells), rejection.reason.rule) == (count, "this-machine")
            assert rejection.reason.message == "this machine is aarch64, and this is for x86_64"
            assert advise(CATALOG, completed, ENGINE) == ()
            assert nothing_text(result, completed) == NONE_FOR_AARCH64


def ids(result: PickResult) -> list[str]:
    return [match.cell.id for match in result.matches]


def test_the_runtime_of_the_newest_comes_first_with_the_default_python() -> None:
    result = ids(picked("T4", family="pytorch"))
    assert result[:5] == [
        "pytorch-2.15.0-cuda13.2-py3.13-debian13",
        "pytorch-2.15.0-cuda13.2-py3.11-debian12",
        "pytorch-2.15.0-cuda13.2-py3.13-debian13-compile",
        "pytorch-2.15.0-cuda13.2-py3.11-debian12-compile",
        "pytorch-2.13.0-cuda13.0-py3.13-debian13",
    ]


def test_a_python_is_kept_to() -> None:
    result = picked("T4", python="3.11")
    assert {match.cell.python for match in result.matches} == {"3.11"}
    assert best(result) == ("cuda13.2", "cuda12.9", "-")


def test_several_gpus_need_an_image_for_all_of_them() -> None:
    assert best(picked("T4", "RTX 5090", driver="580.65.06")) == (
        "cuda13.2",
        "cuda12.9",
        "cuda12.9",
    )
    result = picked("GTX 1080", "RTX 5090", driver="580.65.06")
    assert best(result) == ("-", "-", "-")
    assert {rejection.on for rejection in result.rejections} == {"GTX 1080", "RTX 5090"}
    assert changes(request_for("GTX 1080", "RTX 5090", driver="580.65.06"))[:2] == [
        ("use only the GTX 1080", "pytorch-2.6.0-cuda12.4-py3.13-debian13"),
        ("use only the RTX 5090", "pytorch-2.15.0-cuda13.2-py3.13-debian13"),
    ]


def test_a_match_is_code_for_the_chip_or_its_kind_or_ptx() -> None:
    matches = {match.cell.family: match for match in picked("RTX 5090", driver="580.65.06").matches}
    assert (matches["tensorflow"].match, matches["tensorflow"].code) == (PTX, ("compute_90",))
    assert (matches["jax"].match, matches["jax"].code) == (EXACT, ("sm_120",))
    torch = picked("RTX 4090", driver="580.65.06", family="pytorch").matches[0]
    assert (torch.match, torch.code, torch.native) == (MAJOR, ("sm_86",), False)


def test_without_anything_asked_all_images_are_there() -> None:
    result = picked()
    assert len(result.matches) == len(RESOLUTION.cells)
    assert result.rejections == ()


def test_without_a_gpu_the_cpu_images_are_the_answer() -> None:
    result = pick(CATALOG, PickRequest(without_gpu=True), ENGINE)
    assert {match.cell.accelerator for match in result.matches} == {"cpu"}
    assert [match.cell.family for match in result.matches if match.cell.python == "3.13"] == [
        *["pytorch"] * 2,
        "tensorflow",
        "jax",
    ]


def changes(pick_request: PickRequest) -> list[tuple[str, str]]:
    advised: tuple[Advice, ...] = advise(CATALOG, pick_request, ENGINE)
    return [(each.change, each.cell.id) for each in advised]


def test_what_to_change_is_the_least_driver_that_would_do() -> None:
    assert changes(request_for("T4", driver="418.39")) == [
        ("update the driver to 450.80.02 or newer", "pytorch-1.13.1-cuda11.7-py3.11-debian12"),
        ("do without the GPU", "pytorch-2.13.0-cpu-py3.13-debian13"),
    ]
    assert changes(request_for("T4", driver="535.104.05", family="jax", python="3.11")) == [
        ("take Python 3.13", "jax-0.12.0.1-cuda12.9-py3.13-debian13"),
        ("take pytorch", "pytorch-2.6.0-cuda12.4-py3.11-debian12"),
    ]


def test_no_driver_is_advised_that_no_longer_drives_the_gpu() -> None:
    advised = changes(request_for("GTX 1080", driver="450.36.06", family="jax"))
    assert [change for change, _ in advised] == ["do without the GPU"]


def test_what_is_doubtful_is_not_advised() -> None:
    advised = changes(request_for("RTX 5090", driver="550.54.15", family="pytorch"))
    assert (
        "update the driver to 580.65.06 or newer",
        "pytorch-2.15.0-cuda13.2-py3.13-debian13",
    ) in advised
    assert not [change for change, _ in advised if change == "take jax"]


def test_this_machine_fills_what_was_left_open() -> None:
    machine = LocalMachine(
        gpus=(DetectedGpu(name="NVIDIA GeForce RTX 4090", capability="8.9"),), driver="580.65.06"
    )
    completed = on_machine(PickRequest(), machine)
    assert [(gpu.name, gpu.kind) for gpu in completed.gpus] == [("RTX 4090", "consumer")]
    assert (completed.driver, completed.without_gpu) == ("580.65.06", False)
    wanted = on_machine(request_for("T4", driver="470.57.02"), machine)
    assert [gpu.name for gpu in wanted.gpus] == ["T4"]
    assert wanted.driver == "470.57.02"


def test_a_gpu_of_no_row_is_taken_by_its_architecture() -> None:
    machine = LocalMachine(
        gpus=(DetectedGpu(name="NVIDIA Whatever 1", capability="8.9"),), driver="580.65.06"
    )
    completed = on_machine(PickRequest(), machine)
    assert [(gpu.name, gpu.sm) for gpu in completed.gpus] == [("NVIDIA Whatever 1", "sm_89")]
    assert best(pick(CATALOG, completed, ENGINE)) == ("cuda13.2", "cuda12.9", "cuda12.9")


def test_a_gpu_newer_than_all_facts_is_judged_all_the_same() -> None:
    machine = LocalMachine(
        gpus=(DetectedGpu(name="NVIDIA X", capability="99.0"),), driver="580.65.06"
    )
    completed = on_machine(PickRequest(), machine)
    assert [gpu.sm for gpu in completed.gpus] == ["sm_990"]
    pick(CATALOG, completed, ENGINE)


def test_a_machine_without_a_gpu_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    machine = LocalMachine(findings=(Problem(message="no NVIDIA GPU", hint="buy one"),))
    completed = on_machine(PickRequest(), machine)
    assert completed.without_gpu
    message = capsys.readouterr().err
    assert "no NVIDIA GPU" in message
    assert "images for the CPU" in message


def ran(*arguments: str, project: Path = ROOT) -> tuple[int, str, str]:
    """The command on the matrix of a project: code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["--matrix", str(project / "matrix.yaml"), "pick", *arguments])
    return code, out.getvalue(), err.getvalue()


def test_the_command_names_tags() -> None:
    code, out, err = ran("--gpu", "RTX 4090", "--driver", "580.65.06")
    assert code == 0
    first = out.splitlines()[1]
    assert first.startswith("dlimg/pytorch:")
    assert "-cudnn" in first
    assert "requested: RTX 4090 (sm_89), driver 580.65.06" in err


def test_the_command_says_why_and_what_to_change() -> None:
    code, out, err = ran("--gpu", "T4", "--driver", "418.39")
    assert code == 1
    assert out.startswith("rejected images\treason\tsource\n")
    assert "is too old" in out
    assert "update the driver to" in err


def test_the_command_as_data() -> None:
    code, out, _ = ran("jax", "--gpu", "H100", "--driver", "570.86.10", "--format", "json")
    assert code == 0
    result = json.loads(out)
    assert result["asked"]["gpus"] == [{"name": "H100", "architecture": "sm_90"}]
    assert result["runs"][0]["code"] == "exact"
    assert result["runs"][0]["native_driver"] is False
    assert {entry["rule"] for entry in result["does_not_run"]} == {"driver-cuda"}
    assert all(entry["source"] for entry in result["does_not_run"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torc"], "did you mean 'pytorch'?"),
        (["--gpu", "RTX 490"], "did you mean 'RTX 4090'?"),
        (["--driver", "new"], "'new' is no driver"),
        (["--python", "3.99"], "no facts about Python 3.99"),
    ],
)
def test_a_bad_question_has_the_nearest_right_one(arguments: list[str], message: str) -> None:
    code, out, err = ran(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_here_is_answered_on_any_machine() -> None:
    code, out, _ = ran("--here", "--format", "json")
    assert code in (0, 1)
    result = json.loads(out)
    assert result["here"]["gpus"] or result["here"]["findings"]
    assert result["asked"]["without_gpu"] is not bool(result["asked"]["gpus"])


def test_an_image_that_was_tested_is_named_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    wanted = ("jax", "--gpu", "T4", "--driver", "535.104.05", "--format", "json")
    cell = json.loads(ran(*wanted)[1])["runs"][0]["cell"]
    gpus = {"gpus": [{"uuid": "GPU-1", "name": "Tesla T4", "driver": "535.104.05"}]}
    passed = Verdict(
        check="nvidia_smi",
        sha256="0" * 64,
        status=CheckStatus.PASSED,
        reason="",
        seconds=1.0,
        needs=frozenset({"gpu"}),
        figures=gpus,
    )
    evidence = Evidence(
        digest=f"sha256:{'a' * 64}",
        cell=cell,
        device="nvidia.com/gpu=all",
        day="2026-11-20",
        dlimg="0.1",
        engine="28.5",
        verdicts=(passed,),
    )
    write_evidence(
        evidence_folder(Context.of({"XDG_STATE_HOME": str(tmp_path)}, print)), evidence, log=print
    )
    first, *others = json.loads(ran(*wanted)[1])["runs"]
    assert first["tested"].endswith("tested on Tesla T4, driver 535.104.05, 2026-11-20")
    assert {entry["tested"] for entry in others} == {None}
    table = ran(*wanted[:-2])[1].splitlines()
    assert table[0] == "image\truns with\ttested"
    # In a project that has not locked the cell, its image was never tested.
    (tmp_path / "matrix.yaml").write_text((ROOT / "matrix.yaml").read_text())
    unlocked = json.loads(ran(*wanted, project=tmp_path)[1])["runs"]
    assert cell in {entry["cell"] for entry in unlocked}
    assert {entry["tested"] for entry in unlocked} == {None}


def test_an_old_environment_is_answered_with_what_is_left_of_it() -> None:
    code, out, err = ran("tensorflow-1.0")
    assert code == 1
    assert "base-image" in out
    assert "What works, least change first" in out
    assert "replaces it" in err
    assert "dlimg/tensorflow:" in err
    code, out, _ = ran("tensorflow-1.0", "--format", "json")
    assert code == 1
    assert json.loads(out)["replaced_by"].startswith("dlimg/tensorflow:")


def test_of_a_family_without_facts_no_gpu_is_promised() -> None:
    cell = samples.cell("rapids", "26.6.0", accelerator="cuda13.2", package="cudf-cu13")
    catalog = replace(CATALOG, cells=(cell,))
    (match,) = pick(catalog, request_for("A100", driver="580"), ENGINE).matches
    assert [doubt.message for doubt in match.doubts] == [
        "no facts about cudf-cu13 26.6.0: it may have no code for this GPU"
    ]
    (match,) = pick(catalog, request_for(), ENGINE).matches
    assert match.doubts == ()
    both = replace(CATALOG, cells=(cell, *CATALOG.cells))
    assert "rapids" not in {entry.family for entry in pick_table(both, ENGINE)}


def test_what_has_no_lock_comes_last() -> None:
    for result in (picked("RTX 4090"), picked("H100", driver="580.65.06"), picked()):
        for family in {match.cell.family for match in result.matches}:
            locked = [
                CATALOG.is_locked(f.cell.id) for f in result.matches if f.cell.family == family
            ]
            assert locked == sorted(locked, reverse=True)


@pytest.mark.parametrize(
    ("name", "versions"),
    [("torch==2.13.0", {"2.13.0"}), ("pytorch<2.10", {"2.9.1", "2.7.1", "2.0.1"})],
)
def test_of_a_framework_only_the_versions_that_are_named(name: str, versions: set[str]) -> None:
    code, out, _ = ran(name, "--format", "json")
    answer = json.loads(out)
    tags = {entry["image"].partition(":")[2] for entry in answer["runs"]}
    assert code == 0
    assert {tag.partition("-")[0] for tag in tags if tag} == versions
    assert answer["asked"]["family"] == "pytorch"


def test_a_version_without_an_image_has_the_nearest_and_the_way_to_add_it() -> None:
    code, _, err = ran("torch==2.9.0")
    assert code == 1
    assert "No image in this matrix has pytorch==2.9.0" in err
    assert "take torch 2.15.0: then dlimg/pytorch:2.15.0" in err
    assert "`dlimg why 'pytorch==2.9.0'`" in err
    code, _, err = ran("torch=2")
    assert code == 2
    assert "not a specifier of versions: =2" in err
