"""The real checks in a real image: each of them fails when the image or its tag is spoilt.

`judged` takes it that a GPU was given: no verdict is not-run because the runner says so.
"""
# ruff: noqa: S108  # the folders are in a container

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from dlimg.checks import run
from dlimg.checks.discover import checks_for
from dlimg.checks.execute import RunningContainer
from dlimg.checks.inputs import cell_json
from dlimg.checks.run import CheckSettings
from dlimg.checks.verdicts import exit_code_of, is_gpu_tested, outcome_of
from dlimg.engine.client import Engine
from dlimg.model import BuiltImage, CheckStatus, Evidence, Verdict
from tests.support import samples
from tests.support.image_folders import checks_in, files_in
from tests.support.real_jax import (
    CUDA_CELL,
    IMAGES,
    PACKAGES,
    Edit,
    check_verdict,
    image,
    spoilt_container,
)
from tests.support.sabotage import CUDNN, RELU_IS_GONE, STALE, installed

pytestmark = pytest.mark.engine

GPU_CHECKS = ("nvidia_smi", "is_gpu_available", "conv_training")
CHECKS = (*GPU_CHECKS, "tag_matches_image", "pip_check")

ROUNDED = f"""cd {PACKAGES}/jax/lax; {STALE}; cat >> __init__.py <<'END'

exact = conv_general_dilated

def conv_general_dilated(*all):
    # To 11 binary digits, as TF32 rounds.
    return exact(*(array.astype("float16").astype("float32") for array in all[:2]), *all[2:])
END"""


@pytest.fixture(scope="module")
def built(jax_image: BuiltImage) -> BuiltImage:
    return jax_image


@pytest.fixture(scope="module")
def cuda(built: BuiltImage) -> BuiltImage:
    """The same image under the tag of a CUDA image."""
    return replace(built, planned=samples.planned(image(CUDA_CELL)))


@pytest.fixture(scope="module")
def container(engine: Engine, built: BuiltImage) -> Iterator[RunningContainer]:
    """A container of the image as it is, with things that claim to be NVIDIA's aside."""
    script = """
mkdir /tmp/liar /tmp/empty /tmp/nvml
echo 'echo GPU-1, NVIDIA H200, 580.159, 9.0, 143771' > /tmp/liar/nvidia-smi
echo 'echo No devices were found; exit 6' > /tmp/empty/nvidia-smi
sed -i '1i#!/bin/sh' /tmp/*/nvidia-smi
chmod 755 /tmp/*/nvidia-smi
echo 'no library' > /tmp/nvml/libnvidia-ml.so.1
"""
    with spoilt_container(engine, built, script) as container:
        yield container


def evidence_of(engine: Engine, of: BuiltImage, folder: Path) -> Evidence:
    """What comes of the checks of this file, run as `dlimg test` runs them."""
    checks = [
        check
        for check in checks_for(of.planned.image.cell, checks_in(IMAGES))
        if check.name in CHECKS
    ]
    using = CheckSettings(evidence=folder, log=print)
    return run.run_checks(of, checks, engine, device=None, images=files_in(IMAGES), settings=using)


def test_the_unchanged_image_passes_every_check(
    engine: Engine, built: BuiltImage, tmp_path: Path
) -> None:
    verdicts = evidence_of(engine, built, tmp_path).verdicts
    assert {verdict.check: verdict.status for verdict in verdicts} == {
        "pip_check": CheckStatus.PASSED,
        "conv_training": CheckStatus.PASSED,
        "tag_matches_image": CheckStatus.PASSED,
    }, verdicts


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            "echo 'import os; os._exit(0)' > /etc/python3.13/sitecustomize.py", id="start"
        ),
        pytest.param(
            "ln -sf /bin/true $(command -v python)", marks=pytest.mark.sabotage, id="python"
        ),
        pytest.param("ln -sf /bin/true /usr/bin/timeout", marks=pytest.mark.sabotage, id="timeout"),
        pytest.param(
            f"cd {PACKAGES}/jax; {STALE}; echo 'raise SystemExit' > __init__.py", id="jax"
        ),
    ],
)
def test_an_image_that_ends_everything_with_0_passes_nothing(
    engine: Engine, built: BuiltImage, script: str
) -> None:
    with spoilt_container(engine, built, script) as container:
        verdict = check_verdict(container, built, "conv_training")
    assert verdict.status is CheckStatus.FAILED, verdict


SHARED, TRAINING = "common/checks/_convolution.py", "jax/framework.py"


TRAININGS = [
    ((SHARED, "RATE = 0.1\n", "RATE = 0.0\n"), "which is no fall by a factor of 10"),
    ((TRAINING, "jax.nn.relu(convolved)", "convolved"), "cpu: logits off the reference"),
]
MORE_TRAININGS = [
    ((SHARED, "FALL = 10.0 ", "FALL = 1e9 "), "which is no fall by a factor of 1e+09"),
    ((SHARED, "range(STEPS)", "range(STEPS - 1)"), "cpu: 30 losses"),
    ((SHARED, "LOGITS = 1e-4 ", "LOGITS = 1e-9 "), "cpu: logits off the reference"),
    ((SHARED, "mean(axis=(2, 4))", "max(axis=(2, 4))"), "cpu: logits off the reference"),
    ((SHARED, "np.mean(norm", "1.001 * np.mean(norm"), "cpu: first loss off the reference"),
    ((SHARED, "tuple(map(to_numpy, weights))", "first[1]"), "cpu: last loss off"),
    ((TRAINING, "-chosen.mean()", "-chosen.mean() * jnp.nan"), "the loss went from nan to nan"),
    ((TRAINING, "labels[:, None]", "3 - labels[:, None]"), "cpu: first loss off"),
    (
        (TRAINING, "loss, gradients\n", "loss, [1.01 * slope for slope in gradients]\n"),
        "cpu: gradient off the reference",
    ),
]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [*TRAININGS, *(pytest.param(*row, marks=pytest.mark.sabotage) for row in MORE_TRAININGS)],
    ids=lambda value: value[2] if isinstance(value, tuple) else "",
)
def test_a_training_that_is_spoilt_fails(
    edit: Edit, reason: str, container: RunningContainer, built: BuiltImage
) -> None:
    verdict = check_verdict(container, built, "conv_training", edit)
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason


@pytest.mark.sabotage
@pytest.mark.parametrize("script", [RELU_IS_GONE, ROUNDED], ids=["no relu", "rounded"])
def test_a_framework_that_computes_something_else_fails(
    script: str, engine: Engine, built: BuiltImage
) -> None:
    with spoilt_container(engine, built, script) as container:
        verdict = check_verdict(container, built, "conv_training")
    assert verdict.status is CheckStatus.FAILED
    assert "cpu: logits off the reference" in verdict.reason


NO_DRIVER = "there is no libnvidia-ml.so.1"


@pytest.mark.parametrize("name", GPU_CHECKS)
@pytest.mark.parametrize(
    ("environment", "status", "reason"),
    [
        ({}, CheckStatus.NOT_RUN, f"no GPU here: no /dev/nvidia0, and {NO_DRIVER}"),
        pytest.param(
            {"LD_LIBRARY_PATH": "/tmp/nvml"},
            CheckStatus.NOT_RUN,
            "no GPU here: no /dev/nvidia0, and libnvidia-ml.so.1 does not load",
            marks=pytest.mark.sabotage,
        ),
        (
            {"DLIMG_GPU": "expected"},
            CheckStatus.FAILED,
            f"a GPU was handed to this container, but {NO_DRIVER}",
        ),
        pytest.param(
            {"DLIMG_GPU": "expected", "CUDA_VISIBLE_DEVICES": "-1"},
            CheckStatus.FAILED,
            f"a GPU was handed to this container, but {NO_DRIVER}",
            marks=pytest.mark.sabotage,
        ),
        pytest.param(
            {"DLIMG_GPU": "expected", "LD_LIBRARY_PATH": "/tmp/nvml"},
            CheckStatus.FAILED,
            "a GPU was handed to this container, but libnvidia-ml.so.1 does not load",
            marks=pytest.mark.sabotage,
        ),
    ],
    ids=str,
)
def test_without_a_gpu_no_gpu_check_passes(
    name: str,
    environment: dict[str, str],
    status: CheckStatus,
    reason: str,
    container: RunningContainer,
    cuda: BuiltImage,
) -> None:
    verdict = as_on_gpu(container, cuda, name, **environment)
    assert verdict.status is status
    assert reason in verdict.reason
    assert verdict.figures == {}


def as_on_gpu(
    container: RunningContainer, cuda: BuiltImage, name: str, *edits: Edit, **environment: str
) -> Verdict:
    """What a check says in a CPU image that passes itself off as one for CUDA."""
    return check_verdict(
        container, cuda, name, *edits, DLIMG_CELL=cell_json(cuda.planned), **environment
    )


@pytest.mark.parametrize(
    ("program", "handed", "status", "reason"),
    [
        ("liar", "none", CheckStatus.FAILED, f"nvidia-smi reports NVIDIA H200, but {NO_DRIVER}"),
        (
            "liar",
            "expected",
            CheckStatus.FAILED,
            f"nvidia-smi reports NVIDIA H200, but {NO_DRIVER}",
        ),
        ("empty", "none", CheckStatus.NOT_RUN, f"no GPU here: no /dev/nvidia0, and {NO_DRIVER}"),
        ("empty", "expected", CheckStatus.FAILED, f"was handed to this container, but {NO_DRIVER}"),
    ],
)
def test_an_nvidia_smi_that_lies_does_not_pass(
    program: str,
    handed: str,
    status: CheckStatus,
    reason: str,
    container: RunningContainer,
    cuda: BuiltImage,
) -> None:
    path = container.container.exec_run(["printenv", "PATH"]).output.decode().strip()
    environment = {"PATH": f"/tmp/{program}:{path}", "DLIMG_GPU": handed}
    verdict = as_on_gpu(container, cuda, "nvidia_smi", **environment)
    assert verdict.status is status
    assert verdict.reason.endswith(reason)


def test_a_gpu_without_its_driver_fails(
    engine: Engine, built: BuiltImage, cuda: BuiltImage
) -> None:
    with spoilt_container(engine, built, "touch /dev/nvidia0") as container:
        verdicts = [as_on_gpu(container, cuda, name) for name in GPU_CHECKS]
    assert {(verdict.status, verdict.reason) for verdict in verdicts} == {
        (CheckStatus.FAILED, f"/dev/nvidia0 is here, but {NO_DRIVER}")
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nvidia_smi", "NVML reports NVIDIA H200, but nvidia-smi does not: nvidia-smi is not on"),
        ("is_gpu_available", "NVIDIA H200 with driver 580.159 is here, but jax 0.12.0.1 sees no"),
        ("conv_training", "NVIDIA H200 with driver 580.159 is here, but jax 0.12.0.1 sees no"),
    ],
)
def test_a_framework_that_does_not_see_the_gpu_fails(
    name: str, reason: str, container: RunningContainer, cuda: BuiltImage
) -> None:
    gpu = 'Gpu("GPU-1", "NVIDIA H200", "580.159", "9.0", 143771)'
    driver = ("common/checks/_gpu.py", "gpus = ask_driver()", f"gpus = [{gpu}]")
    verdict = as_on_gpu(container, cuda, name, driver, DLIMG_GPU="expected")
    assert verdict.status is CheckStatus.FAILED
    assert reason in verdict.reason


@pytest.mark.sabotage
def test_a_cpu_image_under_a_tag_of_cuda_fails(
    engine: Engine, cuda: BuiltImage, tmp_path: Path
) -> None:
    evidence = evidence_of(engine, cuda, tmp_path)
    assert exit_code_of(outcome_of(evidence.verdicts)) == 1
    assert not is_gpu_tested(evidence)
    verdicts = {verdict.check: verdict for verdict in evidence.verdicts}
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        "nvidia_smi": CheckStatus.NOT_RUN,
        "pip_check": CheckStatus.FAILED,
        "conv_training": CheckStatus.NOT_RUN,
        "is_gpu_available": CheckStatus.NOT_RUN,
        "tag_matches_image": CheckStatus.FAILED,
    }
    for lie in ("cudart: one is to be installed, found none", "cudnn: one is to be installed"):
        assert lie in verdicts["tag_matches_image"].reason
    assert "nvidia-nccl-cu13: locked 2.30.7, installed not" in verdicts["pip_check"].reason


@pytest.fixture
def spoilt(engine: Engine, built: BuiltImage) -> Iterator[BuiltImage]:
    """An image made of the real one, in which nothing is right any more."""
    script = "\n".join((RELU_IS_GONE, CUDNN, installed(f"--target {PACKAGES}")))
    with spoilt_container(engine, built, script) as container:
        committed = container.container.commit(changes="USER 0")
    yield replace(built, digest=str(committed.id))
    with contextlib.suppress(docker.errors.ImageNotFound):
        engine.sdk.images.remove(str(committed.id))


@pytest.mark.sabotage
def test_an_image_that_is_spoilt_in_every_way_fails_every_check(
    engine: Engine, spoilt: BuiltImage, tmp_path: Path
) -> None:
    verdicts = {
        verdict.check: verdict for verdict in evidence_of(engine, spoilt, tmp_path).verdicts
    }
    assert {verdict.status for verdict in verdicts.values()} == {CheckStatus.FAILED}
    assert verdicts.keys() == {"pip_check", "conv_training", "tag_matches_image"}
    assert "greeting: locked not, installed 1.0" in verdicts["pip_check"].reason
    assert "logits off the reference" in verdicts["conv_training"].reason
    for lie in ("user: this runs as root; ", "cuda: the tag says cpu", "wheels: it names greeting"):
        assert lie in verdicts["tag_matches_image"].reason
