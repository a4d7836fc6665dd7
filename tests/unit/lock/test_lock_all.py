"""Stacks and cells are locked, kept, moved, left out; what fails does not stop the rest."""

from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.context import Context
from dlimg.errors import BadInput, NetworkFailure
from dlimg.lock.local_wheels import wheel_folders
from dlimg.lock.lock_all import Locker, LockResult, LockState, lock_cells
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.lock.shared_wheels import mark_shared, shared_names
from dlimg.lock.store import (
    cell_path,
    local_path,
    read_bases,
    read_lock,
    read_stack_lock,
    stack_path,
    write_bases,
    write_lock,
)
from dlimg.model import Cell, Flavour, StackException
from tests.support import lock_fakes, samples
from tests.support.lock_fakes import FakeIndex, FakeUv

EXCEPTIONS = (StackException(package="cuda-pathfinder", why="own numbers"),)
CPU = samples.cell("jaxlike", "1", package="numpy", requirements=("numpy", "pip"))
LOCAL = samples.cell(version="2.13.0", requirements=("torch==2.13.0+cpu", "pip"))


def on_stack(family: str, package: str, version: str, *more: str) -> Cell:
    stack = samples.stack(exceptions=EXCEPTIONS)
    requirements = (f"{package}=={version}", "pip", *more)
    return samples.cell(family, version, package=package, on=stack, requirements=requirements)


TORCH = on_stack("pytorch", "torch", "2.15.0")
JAX = on_stack("jax", "jax", "0.12.0", "numpy")


def lock_all(cells: list[Cell], locker: Locker) -> dict[str, LockResult]:
    return {locked.name: locked for locked in lock_cells(cells, locker, log=lock_fakes.quiet)}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_stacks_come_first_and_families_share_their_pins(tmp_path: Path) -> None:
    done = lock_all([JAX, TORCH, CPU], lock_fakes.locker(tmp_path, FakeUv()))
    assert next(iter(done)) == "cuda13.2"
    assert {locked.state for locked in done.values()} == {LockState.WRITTEN}
    assert files(tmp_path) == sorted(
        [f"{cell.id}.json" for cell in (JAX, TORCH, CPU)] + ["stacks/cuda13.2.json"]
    )
    stack, jax, torch = (
        read_stack_lock("cuda13.2", tmp_path),
        read_lock(JAX.id, tmp_path),
        read_lock(TORCH.id, tmp_path),
    )
    assert stack
    assert jax
    assert torch
    assert jax.version_of("nvidia-cudnn-cu13") == stack.version_of("nvidia-cudnn-cu13")
    assert jax.version_of("nvidia-cuda-nvcc") == "13.2.86"
    assert torch.version_of("cuda-bindings") == "13.2.0"
    assert jax.wheels[0].size == 1234


def test_a_current_lock_is_left_as_it_is(tmp_path: Path) -> None:
    lock_all([TORCH, CPU], lock_fakes.locker(tmp_path, FakeUv()))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    uv, index = FakeUv(code=2, says=lock_fakes.UNREACHABLE), FakeIndex()
    done = lock_all([TORCH, CPU], lock_fakes.locker(tmp_path, uv, index=index))
    assert {locked.state for locked in done.values()} == {LockState.CURRENT}
    assert (uv.calls, index.asked) == ([], [])
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}


def old_numpy() -> FakeUv:
    return FakeUv(versions={**lock_fakes.VERSIONS, "numpy": ("2.4.0",)})


def test_a_stale_lock_keeps_the_versions_that_still_fit(tmp_path: Path) -> None:
    lock_all([CPU], lock_fakes.locker(tmp_path, old_numpy()))
    more = samples.cell(
        "jaxlike", "1", package="numpy", requirements=("numpy", "pip", "jax==0.12.0")
    )
    assert more.id == CPU.id
    done = lock_all([more], lock_fakes.locker(tmp_path, FakeUv()))
    assert done[CPU.id].changes == (
        "jax none -> 0.12.0",
        "nvidia-cuda-nvcc none -> 13.5.37",
        "nvidia-cudnn-cu13 none -> 9.28.0.42",
    )


def test_upgrade_lets_versions_move(tmp_path: Path) -> None:
    lock_all([CPU], lock_fakes.locker(tmp_path, old_numpy()))
    done = lock_all([CPU], lock_fakes.locker(tmp_path, FakeUv(), upgrade=True))
    assert done[CPU.id].changes == ("numpy 2.4.0 -> 2.5.0",)


def test_a_lock_with_a_local_wheel_goes_where_git_does_not_look(tmp_path: Path) -> None:
    done = lock_all([LOCAL], lock_fakes.locker(tmp_path, FakeUv()))
    assert done[LOCAL.id].path == local_path(tmp_path, LOCAL.id)
    lock = read_lock(LOCAL.id, tmp_path)
    assert lock
    assert [wheel.name for wheel in lock.wheels if wheel.local] == ["torch"]


def test_a_local_version_that_no_folder_has_is_left_out(tmp_path: Path) -> None:
    uv = FakeUv(versions={**lock_fakes.VERSIONS, "torch": ("2.15.0",)})
    done = lock_all([LOCAL, CPU], lock_fakes.locker(tmp_path, uv))
    assert done[LOCAL.id].state is LockState.LEFT_OUT
    assert "torch==2.13.0+cpu for Python 3.13" in done[LOCAL.id].reason
    assert done[CPU.id].state is LockState.WRITTEN


def test_a_failing_cell_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = samples.cell(version="99")
    lines: list[str] = []
    with pytest.raises(BadInput) as caught:
        lock_cells([bad, CPU], lock_fakes.locker(tmp_path, FakeUv()), log=lines.append)
    assert [problem.where for problem in caught.value.problems] == [bad.id]
    assert files(tmp_path) == [f"{CPU.id}.json"]
    assert sorted(line.split()[0] for line in lines) == ["failed", "written"]


def test_the_cells_of_a_failed_stack_are_not_tried(tmp_path: Path) -> None:
    stack = samples.stack(leader="torch==99")
    cell = samples.cell(on=stack)
    with pytest.raises(BadInput) as caught:
        lock_cells([cell, CPU], lock_fakes.locker(tmp_path, FakeUv()), log=lock_fakes.quiet)
    wheres = [problem.where for problem in caught.value.problems]
    assert wheres == ["stack cuda13.2", ""]
    assert caught.value.problems[1].message.startswith("1 more lock was not finished")
    assert cell_path(tmp_path, CPU.id).is_file()


def test_an_unreachable_index_loses_nothing(tmp_path: Path) -> None:
    lock_all([CPU], lock_fakes.locker(tmp_path, FakeUv()))
    before = cell_path(tmp_path, CPU.id).read_bytes()
    uv = FakeUv(code=2, says=lock_fakes.UNREACHABLE)
    with pytest.raises(NetworkFailure, match="the package index cannot be used") as caught:
        lock_cells([CPU, JAX], lock_fakes.locker(tmp_path, uv, upgrade=True), log=lock_fakes.quiet)
    assert caught.value.exit_code == 5
    assert files(tmp_path) == [f"{CPU.id}.json"]
    assert cell_path(tmp_path, CPU.id).read_bytes() == before


def test_wheels_with_conflicting_files_are_not_locked(tmp_path: Path) -> None:
    index = FakeIndex(extra={"numpy": "shared.py,sha256=aa,1\n", "pip": "shared.py,sha256=bb,1\n"})
    with pytest.raises(BadInput, match=r"numpy 2\.5\.0 and pip 26\.3 fill shared\.py"):
        lock_cells([CPU], lock_fakes.locker(tmp_path, FakeUv(), index=index), log=lock_fakes.quiet)
    assert files(tmp_path) == []


def test_a_damaged_lock_is_solved_again(tmp_path: Path) -> None:
    lock_all([TORCH], lock_fakes.locker(tmp_path, FakeUv()))
    good = {path: path.read_text() for path in tmp_path.rglob("*.json")}
    for path in good:
        path.write_text(path.read_text()[:200])
    lock_all([TORCH], lock_fakes.locker(tmp_path, FakeUv()))
    assert good == {path: path.read_text() for path in tmp_path.rglob("*.json")}


def test_an_interrupt_leaves_whole_locks_only(tmp_path: Path) -> None:
    def read(wheel: ResolvedWheel) -> WheelContents:
        if wheel.name == "torch":
            raise KeyboardInterrupt
        return FakeIndex().read(wheel)

    uv = FakeUv()
    locker = Locker(folder=tmp_path, solver=lock_fakes.solver(uv), read_wheel=read)
    with pytest.raises(KeyboardInterrupt):
        lock_cells([TORCH, CPU], locker, log=lock_fakes.quiet)
    assert uv.stopped
    assert files(tmp_path) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """A place where nothing can be made, for root either: a file stands where a folder must."""
    blocked = tmp_path / "locks"
    blocked.write_text("")
    return blocked


def test_a_checkout_that_cannot_be_written(read_only: Path) -> None:
    with pytest.raises(BadInput, match="cannot write the lock") as caught:
        lock_cells([CPU], lock_fakes.locker(read_only, FakeUv()), log=lock_fakes.quiet)
    assert caught.value.problems[0].where == str(cell_path(read_only, CPU.id))


def test_the_lock_of_another_cell_is_refused(tmp_path: Path) -> None:
    lock_all([CPU], lock_fakes.locker(tmp_path, FakeUv()))
    cell_path(tmp_path, CPU.id).rename(cell_path(tmp_path, "other"))
    with pytest.raises(BadInput, match=f"this is the lock of {CPU.id}"):
        read_lock("other", tmp_path)


def test_wheel_folders_come_from_the_command_line_uv_and_pip(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("one", "two words", "three"))
    for folder in (first, second, third):
        folder.mkdir()
    environment = {
        "UV_FIND_LINKS": f"{second},https://wheels.test/",
        "PIP_FIND_LINKS": f"{third} {first}\nfile://{third} /gone",
    }
    assert wheel_folders([str(first)], Context.of(environment, print)) == (first, second, third)
    assert wheel_folders([], Context.of({}, print)) == ()


def test_a_wheel_folder_that_is_not_there() -> None:
    with pytest.raises(BadInput, match="--find-links /gone is not a folder"):
        wheel_folders(["/gone"], Context.of({}, print))


def test_bases_are_kept(tmp_path: Path) -> None:
    assert read_bases(tmp_path) == {}
    write_bases({"debian13": f"sha256:{'c' * 64}"}, tmp_path)
    assert read_bases(tmp_path) == {"debian13": f"sha256:{'c' * 64}"}
    assert stack_path(tmp_path, "cuda13.2") == tmp_path / "stacks" / "cuda13.2.json"


def test_locks_of_the_last_release_get_their_new_names(tmp_path: Path) -> None:
    workspace = replace(TORCH, flavour=Flavour.WORKSPACE)
    lock_all([workspace], lock_fakes.locker(tmp_path, FakeUv()))
    stack = stack_path(tmp_path, "cuda13.2")
    old = cell_path(tmp_path, workspace.id.replace("workspace", "notebook"))
    cell_path(tmp_path, workspace.id).rename(old)
    old.write_text(old.read_text().replace("-workspace", "-notebook"))
    before = [path.read_text().splitlines()[7:] for path in (stack, old)]
    renamed = replace(samples.stack(exceptions=EXCEPTIONS), lock_name="cuda13.2-torch2.15.0")
    cell = replace(workspace, stack=renamed)
    uv, index = FakeUv(code=2, says=lock_fakes.UNREACHABLE), FakeIndex()
    done = lock_all([cell], lock_fakes.locker(tmp_path, uv, index=index))
    assert {locked.state for locked in done.values()} == {LockState.WRITTEN}
    assert files(tmp_path) == [f"{cell.id}.json", "stacks/cuda13.2-torch2.15.0.json"]
    new = (stack_path(tmp_path, "cuda13.2-torch2.15.0"), cell_path(tmp_path, cell.id))
    assert [path.read_text().splitlines()[7:] for path in new] == before
    assert (uv.calls, index.asked) == ([], [])


def test_a_stack_that_only_begins_like_an_old_one_leaves_it(tmp_path: Path) -> None:
    lock_all([TORCH], lock_fakes.locker(tmp_path, FakeUv()))
    stack = replace(samples.stack(exceptions=EXCEPTIONS), leader="torch==2.13.0", lock_name="n")
    lock_all(
        [replace(TORCH, stack=stack, requirements=("torch==2.13.0", "pip"))],
        lock_fakes.locker(tmp_path, FakeUv()),
    )
    assert "stacks/cuda13.2.json" in files(tmp_path)
    assert "stacks/n.json" in files(tmp_path)


def test_cells_take_the_marks_of_their_stack(tmp_path: Path) -> None:
    lock_all([TORCH, CPU], lock_fakes.locker(tmp_path, FakeUv()))
    torch, cpu = read_lock(TORCH.id, tmp_path), read_lock(CPU.id, tmp_path)
    assert torch
    assert cpu
    assert shared_names(torch) == {"cuda-bindings", "cuda-pathfinder", "nvidia-cudnn-cu13"}
    assert shared_names(cpu) == set()
    write_lock(mark_shared(torch, ()), cell_path(tmp_path, TORCH.id))
    uv = FakeUv(code=2, says=lock_fakes.UNREACHABLE)
    done = lock_all([TORCH, CPU], lock_fakes.locker(tmp_path, uv))
    assert [name for name, locked in done.items() if locked.state is LockState.WRITTEN] == [
        TORCH.id
    ]
    assert read_lock(TORCH.id, tmp_path) == torch


def test_a_stack_that_is_solved_again_keeps_its_marks(tmp_path: Path) -> None:
    lock_all([TORCH], lock_fakes.locker(tmp_path, FakeUv()))
    stack = read_stack_lock("cuda13.2", tmp_path)
    assert stack
    write_lock(mark_shared(stack, ["nvidia-cudnn-cu13"]), stack_path(tmp_path, "cuda13.2"))
    lock_all([TORCH], replace(lock_fakes.locker(tmp_path, FakeUv()), upgrade=True))
    assert shared_names(read_stack_lock("cuda13.2", tmp_path)) == {"nvidia-cudnn-cu13"}
    assert shared_names(read_lock(TORCH.id, tmp_path)) == {"nvidia-cudnn-cu13"}


def test_a_cudnn_of_its_own_for_a_cell_without_cudnn_is_refused(tmp_path: Path) -> None:
    on = samples.stack(cudnn="9.25", other_cudnn=True, exceptions=EXCEPTIONS)
    cells = [
        samples.cell("jax", "0.12.0", package="jax", on=on, requirements=("jax==0.12.0",)),
        samples.cell("numpy", "2.5.0", package="numpy", on=on, requirements=("numpy==2.5.0",)),
    ]
    with pytest.raises(
        BadInput, match=r"none of its packages needs cuDNN, so cuDNN 9\.25"
    ) as caught:
        lock_all(cells, lock_fakes.locker(tmp_path, FakeUv()))
    assert [problem.where for problem in caught.value.problems] == [cells[1].id]
    assert files(tmp_path) == [f"{cells[0].id}.json", f"stacks/{on.lock_name}.json"]
