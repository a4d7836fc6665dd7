"""Requests for locks: digests, pins, the CUDA minor."""

import dataclasses

import pytest

from dlimg.errors import BadInput
from dlimg.lock.request import (
    CudaMinorRule,
    cell_request,
    has_local_version,
    pinned_versions,
    stack_request,
)
from dlimg.model import StackException
from tests.support import samples

PATHFINDER = StackException(package="cuda-pathfinder", why="has its own numbers")


@pytest.mark.parametrize(
    ("name", "version", "refused"),
    [
        ("nvidia-cuda-nvcc", "13.2.86", False),
        ("nvidia-cuda-nvcc", "13.5.37", True),
        ("nvidia-cuda-nvcc", "13.1.0", True),
        ("nvidia-cuda-nvcc-cu12", "12.9.86", True),
        ("nvidia-nvjitlink", "13.20.1", True),
        ("nvidia-nvjitlink-cu12", "13.2.1", False),
        ("nvidia-nvvm", "13.5.37", True),
        ("cuda-bindings", "13.5.0", True),
        ("cuda-toolkit", "13.2.2", False),
        ("cuda-pathfinder", "1.9.0", False),
        ("nvidia-cublas", "13.10.0.20", False),
        ("nvidia-cudnn-cu13", "9.26.0.51", False),
        ("torch", "2.15.0", False),
    ],
)
def test_the_cuda_rule_of_a_stack(name: str, version: str, *, refused: bool) -> None:
    cap = CudaMinorRule(cuda="13.2", exempt=("cuda-pathfinder",))
    assert cap.refuses(name, version) is refused


def test_the_digest_depends_on_the_request_alone() -> None:
    cell = samples.cell(requirements=("torch==2.15.0", "numpy", "pip"))
    request = cell_request(cell, None)
    again = cell_request(dataclasses.replace(cell, requirements=cell.requirements[::-1]), None)
    elsewhere = cell_request(dataclasses.replace(cell, os=samples.system("ubuntu24.04")), None)
    assert request.digest == again.digest == elsewhere.digest
    assert request.digest.startswith("sha256:")
    assert len(request.digest) == 71


def test_the_digest_stays_as_it_is_between_releases() -> None:
    # A change here makes every committed lock stale.
    cell = samples.cell(requirements=("torch==2.15.0", "numpy", "pip"))
    digest = "sha256:70921e94feac9ac5bb3e0459241d0ac307aad160b85b3e7d7bc2514c351a5955"
    assert cell_request(cell, None).digest == digest
    assert (
        stack_request(samples.stack(exceptions=(PATHFINDER,))).digest
        == "sha256:e96737f81e6e368a91cc61a72ef1f4618b319168c9ecb0f903c337e496efe7ef"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"requirements": ("torch==2.15.1", "pip")},
        {"python": "3.12"},
        {"platform": "aarch64-manylinux_2_28"},
        {"stack": samples.stack(exceptions=(PATHFINDER,))},
    ],
)
def test_every_input_is_in_the_digest(change: dict[str, object]) -> None:
    stack_lock = samples.lock("cuda13.2", wheels=(samples.wheel("nvidia-cublas", "13.4.1.3"),))
    cell = samples.cell(accelerator="cuda13.2")
    changed = dataclasses.replace(cell, **change)  # type: ignore[arg-type]
    assert cell_request(cell, stack_lock).digest != cell_request(changed, stack_lock).digest


def test_the_pins_of_the_stack_are_in_the_digest() -> None:
    cell = samples.cell(accelerator="cuda13.2")
    digests = {
        cell_request(
            cell, samples.lock("cuda13.2", wheels=(samples.wheel("nvidia-cublas", version),))
        ).digest
        for version in ("13.4.1.3", "13.4.1.4")
    }
    assert len(digests) == 2


def test_pins_are_the_cuda_wheels_of_a_stack() -> None:
    wheels = [
        samples.wheel(name, "1.0")
        for name in ("cuda-bindings", "numpy", "nvidia-cublas", "nvidia-nccl-cu13", "torch")
    ]
    assert pinned_versions(wheels) == (
        "cuda-bindings==1.0",
        "nvidia-cublas==1.0",
        "nvidia-nccl-cu13==1.0",
    )


def test_a_stack_holds_its_leader_and_cudnn() -> None:
    request = stack_request(samples.stack(cudnn="9.26"))
    assert request.requirements == ("torch==2.15.0",)
    assert request.constraints == ("nvidia-cudnn-cu13==9.26.*",)
    assert request.cuda_rule == CudaMinorRule(cuda="13.2")
    assert stack_request(samples.stack()).constraints == ()


def test_a_cudnn_that_is_not_the_leaders_replaces_what_the_leader_requires() -> None:
    request = stack_request(samples.stack(cudnn="9.24", other_cudnn=True))
    assert request.constraints == ()
    assert request.overrides == ("nvidia-cudnn-cu13==9.24.*",)
    plain = dataclasses.replace(request, overrides=())
    assert request.digest != plain.digest == stack_request(samples.stack()).digest


@pytest.mark.parametrize("why", ["", "the fix of a convolution"])
def test_only_a_cell_with_an_override_replaces_what_its_framework_requires(why: str) -> None:
    wheels = (samples.wheel("nvidia-cublas", "13.4"), samples.wheel("nvidia-cudnn-cu13", "9.24.1"))
    on = samples.stack(cudnn="9.24", other_cudnn=True)
    cell = dataclasses.replace(samples.cell(on=on), cudnn_override=why)
    request = cell_request(cell, samples.lock(on.lock_name, wheels=wheels))
    cudnn = "nvidia-cudnn-cu13==9.24.1"
    assert request.overrides == ((cudnn,) if why else ())
    assert request.constraints == ("nvidia-cublas==13.4", *(() if why else (cudnn,)))


def test_a_cpu_cell_has_no_pins_and_no_cuda_rule() -> None:
    request = cell_request(samples.cell(), None)
    assert (request.constraints, request.cuda_rule) == ((), None)


def test_a_cell_needs_the_lock_of_its_stack() -> None:
    with pytest.raises(BadInput, match=r"stack cuda13\.2 has no lock"):
        cell_request(samples.cell(accelerator="cuda13.2"), None)


@pytest.mark.parametrize("text", ["", "torch = 2", "torch @ https://host.test/t.whl", "--pre"])
def test_invalid_requirements_are_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        cell_request(samples.cell(requirements=("pip", text)), None)
    assert caught.value.problems[0].where == "pytorch-2.15.0-cpu-py3.13-debian13"


@pytest.mark.parametrize(
    ("text", "local"),
    [("torch==2.13.0+cpu", True), ("torch==2.13.0", False), ("jax[cuda13]>=0.12", False)],
)
def test_local_versions(text: str, *, local: bool) -> None:
    assert has_local_version(text) is local
