"""The check scripts on this machine's GPU, by the frameworks of `DLIMG_GPU_PYTHON`.

Without that variable the frameworks are those beside pytest.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not any(Path("/dev").glob("nvidia[0-9]*")), reason="this machine has no NVIDIA GPU"
    ),
]

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
PYTHON = os.environ.get("DLIMG_GPU_PYTHON", sys.executable)
MODULES = {"pytorch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
HIDDEN = {"CUDA_VISIBLE_DEVICES": "-1"}
FAILED, NOT_RUN = 1, 77
# What a machine with one GPU, or without a compiler, cannot do.
SPARE = {"nccl_all_reduce", "compiled_step"}


def run(script: str, family: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    if family:
        environment["DLIMG_CELL"] = json.dumps({"framework": family})
    return subprocess.run(
        [PYTHON, str(IMAGES / "common/checks" / f"{script}.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DLIMG_GPU": "expected", **environment},
    )


def passed(script: str, family: str = "") -> dict[str, object]:
    """The figures of a check that passes."""
    done = run(script, family)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(params=MODULES)
def family(request: pytest.FixtureRequest) -> str:
    """A family whose framework is installed."""
    module = MODULES[request.param]
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    if subprocess.run([PYTHON, "-c", code], check=False).returncode:
        pytest.skip(f"{PYTHON} has no {module}")
    return str(request.param)


def test_nvidia_smi_passes() -> None:
    assert passed("nvidia_smi")["gpus"]


def test_an_nvidia_smi_that_lies_fails(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU-0, NVIDIA GeForce 256, 1.0, 1.0, 32'\n")
    program.chmod(0o755)
    done = run("nvidia_smi", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == FAILED
    assert "NVML" in done.stderr.splitlines()[-1]


def test_the_gpu_is_available(family: str) -> None:
    assert passed("is_gpu_available", family)["device"]


def test_training_on_the_gpu_agrees(family: str) -> None:
    figures = passed("conv_training", family)
    losses = figures["losses"]
    assert isinstance(losses, dict)
    assert set(losses) == {"cpu", "gpu"}
    assert figures["cudnn"]


WORK = ("matrix_product", "cudnn_is_used", "mixed_precision", "gpu_memory_released", "benchmark")


@pytest.mark.parametrize("name", WORK)
def test_work_on_the_gpu_passes(family: str, name: str) -> None:
    assert passed(name, family)


def test_a_compiled_step_agrees_on_the_gpu(family: str) -> None:
    if family == "pytorch" and not shutil.which("cc"):
        pytest.skip("torch.compile needs a C compiler")
    assert passed("compiled_step", family)["device"] != "cpu"


def test_nccl_adds_up_where_there_are_two_gpus(family: str) -> None:
    if len(list(Path("/dev").glob("nvidia[0-9]*"))) > 1:
        assert passed("nccl_all_reduce", family)["joined"]
    else:
        assert run("nccl_all_reduce", family).returncode == NOT_RUN


@pytest.mark.parametrize("name", ["is_gpu_available", "conv_training", *WORK, "compiled_step"])
def test_with_the_gpu_hidden_nothing_passes(family: str, name: str) -> None:
    done = run(name, family, **HIDDEN)
    assert done.returncode == FAILED, done.stderr


def dlimg(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of dlimg's on this machine, in the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", "dlimg", *arguments, "--python", PYTHON, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(state), **environment},
    )


def test_a_bare_machine_passes_and_its_evidence_says_so(family: str, tmp_path: Path) -> None:
    done = dlimg(tmp_path, "test", "--on-host", family)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)[0]
    output = {check["check"]: check["status"] for check in answer["checks"]}
    assert {name for name, status in output.items() if status != "passed"} <= SPARE
    assert output.keys() >= {"nvidia_smi", "is_gpu_available", "conv_training", *WORK}
    record = json.loads((tmp_path / f"dlimg/evidence/host-{family}.json").read_text())
    assert [(device["device"], device["on_host"]) for device in record["devices"]] == [
        ("host", family)
    ]


def test_a_bare_machine_with_its_gpu_hidden_does_not_pass(family: str, tmp_path: Path) -> None:
    done = dlimg(tmp_path, "test", "--on-host", family, **HIDDEN)
    assert done.returncode == FAILED
    needing = {
        path.stem
        for path in IMAGES.glob("*/checks/*.py")
        if " gpu" in path.read_text().partition("\nneeds:")[2].partition("\n")[0]
    }
    # The driver's own programs see a GPU that is hidden from frameworks only.
    for check in json.loads(done.stdout)[0]["checks"]:
        if check["check"] in needing - {"nvidia_smi"}:
            assert check["status"] != "passed", check


def test_the_gpu_is_measured(family: str, tmp_path: Path) -> None:
    done = dlimg(tmp_path, "bench-gpu", "--on-host", family)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)[0]
    assert answer["gpus"]
    assert answer["benchmark"]["milliseconds"].keys() == {"cpu", "float32", "tf32", "bfloat16"}
    assert not (tmp_path / "dlimg").exists()
