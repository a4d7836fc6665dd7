"""Checks of locks without a network: missing, stale, unused."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.utils import canonicalize_name

from dlimg.additions import PathException
from dlimg.errors import BadInput, Problem
from dlimg.lock.file_conflicts import COMMENTS, NAMESPACE
from dlimg.lock.request import (
    LockRequest,
    cell_request,
    package_name,
    parse_requirement,
    stack_request,
)
from dlimg.lock.shared_wheels import mark_shared, mark_stacks, shared_names
from dlimg.lock.store import lock_files, read_lock, read_stack_lock
from dlimg.model import OLD_FLAVOURS, Cell, Lock, Stack


def check_locks(
    cells: Sequence[Cell], folder: Path, *, everything: Sequence[Cell]
) -> tuple[Problem, ...]:
    """Return missing, stale and invalid locks of cells, and those unused by `everything`.

    A cell that needs an extra wheel folder, or a wheel built here, may lack its lock: such locks
    are not committed.
    """
    stacks = {stack.lock_name: _stack_problems(stack, folder) for stack in stacks_of(cells)}
    problems = [problem for stack_problems in stacks.values() for problem in stack_problems]
    for cell in cells:
        if cell.stack is None or not stacks[cell.stack.lock_name]:
            problems.extend(cell_problems(cell, folder))
    problems.extend(unused_locks(everything, folder))
    problems.extend(unused_path_exceptions(everything, folder))
    problems.extend(unused_builds(everything, folder))
    return (*problems, *unused_exceptions(everything, folder))


def stacks_of(cells: Iterable[Cell]) -> tuple[Stack, ...]:
    """Return the stacks of these cells by the names of their locks, each once."""
    stacks = {cell.stack.lock_name: cell.stack for cell in cells if cell.stack}
    return tuple(stacks[name] for name in sorted(stacks))


def unused_locks(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Yield lock files without a cell or stack; those with a former name are to be renamed."""
    stacks = stacks_of(everything)
    names = {
        "cell": {cell.id for cell in everything},
        "stack": {stack.lock_name for stack in stacks},
    }
    former = {
        "cell": {former_id(cell) for cell in everything},
        "stack": {stack.name for stack in stacks},
    }
    for path, kind in lock_files(folder):
        if path.stem not in names[kind]:
            hint = "delete it"
            if path.stem in former[kind]:
                hint = "run `dlimg lock`, which takes it over under its new name"
            yield Problem(message=f"no {kind} uses this lock", where=str(path), hint=hint)


def former_id(cell: Cell) -> str:
    """Return the id that the cell had in the last release."""
    for old, new in OLD_FLAVOURS.items():
        if cell.flavour == new:
            return f"{cell.id.removesuffix(new)}{old}"
    return cell.id


def unused_exceptions(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Yield exceptions that none of their stack's locks needs, once all locks exist."""
    by_name = {stack.name: stack for stack in stacks_of(everything)}
    for stack in by_name.values():
        locks = _locks_on(stack.name, everything, folder)
        if not stack.exceptions or locks is None:
            continue
        rule = stack_request(stack).cuda_rule
        used = {
            wheel.name
            for lock in locks
            for wheel in lock.wheels
            if rule and rule.covers(wheel.name) and not rule.fits(wheel.version)
        }
        for entry in stack.exceptions:
            if entry.package not in used:
                yield Problem(
                    message=f"the exception for {entry.package} is unused: no package on the "
                    f"stack leaves CUDA {stack.cuda} by it",
                    where=f"stack {stack.name}",
                    hint="remove it from the stack's `exceptions`",
                )


def unused_path_exceptions(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Yield exceptions of paths that no lock of their cells needs, once all of these exist."""
    cells_of: dict[tuple[str, PathException], list[Cell]] = {}
    for cell in everything:
        for exception in cell.additions.path_exceptions:
            cells_of.setdefault((cell.family, exception), []).append(cell)
    for (family, exception), cells in cells_of.items():
        try:
            locks = [read_lock(cell.id, folder) for cell in cells]
        except BadInput:
            continue
        shared_paths = {shared.path for lock in locks if lock for shared in lock.shared_paths}
        if all(locks) and not any(fnmatchcase(path, exception.path) for path in shared_paths):
            yield Problem(
                message=f"the exception for {exception.path} is unused: no two wheels fill it "
                "differently",
                where=f"family {family}",
                hint="remove it from `path_exceptions`",
            )


def unused_builds(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Yield packages to be built that none of their family's locks has, once all of these exist."""
    cells_of: dict[tuple[str, str], list[Cell]] = {}
    for cell in everything:
        for text in cell.additions.build:
            cells_of.setdefault((cell.family, text), []).append(cell)
    for (family, text), cells in cells_of.items():
        try:
            locks = [read_lock(cell.id, folder) for cell in cells]
        except BadInput:
            continue
        if all(locks) and not any(lock and lock.version_of(package_name(text)) for lock in locks):
            yield Problem(
                message=f"{text} is to be built, and no image needs it",
                where=f"family {family}",
                hint="remove it from `build`, or add it to the packages",
            )


def stale_reasons(request: LockRequest, lock: Lock) -> tuple[str, ...]:
    """Return why the lock does not satisfy the request; empty when it is current."""
    if lock.inputs != request.digest:
        return ("the requirements have changed since",)
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    return (
        *_missing(request.requirements, versions, python=request.python),
        *_violated(request, versions),
        *_misrouted(request, lock),
        *_unexcused(request, lock),
    )


def _unexcused(request: LockRequest, lock: Lock) -> Iterator[str]:
    """Yield paths that wheels fill differently, for a reason that the matrix no longer has."""
    reasons = {COMMENTS, NAMESPACE, *(exception.why for exception in request.path_exceptions)}
    for shared in lock.shared_paths:
        if shared.why not in reasons:
            yield f"no exception of the matrix is for {shared.path}"


def _missing(texts: Iterable[str], versions: Mapping[str, str], *, python: str) -> Iterator[str]:
    environment = {"python_version": python, "sys_platform": "linux", "platform_system": "Linux"}
    for text in texts:
        requirement = parse_requirement(text, where="")
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        locked = versions.get(canonicalize_name(requirement.name))
        if locked is None:
            yield f"{text} is required and not locked"
        elif not requirement.specifier.contains(locked, prereleases=True):
            yield f"{text} is required and {locked} is locked"


def _violated(request: LockRequest, versions: Mapping[str, str]) -> Iterator[str]:
    """Yield constraints that a lock violates because it was edited by hand."""
    for text in (*request.constraints, *request.overrides):
        requirement = parse_requirement(text, where=request.where)
        locked = versions.get(canonicalize_name(requirement.name))
        if locked and not requirement.specifier.contains(locked, prereleases=True):
            yield f"{text} is a constraint and {locked} is locked"
    rule = request.cuda_rule
    for name, version in versions.items():
        if rule and rule.refuses(name, version):
            yield f"{name} {version} is locked and not of CUDA {rule.cuda}"


def _misrouted(request: LockRequest, lock: Lock) -> Iterator[str]:
    """Yield wheels whose index is not the one that the matrix routes their package to."""
    names = {index.name for index in request.indexes}
    for wheel in lock.wheels:
        index = request.index_of(wheel.name)
        # A folder's wheel of a public version: its index had none.
        if wheel.index == index or (wheel.local and "+" not in wheel.version):
            continue
        if wheel.index and wheel.index not in names:
            yield f"{wheel.name} is from the index {wheel.index}, which the matrix does not have"
        elif index:
            origin = f"from {wheel.index}" if wheel.index else "from no named index"
            yield f"{wheel.name} comes from the index {index} and is locked {origin}"
        else:
            yield f"{wheel.name} is from the index {wheel.index}, which it is not routed to"


def _stack_problems(stack: Stack, folder: Path) -> tuple[Problem, ...]:
    name = f"stack {stack.lock_name}"
    try:
        request, lock = stack_request(stack), read_stack_lock(stack.lock_name, folder)
    except BadInput as error:
        return error.problems
    hint = "run `dlimg lock`"
    if lock is None:
        return (Problem(message="there is no lock", where=name, hint=hint),)
    reasons = stale_reasons(request, lock)
    if not reasons and mark_stacks([lock], folder) != (lock,):
        reasons = ("it does not mark the shared wheels",)
    return tuple(
        Problem(message=f"the lock is stale: {reason}", where=name, hint=hint) for reason in reasons
    )


def cell_problems(cell: Cell, folder: Path) -> tuple[Problem, ...]:
    """Return why the lock of a cell is missing, stale or invalid, besides that of its stack."""
    try:
        stack_lock = read_stack_lock(cell.stack.lock_name, folder) if cell.stack else None
        request, lock = cell_request(cell, stack_lock), read_lock(cell.id, folder)
    except BadInput as error:
        return error.problems
    hint = f"run `dlimg lock {cell.id}`"
    if lock is None:
        if request.wants_folders or cell.additions.build:
            return ()
        return (Problem(message="there is no lock", where=cell.id, hint=hint),)
    reasons = stale_reasons(request, lock)
    if not reasons and mark_shared(lock, shared_names(stack_lock)) != lock:
        reasons = ("its marks of shared wheels are not those of the stack",)
    return tuple(
        Problem(message=f"the lock is stale: {reason}", where=cell.id, hint=hint)
        for reason in reasons
    )


def _locks_on(stack: str, everything: Sequence[Cell], folder: Path) -> list[Lock] | None:
    """Return the locks of a stack, for each leader, and its cells; None if one is missing."""
    cells = [cell for cell in everything if cell.stack and cell.stack.name == stack]
    try:
        locks = [
            *(read_stack_lock(leader.lock_name, folder) for leader in stacks_of(cells)),
            *(read_lock(cell.id, folder) for cell in cells),
        ]
    except BadInput:
        return None
    present = [lock for lock in locks if lock]
    return present if len(present) == len(locks) else None
