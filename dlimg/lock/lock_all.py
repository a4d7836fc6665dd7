"""The walk over stacks and cells: what is missing or stale is solved, compared and written."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput, DlimgError, NetworkFailure, Problem
from dlimg.lock.check import stacks_of, stale_reasons
from dlimg.lock.file_conflicts import check_file_conflicts
from dlimg.lock.pylock import ReadWheel, ResolvedWheel, WheelContents
from dlimg.lock.request import LockRequest, cell_request, has_local_version, stack_request
from dlimg.lock.shared_wheels import mark_shared, mark_stack, shared_names
from dlimg.lock.solve import NoSolution, UvSolver, solve
from dlimg.lock.store import (
    cell_path,
    local_path,
    read_lock,
    read_stack_lock,
    stack_path,
    write_lock,
)
from dlimg.model import OLD_FLAVOURS, Cell, Lock, Stack, Wheel

CELLS_AT_ONCE: Final = 4
WHEELS_AT_ONCE: Final = 8


class LockState(StrEnum):
    """What became of a lock."""

    CURRENT = "current"
    WRITTEN = "written"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """What became of one lock: `changes` are packages that moved, `reason` why it has none."""

    name: str
    state: LockState
    path: Path | None = None
    changes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locker:
    """What locking needs from outside: the folder, uv, the index; `upgrade` lets versions move."""

    folder: Path
    solver: UvSolver
    read_wheel: ReadWheel
    upgrade: bool = False


def lock_cells(
    cells: Sequence[Cell], locker: Locker, *, say: Callable[[str], None]
) -> tuple[LockResult, ...]:
    """What became of each lock, stacks first; a current lock is left as it is.

    Goes on when one fails, and raises all problems at the end: NetworkFailure when the index was
    out of reach (then nothing more is tried), else the class of the first problem. What was
    written stays.
    """
    problems: list[DlimgError] = []
    stacks = [partial(lock_stack, stack, locker) for stack in stacks_of(cells)]
    done = list(_together(stacks, problems, locker, say))
    ready = {locked.name for locked in done}
    standing = [cell for cell in cells if cell.stack is None or cell.stack.lock_name in ready]
    if not _out_of_reach(problems):
        works = [partial(lock_cell, cell, locker) for cell in standing]
        done += _together(works, problems, locker, say)
    if problems:
        raise _all_of(problems, not_tried=len(stacks) + len(cells) - len(done) - len(problems))
    return tuple(done)


def lock_stack(stack: Stack, locker: Locker) -> LockResult:
    """Bring the stack's lock up to date; raises the errors of solving, reading and writing."""
    folder = locker.folder
    request = stack_request(stack)
    former = stack_path(folder, stack.name)
    lock = old = _readable(lambda: read_stack_lock(stack.lock_name, folder))
    if old is None and stack.name != stack.lock_name:
        old = _readable(lambda: read_stack_lock(stack.name, folder))
        lock = _renamed(old, request)
    if lock is None or not _is_current(request, lock, locker):
        lock = solve_lock(request, old, locker)
    path = stack_path(folder, stack.lock_name)
    return _settled(mark_stack(stack, lock, folder), old, path, former)


def lock_cell(cell: Cell, locker: Locker) -> LockResult:
    """Bring the cell's lock up to date; it is left out when no folder has a wheel that it pins.

    Raises the errors of solving, reading and writing.
    """
    folder = locker.folder
    stack_lock = read_stack_lock(cell.stack.lock_name, folder) if cell.stack else None
    request = cell_request(cell, stack_lock)
    former = cell_path(folder, former_id(cell))
    lock = old = _readable(lambda: read_lock(cell.id, folder))
    if old is None and former_id(cell) != cell.id:
        old = _readable(lambda: read_lock(former_id(cell), folder))
        lock = _renamed(old, request)
    if lock is None or not _is_current(request, lock, locker):
        try:
            lock = solve_lock(request, old, locker)
        except NoSolution:
            if not request.wants_folders:
                raise
            reason = _not_at_hand(request)
            return LockResult(name=cell.id, state=LockState.LEFT_OUT, reason=reason)
    path = local_path(folder, cell.id) if lock.local else cell_path(folder, cell.id)
    result = _settled(mark_shared(lock, shared_names(stack_lock)), old, path, former)
    if result.state is LockState.WRITTEN and not lock.local:
        # The local lock is read first, and would hide the one just written.
        local_path(folder, cell.id).unlink(missing_ok=True)
    return result


def former_id(cell: Cell) -> str:
    """Return the id that the cell had in the last release."""
    for old, new in OLD_FLAVOURS.items():
        if cell.flavour == new:
            return f"{cell.id.removesuffix(new)}{old}"
    return cell.id


def _renamed(lock: Lock | None, request: LockRequest) -> Lock | None:
    return replace(lock, name=request.name) if lock else None


def _settled(lock: Lock, old: Lock | None, path: Path, former: Path) -> LockResult:
    """Write the lock unless it is the one that was there; remove it under its former name."""
    if lock == old:
        return LockResult(name=lock.name, state=LockState.CURRENT)
    write_lock(lock, path)
    if old and old.name != lock.name and former != path and old.inputs == lock.inputs:
        former.unlink(missing_ok=True)
    return _written(lock, old, path)


def solve_lock(question: LockRequest, old: Lock | None, locker: Locker) -> Lock:
    """A fresh lock: solved, its wheels read and compared; raises what these raise."""
    prefer = old.wheels if old and not locker.upgrade else ()
    found = solve(question, locker.solver, prefer=prefer)
    with ThreadPoolExecutor(WHEELS_AT_ONCE) as pool:
        contents = dict(zip(found, pool.map(locker.read_wheel, found), strict=True))
    check_file_conflicts(contents, python=question.python, where=question.where)
    return Lock(
        name=question.name,
        inputs=question.digest,
        python=question.python,
        platform=question.platform,
        wheels=tuple(_wheel(wheel, contents[wheel]) for wheel in found),
    )


def _wheel(found: ResolvedWheel, contents: WheelContents) -> Wheel:
    return Wheel(
        name=found.name,
        version=found.version,
        file=found.file,
        size=contents.size,
        sha256=found.sha256,
        local=found.local,
    )


def _together(
    works: Sequence[Callable[[], LockResult]],
    problems: list[DlimgError],
    locker: Locker,
    say: Callable[[str], None],
) -> Iterator[LockResult]:
    """What the works give, as each is done; failures go to `problems`.

    When the index is out of reach, or at an interrupt, what has not begun is given up.
    """
    pool = ThreadPoolExecutor(CELLS_AT_ONCE)
    try:
        for done in as_completed([pool.submit(work) for work in works]):
            try:
                locked = done.result()
            except NetworkFailure as error:
                problems.append(error)
                return
            except DlimgError as error:
                problems.append(error)
                say(f"failed    {error.problems[0].where}")
                continue
            if locked.state is not LockState.CURRENT:
                say(f"{locked.state:9} {locked.name}{_because(locked)}")
            yield locked
    except KeyboardInterrupt:
        locker.solver.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _not_at_hand(question: LockRequest) -> str:
    wanted = ", ".join(text for text in question.requirements if has_local_version(text))
    return f"no extra wheel folder has {wanted} for Python {question.python}, see --find-links"


def _because(locked: LockResult) -> str:
    if locked.reason:
        return f": {locked.reason}"
    return f" ({', '.join(locked.changes)})" if locked.changes else ""


def _is_current(question: LockRequest, old: Lock, locker: Locker) -> bool:
    return not locker.upgrade and not stale_reasons(question, old)


def _readable(read: Callable[[], Lock | None]) -> Lock | None:
    """The old lock; None also when it is damaged, for a fresh one takes its place."""
    try:
        return read()
    except BadInput:
        return None


def _written(lock: Lock, old: Lock | None, path: Path) -> LockResult:
    changes = tuple(version_changes(old, lock)) if old else ()
    return LockResult(name=lock.name, state=LockState.WRITTEN, path=path, changes=changes)


def version_changes(old: Lock, new: Lock) -> Iterator[str]:
    """Each package that came, went or moved: `numpy 2.4.6 -> 2.5.5`."""
    before = {wheel.name: wheel.version for wheel in old.wheels}
    after = {wheel.name: wheel.version for wheel in new.wheels}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"


def _out_of_reach(problems: Sequence[DlimgError]) -> bool:
    return any(isinstance(error, NetworkFailure) for error in problems)


def _all_of(errors: Sequence[DlimgError], *, not_tried: int) -> DlimgError:
    """One failure for all of them; network trouble gives the class, for it explains the rest."""
    found = [problem for error in errors for problem in error.problems]
    if not_tried > 0:
        cells = "1 more was" if not_tried == 1 else f"{not_tried} more were"
        found.append(Problem(message=f"{cells} not finished; what is locked stays"))
    worst = next((error for error in errors if isinstance(error, NetworkFailure)), errors[0])
    return (BadInput if isinstance(worst, NoSolution) else type(worst)).of(found)
