"""Locks are looked at without a network."""

import dataclasses
from pathlib import Path

import pytest

from dlimg.lock.check import check_locks
from dlimg.lock.lock_all import lock_cells
from dlimg.lock.store import cell_path, stack_path
from dlimg.model import Cell, StackException
from tests.support import lock_fakes, samples
from tests.support.lock_fakes import FakeUv

EXCEPTIONS = (StackException(package="cuda-pathfinder", why="own numbers"),)
STACK = samples.stack(exceptions=EXCEPTIONS)
TORCH = samples.cell(on=STACK)
CPU = samples.cell("jaxlike", "1", package="numpy", requirements=("numpy>=2.5", "pip"))
LOCAL = samples.cell(version="2.13.0", requirements=("torch==2.13.0+cpu", "pip"))
CELLS = (TORCH, CPU, LOCAL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lock_cells((TORCH, CPU), lock_fakes.locker(tmp_path, FakeUv()), log=lock_fakes.quiet)
    return tmp_path


def messages(folder: Path, *cells: Cell) -> list[str]:
    return [str(each) for each in check_locks(cells, folder, everything=cells)]


def test_current_locks_have_no_problem(folder: Path) -> None:
    assert messages(folder, *CELLS) == []


def test_a_cell_without_a_lock(folder: Path) -> None:
    cell_path(folder, CPU.id).unlink()
    (message,) = messages(folder, *CELLS)
    assert message == f"{CPU.id}: there is no lock\n  hint: run `dlimg lock {CPU.id}`"


def test_a_stack_without_a_lock_is_named_once(folder: Path) -> None:
    stack_path(folder, "cuda13.2").unlink()
    assert messages(folder, *CELLS) == [
        "stack cuda13.2: there is no lock\n  hint: run `dlimg lock`"
    ]


def test_requirements_that_changed(folder: Path) -> None:
    changed = dataclasses.replace(CPU, requirements=("numpy>=2.5", "pip", "scipy"))
    (message,) = messages(folder, TORCH, changed)
    assert "the lock is stale: the requirements have changed since" in message


def test_a_stack_that_changed_makes_only_itself_stale(folder: Path) -> None:
    stack = dataclasses.replace(STACK, cudnn="9.26")
    problems = messages(folder, dataclasses.replace(TORCH, stack=stack), CPU)
    assert [line.split(":")[0] for line in problems] == ["stack cuda13.2"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("numpy-2.5.0", "numpy-2.4.0", "numpy>=2.5 is required and 2.4.0 is locked"),
        ("pip", "pipx", "pip is required and not locked"),
    ],
)
def test_a_lock_edited_by_hand(folder: Path, old: str, new: str, message: str) -> None:
    path = cell_path(folder, CPU.id)
    text = path.read_text().replace(old, new)
    name, _, version = new.partition("-")
    if version:
        text = text.replace('"2.5.0"', f'"{version}"')
    path.write_text(text.replace('"pip"', f'"{name}"') if not version else text)
    (problems,) = messages(folder, *CELLS)
    assert message in problems


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("13.2.1", "cuda-bindings==13.2.0 is a constraint and 13.2.1 is locked"),
        ("13.5.0", "cuda-bindings 13.5.0 is locked and not of CUDA 13.2"),
    ],
)
def test_a_pin_moved_by_hand(folder: Path, version: str, message: str) -> None:
    path = cell_path(folder, TORCH.id)
    line = next(line for line in path.read_text().splitlines() if "cuda-bindings" in line)
    path.write_text(path.read_text().replace(line, line.replace("13.2.0", version)))
    assert message in "\n".join(messages(folder, *CELLS))


def test_a_damaged_lock_says_where(folder: Path) -> None:
    path = cell_path(folder, CPU.id)
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "x'))
    (message,) = messages(folder, *CELLS)
    assert message.startswith(f"{path}:8: `sha256` cannot be")


def test_locks_that_nobody_uses(folder: Path) -> None:
    problems = messages(folder, CPU)
    assert [line.split(": ")[0] for line in problems] == [
        str(cell_path(folder, TORCH.id)),
        str(stack_path(folder, "cuda13.2")),
    ]
    assert "no cell uses this lock" in problems[0]
    assert "no stack uses this lock" in problems[1]


def test_a_chosen_cell_does_not_make_the_others_unused(folder: Path) -> None:
    assert check_locks((CPU,), folder, everything=CELLS) == ()


def test_an_unused_exception(tmp_path: Path) -> None:
    dead = StackException(package="nvidia-cuda-cccl", why="once it was needed")
    stack = dataclasses.replace(STACK, exceptions=(*EXCEPTIONS, dead))
    cell = dataclasses.replace(TORCH, stack=stack)
    lock_cells((cell,), lock_fakes.locker(tmp_path, FakeUv()), log=lock_fakes.quiet)
    (message,) = messages(tmp_path, cell)
    assert message.startswith("stack cuda13.2: the exception for nvidia-cuda-cccl is unused")


def test_an_exception_counts_as_used_while_a_lock_is_missing(folder: Path) -> None:
    dead = StackException(package="nvidia-cuda-cccl", why="once it was needed")
    stack = dataclasses.replace(STACK, exceptions=(*EXCEPTIONS, dead))
    cells = [dataclasses.replace(cell, stack=stack) for cell in (TORCH, samples.cell("jax"))]
    assert not any("dead" in message for message in messages(folder, *cells))


def test_a_lock_with_a_former_name_is_not_to_be_deleted(folder: Path) -> None:
    stack = dataclasses.replace(STACK, lock_name="cuda13.2-torch2.15.0")
    problems = messages(folder, dataclasses.replace(TORCH, stack=stack), CPU)
    assert any("`dlimg lock`, which takes it over" in problem for problem in problems)
