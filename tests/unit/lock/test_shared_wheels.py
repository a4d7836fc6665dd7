"""The CUDA wheels whose layers lie lowest."""

from pathlib import Path

import pytest

from dlimg.lock.lockfile import lock_text, parse_lock
from dlimg.lock.shared_wheels import mark_shared, mark_stacks, shared_names
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
    *("nvidia-cublas-cu11", "nvidia-cuda-cupti-cu11", "nvidia-cuda-nvcc-cu11"),
    *("nvidia-cuda-nvrtc-cu11", "nvidia-cudnn-cu11", "nvidia-cufft-cu11"),
    *("nvidia-cusolver-cu11", "nvidia-cusparse-cu11", "nvidia-nccl-cu11"),
}


def stack_lock(*names: str, name: str = "cuda13.2-torch2.15.0", shared: str = "") -> Lock:
    wheels = tuple(samples.wheel(wheel, "1.0") for wheel in names)
    return mark_shared(samples.lock(name=name, wheels=wheels), shared.split())


@pytest.mark.parametrize(
    "path", [path for path, _ in lock_files(LOCKS)], ids=lambda path: path.stem
)
def test_the_committed_locks_mark_the_wheels_that_lay_lowest_before(path: Path) -> None:
    lock = parse_lock(path.read_text(), source=str(path))
    names = {wheel.name for wheel in lock.wheels}
    # On CUDA 12 the leader torch has it, and the leader tensorflow does not.
    shared = SHARED | {"nvidia-nvshmem-cu12"} if "torch" in names else SHARED
    assert shared_names(lock) == shared & names


def test_a_lock_keeps_its_marks_as_text() -> None:
    lock = stack_lock("nvidia-cublas", "torch", shared="nvidia-cublas")
    assert parse_lock(lock_text(lock), source="x") == lock
    assert lock_text(lock).count('"shared": true') == 1


def written(folder: Path, *locks: Lock) -> Path:
    for lock in locks:
        write_lock(lock, stack_path(folder, lock.name))
    return folder


def marks_of(lock: Lock, folder: Path) -> frozenset[str]:
    (marked,) = mark_stacks([lock], written(folder, lock))
    return shared_names(marked)


def test_the_only_stack_marks_all_of_its_cuda_wheels(tmp_path: Path) -> None:
    lock = stack_lock("cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13", "torch")
    assert marks_of(lock, tmp_path) == {"cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13"}


def test_the_first_stack_of_a_cuda_marks_what_stacks_of_other_cudas_mark(tmp_path: Path) -> None:
    older = stack_lock(
        *("nvidia-cublas-cu12", "nvidia-nccl-cu12", "nvidia-curand-cu12"),
        name="cuda12.9-jax1",
        shared="nvidia-cublas-cu12 nvidia-nccl-cu12",
    )
    lock = stack_lock("cuda-bindings", "nvidia-cublas", "nvidia-nccl-cu13", "nvidia-curand")
    assert marks_of(lock, written(tmp_path, older)) == {"nvidia-cublas", "nvidia-nccl-cu13"}


def test_a_stack_without_any_marked_library_marks_all_of_its_cuda_wheels(tmp_path: Path) -> None:
    other = stack_lock("nvidia-cublas", name="cuda13.0-a1", shared="nvidia-cublas")
    lock = stack_lock("nvidia-nvtx", "cupy")
    assert marks_of(lock, written(tmp_path, other)) == {"nvidia-nvtx"}
    (marked,) = mark_stacks([lock], tmp_path)
    later = stack_lock("nvidia-cublas", "nvidia-nvtx", name="cuda13.4-b1", shared="nvidia-cublas")
    written(tmp_path, marked, later)
    assert mark_stacks([marked], tmp_path) == (marked,)


def test_a_leader_without_cuda_wheels_marks_nothing_and_takes_no_mark_away(tmp_path: Path) -> None:
    empty = stack_lock("numpy", name="cuda13.0-numpy2")
    lock = stack_lock("nvidia-cublas", "nvidia-nvtx")
    folder = written(tmp_path, empty, lock)
    first, second = mark_stacks([empty, lock], folder)
    assert first == empty
    assert shared_names(second) == {"nvidia-cublas", "nvidia-nvtx"}
    assert mark_stacks([empty], written(folder, second)) == (empty,)


def test_new_stacks_mark_what_all_of_them_have_in_any_order(tmp_path: Path) -> None:
    torch = stack_lock("nvidia-cublas", "nvidia-nccl-cu13", "nvidia-cusparselt-cu13")
    jax = stack_lock("nvidia-cublas", "nvidia-nccl-cu13", "nvidia-cuda-nvcc", name="cuda13.0-jax1")
    tensorflow = stack_lock("nvidia-cublas-cu12", "nvidia-nccl-cu12", name="cuda12.9-tf1")
    locks = [torch, jax, tensorflow]
    folder = written(tmp_path, *locks)
    expected = [
        {"nvidia-cublas", "nvidia-nccl-cu13"},
        {"nvidia-cublas", "nvidia-nccl-cu13"},
        {"nvidia-cublas-cu12", "nvidia-nccl-cu12"},
    ]
    assert [shared_names(lock) for lock in mark_stacks(locks, folder)] == expected
    backwards = mark_stacks(locks[::-1], folder)
    assert [shared_names(lock) for lock in backwards] == expected[::-1]


def test_marks_never_change(tmp_path: Path) -> None:
    lock = stack_lock("nvidia-cublas", "nvidia-cudnn-cu13", shared="nvidia-cublas")
    other = stack_lock("nvidia-cudnn-cu13", name="cuda13.0-jax1", shared="nvidia-cudnn-cu13")
    assert mark_stacks([lock], written(tmp_path, other)) == (lock,)


def test_todays_stacks_would_get_todays_marks_again(tmp_path: Path) -> None:
    """A stack that is locked anew beside the others gets the marks that it has."""
    locks = [
        parse_lock(path.read_text(), source=str(path))
        for path, kind in lock_files(LOCKS)
        if kind == "stack"
    ]
    assert len(locks) > 1
    for number, lock in enumerate(locks):
        folder = tmp_path / str(number)
        anew = mark_shared(lock, ())
        written(folder, anew, *(other for other in locks if other != lock))
        marks = marks_of(anew, folder)
        assert marks <= shared_names(lock)
        # No other stack's leader brings nvcc.
        assert shared_names(lock) - marks <= {"nvidia-cuda-nvcc-cu12"}
