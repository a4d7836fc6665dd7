"""What the benchmark measured, shown; and that a part of the checks never counts as all."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlimg import image_files
from dlimg.cli import bench_gpu
from dlimg.cli.main import main
from dlimg.errors import NoEngine
from dlimg.model import CheckStatus, Evidence, Host, Image, Verdict
from dlimg.pipeline.run import Run
from dlimg.report.bench import bench_json, bench_rows, bench_text
from dlimg.results import ImageResult
from tests.support.check_scripts import COMMON, no_gpu_here

GPU = {"name": "NVIDIA H200", "uuid": "1", "driver": "580.159", "capability": "9.0", "memory": 9}
PLACES = ("cpu", "float32", "tf32", "bfloat16")
FIGURES: dict[str, Any] = {
    "milliseconds": dict(zip(PLACES, (6.902, 0.02451, 0.004, 0.00225), strict=True)),
    "gflops": dict(zip(PLACES, (175.0, 49290.0, 302000.0, 537000.0), strict=True)),
    "ratios": dict(zip(PLACES[1:], (281.6, 1726.0, 3068.0), strict=True)),
    "deviations": dict(zip(PLACES[1:], (0.0, 0.00161234567, 0.0184), strict=True)),
    "copy_gb_per_second": 4021.5,
}


def verdict(
    check: str, status: CheckStatus, figures: Mapping[str, Any], reason: str = ""
) -> Verdict:
    return Verdict(
        check=check,
        sha256="1",
        status=status,
        reason=reason,
        seconds=1.0,
        figures=figures,
        needs=frozenset({"gpu"}),
    )


def evidence(*verdicts: Verdict) -> Evidence:
    return Evidence(
        digest="",
        cell="host-pytorch-2.15.0-py3.13",
        device="host",
        day="2026-11-21",
        dlimg="0.1",
        engine="",
        verdicts=verdicts,
        host=Host(processor="Xeon", cores=16),
        on_host="pytorch",
    )


SEEN = verdict("nvidia_smi", CheckStatus.PASSED, {"gpus": [GPU]})
UNSEEN = verdict("nvidia_smi", CheckStatus.NOT_RUN, {}, "no GPU here")
UNMEASURED = verdict("benchmark", CheckStatus.NOT_RUN, {}, "no GPU here")


def test_a_row_for_each_place_and_precision() -> None:
    rows = bench_rows(evidence(SEEN, verdict("benchmark", CheckStatus.PASSED, FIGURES)))
    gpu = "NVIDIA H200, driver 580.159, 9 MiB, compute capability 9.0"
    assert {row[0] for row in rows} == {"host-pytorch-2.15.0-py3.13"}
    assert [row[1:] for row in rows] == [
        ("Xeon, 16 cores", "float32", "6.902", "175 GFLOP/s", "1", "-"),
        (gpu, "float32", "0.02451", "49,290 GFLOP/s", "281.6", "0"),
        (gpu, "tf32", "0.004", "302,000 GFLOP/s", "1726", "0.001612"),
        (gpu, "bfloat16", "0.00225", "537,000 GFLOP/s", "3068", "0.0184"),
        (gpu, "copy", "-", "4,022 GB/s", "-", "-"),
    ]


def test_a_wrong_result_has_its_figures_and_its_reason() -> None:
    failed = verdict("benchmark", CheckStatus.FAILED, FIGURES, "float32: off the CPU's convolution")
    given = evidence(SEEN, failed)
    assert len(bench_rows(given)) == 5
    assert "benchmark failed: float32: off" in bench_text(given)
    assert bench_json(given)["outcome"] == "failed"


def test_where_nothing_was_measured_no_number_is_shown() -> None:
    given = evidence(UNSEEN, UNMEASURED)
    assert [row[1:] for row in bench_rows(given)] == [("no GPU", "not-run", "-", "-", "-", "-")]
    assert "no GPU here, so nothing was measured" in bench_text(given)
    result = bench_json(given)
    assert (result["benchmark"], result["gpus"], result["outcome"]) == (None, [], "not-run")


@pytest.mark.parametrize(
    "figures",
    [
        {"milliseconds": 3},
        {"milliseconds": {"cpu": "fast"}, "gflops": [], "ratios": None},
        {"milliseconds": {"cpu": True, "tf32": None}, "copy_gb_per_second": "much"},
    ],
)
def test_garbage_in_figures_is_no_number(figures: Mapping[str, Any]) -> None:
    odd = verdict("nvidia_smi", CheckStatus.PASSED, {"gpus": [GPU, "what", {"name": 3}]})
    rows = bench_rows(evidence(odd, verdict("benchmark", CheckStatus.PASSED, figures)))
    assert {row[3:5] for row in rows} == {("-", "-")}


SCRIPT = '''"""It proves a thing.

needs: gpu
seconds: 60
applies: cuda
"""
import json
print(json.dumps({figures}))
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a family whose framework every Python has, on a machine with an H200."""
    common, family = (tmp_path / "images" / name / "checks" for name in ("common", "fake"))
    family.mkdir(parents=True)
    common.mkdir(parents=True)
    (family.parent / "framework.py").write_text('NAME = "framework 1.2"\n')
    text = (COMMON / "_gpu.py").read_text()
    gpu = "Gpu('1', 'NVIDIA H200', '580.159', '9.0', 9)"
    (common / "_gpu.py").write_text(f"{text}\nlook = lambda: Sight([{gpu}], [], '')\n")
    for name in ("_adapter", "_tag", "_verdict"):
        shutil.copy(COMMON / f"{name}.py", common)
    for folder, name, figures in (
        (common, "nvidia_smi", {"gpus": [GPU]}),
        (family, "benchmark", FIGURES),
        (family, "trains", {}),
    ):
        (folder / f"{name}.py").write_text(SCRIPT.replace("{figures}", repr(figures)))
    (tmp_path / "matrix.yaml").touch()
    # Real checks need a real framework: these are all that there are.
    monkeypatch.setattr(image_files, "shipped_root", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@no_gpu_here
def test_a_bare_machine_is_measured_and_no_evidence_kept(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--on-host", "fake", "--python", sys.executable]
    assert main(["test", *arguments]) == 0
    kept = (project / "state/dlimg/evidence/host-fake.json").read_bytes()
    capsys.readouterr()
    assert main(["bench-gpu", *arguments, "--format", "json", "--report", "bench.md"]) == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)[0]
    assert answer["benchmark"] == FIGURES
    assert answer["gpus"] == [GPU]
    assert "trains" not in printed.err
    assert (project / "state/dlimg/evidence/host-fake.json").read_bytes() == kept
    assert "NVIDIA H200, driver 580.159" in (project / "bench.md").read_text()
    assert main(["bench-gpu", *arguments]) == 0
    assert "302,000 GFLOP/s" in capsys.readouterr().out


def test_without_its_check_nothing_is_measured(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "images/fake/checks/benchmark.py").unlink()
    assert main(["bench-gpu", "--on-host", "fake", "--python", sys.executable]) == 2
    assert "fake has no check benchmark" in capsys.readouterr().err


ROOT = Path(__file__).parents[3]


class FakeRun:
    """A stand-in for `run_images` that records its settings and returns these results."""

    def __init__(self, *results: ImageResult) -> None:
        self.results = list(results)
        self.runs: list[Run] = []

    def __call__(self, run: Run, _images: Sequence[Image]) -> tuple[list[ImageResult], None]:
        self.runs.append(run)
        return self.results, None


def test_images_are_measured_by_a_test_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    fake_run = FakeRun(
        ImageResult(evidence=evidence(UNSEEN, UNMEASURED)), ImageResult(error=NoEngine("none"))
    )
    monkeypatch.setattr(bench_gpu, "run_images", fake_run)
    assert main(["bench-gpu", "jax-*-debian13", "--device", "nvidia"]) == 3
    (run,) = fake_run.runs
    assert run.test
    assert run.test.device == "nvidia"
    assert run.build.cells.patterns
    assert all("-cuda" in pattern for pattern in run.build.cells.patterns)
    assert run.test.only == {"nvidia_smi", "benchmark"}
    assert not run.test.evidence.exists()
    printed = capsys.readouterr()
    assert "no GPU" in printed.out
    assert "none" in printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "bench-gpu takes images, or --on-host and a family"),
        ([], "dlimg bench-gpu --on-host pytorch"),
        (["jax-*-cpu-*"], "no chosen cell uses a GPU"),
        (["--on-host", "jax", "jax-*"], "--on-host goes with no PATTERN"),
        (["--on-host", "jax", "--device", "nvidia"], "--on-host goes with no --device"),
        (["--python", "python3"], "--python is for --on-host"),
    ],
)
def test_wrong_options_of_bench_gpu_are_refused(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["bench-gpu", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_own_checks_are_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench-gpu", "--on-host", "jax", "--checks", "mine"])
    assert ended.value.code == 2
    assert "--checks" in capsys.readouterr().err
