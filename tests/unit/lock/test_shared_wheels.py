"""The CUDA wheels whose layers lie lowest."""

from pathlib import Path

import pytest

from dlimg.lock.lockfile import lock_text, parse_lock
from dlimg.lock.shared_wheels import mark_shared, mark_stack, shared_names
from dlimg.lock.store import lock_files, stack_path, write_lock
from dlimg.model import Lock
from tests.support import samples

LOCKS = Path(__file__).parents[3] / "locks"
SHARED = {
    *("nvidia-cublas", "nvidia-cublas-cu12"),
    *("nvidia-cuda-cupti", "nvidia-cuda-cupti-cu12", "nvidia-cuda-nvcc-cu12"),
    *("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-cufft-cu12"),
    *("nvidia-cusolver", "nvidia-cusolver-cu12", "nvidia-cusparse", "nvidia-cusparse-cu12"),
    *("nvidia-nccl-cu12", "nvidia-nccl-cu13", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
    "nvidia-nvshmem-cu13",
}
STACK = samples.stack("cuda13.2", lock_name="cuda13.2-torch2.15.0")


def stack_lock(*names: str, name: str = "cuda13.2-torch2.15.0", shared: str = "") -> Lock:
    wheels = tuple(samples.wheel(wheel, "1.0") for wheel in names)
    return mark_shared(samples.lock(name=name, wheels=wheels), shared.split())


@pytest.mark.parametrize(
    "path", [path for path, _ in lock_files(LOCKS)], ids=lambda path: path.stem
)
def test_the_committed_locks_mark_the_wheels_that_lay_lowest_before(path: Path) -> None:
    lock = parse_lock(path.read_text(), source=str(path))
    assert shared_names(lock) == SHARED & {wheel.name for wheel in lock.wheels}


def test_a_lock_keeps_its_marks_as_text() -> None:
    lock = stack_lock("nvidia-cublas", "torch", shared="nvidia-cublas")
    assert parse_lock(lock_text(lock), source="x") == lock
    assert lock_text(lock).count('"shared": true') == 1


def test_the_first_stack_of_a_cuda_marks_all_cuda_wheels(tmp_path: Path) -> None:
    lock = stack_lock("cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13", "torch")
    write_lock(
        stack_lock("nvidia-cublas-cu12", name="cuda12.9-jax1", shared="nvidia-cublas-cu12"),
        stack_path(tmp_path, "cuda12.9-jax1"),
    )
    names = shared_names(mark_stack(STACK, lock, tmp_path))
    assert names == {"cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13"}


def test_another_stack_of_a_cuda_marks_the_same_wheels(tmp_path: Path) -> None:
    write_lock(
        stack_lock(
            *("nvidia-cublas", "nvidia-nccl-cu13", "nvidia-cusparselt-cu13"),
            name="cuda13.0-torch2.13.0",
            shared="nvidia-cublas nvidia-nccl-cu13",
        ),
        stack_path(tmp_path, "cuda13.0-torch2.13.0"),
    )
    lock = stack_lock("nvidia-cublas", "nvidia-nccl-cu13", "nvidia-cusparselt-cu13", "nvidia-nvtx")
    marked = mark_stack(STACK, lock, tmp_path)
    assert shared_names(marked) == {"nvidia-cublas", "nvidia-nccl-cu13"}


def test_marks_never_change(tmp_path: Path) -> None:
    lock = stack_lock("nvidia-cublas", "nvidia-cudnn-cu13", shared="nvidia-cublas")
    assert mark_stack(STACK, lock, tmp_path) == lock
