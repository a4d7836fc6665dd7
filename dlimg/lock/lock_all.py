"""Locking of stacks and cells: missing and stale locks are solved, checked and written."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput, DlimgError, NetworkFailure, Problem
from dlimg.lock.check import former_id, stacks_of, stale_reasons
from dlimg.lock.file_conflicts import check_file_conflicts, shared_paths
from dlimg.lock.pylock import ReadWheel, ResolvedWheel, WheelContents
from dlimg.lock.request import (
    LockRequest,
    cell_request,
    has_local_version,
    package_name,
    stack_request,
)
from dlimg.lock.shared_wheels import mark_shared, mark_stacks, shared_names
from dlimg.lock.solve import NoSolution, UvSolver, solve
from dlimg.lock.store import (
    cell_path,
    local_path,
    read_lock,
    read_stack_lock,
    stack_path,
    write_lock,
)
from dlimg.model import CUDNN_PACKAGES, Cell, Lock, Stack, Wheel

CELLS_AT_ONCE: Final = 4
WHEELS_AT_ONCE: Final = 8


class LockState(StrEnum):
    """The outcome for a lock."""

    CURRENT = "current"
    WRITTEN = "written"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockResult:
    """The outcome for one lock: the changed versions, or the `reason` why it was left out."""

    name: str
    state: LockState
    path: Path | None = None
    changes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locker:
    """The folder of locks, uv and a reader of wheels; `upgrade` allows newer versions."""

    folder: Path
    solver: UvSolver
    read_wheel: ReadWheel
    upgrade: bool = False
    read_member: Callable[[ResolvedWheel, str], bytes] | None = None


def lock_cells(
    cells: Sequence[Cell], locker: Locker, *, log: Callable[[str], None]
) -> tuple[LockResult, ...]:
    """Update the locks of these cells and their stacks; stacks come first.

    After an error the other locks are still updated, and all problems are raised at the end: as
    NetworkFailure if the index was out of reach (which stops the update), else as the class of the
    first problem. Finished locks are kept.
    """
    errors: list[DlimgError] = []
    stacks = stacks_of(cells)
    results = list(
        _run_all([partial(lock_stack, stack, locker) for stack in stacks], errors, locker, log)
    )
    results = list(_with_marks(results, locker.folder, log))
    locked = {result.name for result in results}
    ready = [cell for cell in cells if cell.stack is None or cell.stack.lock_name in locked]
    if not _out_of_reach(errors):
        results += _run_all(
            [partial(lock_cell, cell, locker) for cell in ready], errors, locker, log
        )
    if errors:
        unfinished = len(stacks) + len(cells) - len(results) - len(errors)
        raise _combined(errors, unfinished=unfinished)
    return tuple(results)


def lock_stack(stack: Stack, locker: Locker) -> LockResult:
    """Update the stack's lock, with the marks that it had.

    Raises the errors of solving, reading and writing.
    """
    folder = locker.folder
    request = stack_request(stack)
    former = (stack_path(folder, stack.name),)
    lock = old = _readable(lambda: read_stack_lock(stack.lock_name, folder))
    if old is None and stack.name != stack.lock_name:
        old = _readable(lambda: read_stack_lock(stack.name, folder))
        lock = _renamed(old, request)
    if lock is None or not _is_current(request, lock, locker):
        lock = solve_lock(request, old, locker)
    path = stack_path(folder, stack.lock_name)
    return _settled(mark_shared(lock, shared_names(old)), old, path, former)


def _with_marks(
    results: Sequence[LockResult], folder: Path, log: Callable[[str], None]
) -> Iterator[LockResult]:
    """Yield the results of stacks after marking the shared wheels in those without marks.

    This needs the locks of all stacks: no mark depends on which was solved first.
    """
    locks = [lock for result in results if (lock := read_stack_lock(result.name, folder))]
    marked = {lock.name: lock for lock in mark_stacks(locks, folder) if lock not in locks}
    for result in results:
        if result.name not in marked:
            yield result
            continue
        path = stack_path(folder, result.name)
        write_lock(marked[result.name], path)
        if result.state is LockState.CURRENT:
            log(f"{LockState.WRITTEN:9} {result.name}")
        yield replace(result, state=LockState.WRITTEN, path=path)


def lock_cell(cell: Cell, locker: Locker) -> LockResult:
    """Update the cell's lock; it is left out if no folder has a wheel that it pins.

    Raises the errors of solving, reading and writing.
    """
    folder = locker.folder
    stack_lock = read_stack_lock(cell.stack.lock_name, folder) if cell.stack else None
    request = cell_request(cell, stack_lock)
    former = (cell_path(folder, former_id(cell)), local_path(folder, former_id(cell)))
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
            reason = _missing_wheels(request)
            return LockResult(name=cell.id, state=LockState.LEFT_OUT, reason=reason)
        _require_cudnn(cell, lock)
    path = local_path(folder, cell.id) if lock.local else cell_path(folder, cell.id)
    result = _settled(mark_shared(lock, shared_names(stack_lock)), old, path, former)
    if result.state is LockState.WRITTEN and not lock.local:
        # The local lock is read first, and would hide the one just written.
        local_path(folder, cell.id).unlink(missing_ok=True)
    return result


def _require_cudnn(cell: Cell, lock: Lock) -> None:
    """Refuse a cuDNN of its own for a cell without any."""
    if cell.stack and cell.stack.other_cudnn and not lock.version_of(*CUDNN_PACKAGES):
        raise BadInput(
            f"none of its packages needs cuDNN, so cuDNN {cell.stack.cudnn} changes nothing",
            where=cell.id,
            hint="exclude the cell with a `why`",
        )


def _renamed(lock: Lock | None, request: LockRequest) -> Lock | None:
    return replace(lock, name=request.name) if lock else None


def _settled(lock: Lock, old: Lock | None, path: Path, former: Sequence[Path]) -> LockResult:
    """Write the lock if it differs from the old one; remove the files of its former name."""
    if lock == old:
        return LockResult(name=lock.name, state=LockState.CURRENT)
    write_lock(lock, path)
    if old and old.name != lock.name and old.inputs == lock.inputs:
        for former_path in former:
            former_path.unlink(missing_ok=True)
    return _written(lock, old, path)


def solve_lock(request: LockRequest, old: Lock | None, locker: Locker) -> Lock:
    """Solve the request, read the wheels and compare their files; raises what these raise."""
    prefer = old.wheels if old and not locker.upgrade else ()
    wheels = solve(request, locker.solver, prefer=prefer)
    with ThreadPoolExecutor(WHEELS_AT_ONCE) as pool:
        contents = dict(zip(wheels, pool.map(locker.read_wheel, wheels), strict=True))
    shared = shared_paths(
        contents,
        python=request.python,
        exceptions=request.path_exceptions,
        read_member=locker.read_member,
    )
    check_file_conflicts(contents, python=request.python, where=request.where, shared=shared)
    return Lock(
        name=request.name,
        inputs=request.digest,
        python=request.python,
        platform=request.platform,
        wheels=tuple(_wheel(wheel, contents[wheel]) for wheel in wheels),
        shared_paths=shared,
    )


def _wheel(resolved: ResolvedWheel, contents: WheelContents) -> Wheel:
    return Wheel(
        name=resolved.name,
        version=resolved.version,
        file=resolved.file,
        size=contents.size,
        sha256=resolved.sha256,
        local=resolved.local and not resolved.index,
        index=resolved.index,
    )


def _run_all(
    tasks: Sequence[Callable[[], LockResult]],
    errors: list[DlimgError],
    locker: Locker,
    log: Callable[[str], None],
) -> Iterator[LockResult]:
    """Yield the results of parallel tasks as they finish; failures are added to `errors`.

    Tasks that have not begun are cancelled after a network failure or an interrupt.
    """
    pool = ThreadPoolExecutor(CELLS_AT_ONCE)
    try:
        for future in as_completed([pool.submit(task) for task in tasks]):
            try:
                result = future.result()
            except NetworkFailure as error:
                errors.append(error)
                return
            except DlimgError as error:
                errors.append(error)
                log(f"failed    {error.problems[0].where}")
                continue
            if result.state is not LockState.CURRENT:
                log(f"{result.state:9} {result.name}{_details(result)}")
            yield result
    except KeyboardInterrupt:
        locker.solver.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _missing_wheels(request: LockRequest) -> str:
    wanted = ", ".join(
        text
        for text in request.requirements
        if has_local_version(text) and not request.index_of(package_name(text))
    )
    return (
        f"no extra wheel folder has {wanted} for Python {request.python}: name one with "
        "--find-links, or the index that has it under `indexes` (docs/indexes.md)"
    )


def _details(result: LockResult) -> str:
    if result.reason:
        return f": {result.reason}"
    return f" ({', '.join(result.changes)})" if result.changes else ""


def _is_current(request: LockRequest, old: Lock, locker: Locker) -> bool:
    return not locker.upgrade and not stale_reasons(request, old)


def _readable(read: Callable[[], Lock | None]) -> Lock | None:
    """Return the old lock; None if it is missing, or damaged, so that a new one replaces it."""
    try:
        return read()
    except BadInput:
        return None


def _written(lock: Lock, old: Lock | None, path: Path) -> LockResult:
    changes = tuple(version_changes(old, lock)) if old else ()
    return LockResult(name=lock.name, state=LockState.WRITTEN, path=path, changes=changes)


def version_changes(old: Lock, new: Lock) -> Iterator[str]:
    """Yield each new, removed or changed package: `numpy 2.4.6 -> 2.5.5`."""
    before = {wheel.name: wheel.version for wheel in old.wheels}
    after = {wheel.name: wheel.version for wheel in new.wheels}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"


def _out_of_reach(errors: Sequence[DlimgError]) -> bool:
    return any(isinstance(error, NetworkFailure) for error in errors)


def _combined(errors: Sequence[DlimgError], *, unfinished: int) -> DlimgError:
    """Return one error with all problems; a NetworkFailure if any error is one."""
    problems = [problem for error in errors for problem in error.problems]
    if unfinished > 0:
        locks = "1 more lock was" if unfinished == 1 else f"{unfinished} more locks were"
        problems.append(Problem(message=f"{locks} not finished; finished locks stay"))
    worst = next((error for error in errors if isinstance(error, NetworkFailure)), errors[0])
    return (BadInput if isinstance(worst, NoSolution) else type(worst)).of(problems)
