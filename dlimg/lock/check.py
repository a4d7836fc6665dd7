"""Locks looked at without a network: cells and a folder come in, what is wrong comes out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from dlimg.errors import BadInput, Problem
from dlimg.lock.request import LockRequest, cell_request, parse_requirement, stack_request
from dlimg.lock.shared_wheels import mark_shared, mark_stack, shared_names
from dlimg.lock.store import lock_files, read_lock, read_stack_lock
from dlimg.model import Cell, Lock, Stack


def check_locks(
    cells: Sequence[Cell], folder: Path, *, everything: Sequence[Cell]
) -> tuple[Problem, ...]:
    """What is missing, stale, wrong, or used by no cell of `everything`; empty when all is well.

    A cell that wants an extra wheel folder may lack its lock: such locks are not committed.
    """
    stacks = {stack.lock_name: _stack_problems(stack, folder) for stack in stacks_of(cells)}
    problems = [problem for found in stacks.values() for problem in found]
    for cell in cells:
        if cell.stack is None or not stacks[cell.stack.lock_name]:
            problems.extend(_cell_problems(cell, folder))
    problems.extend(unused_locks(everything, folder))
    return (*problems, *unused_exceptions(everything, folder))


def stacks_of(cells: Iterable[Cell]) -> tuple[Stack, ...]:
    """The stacks that these cells stand on, each once, by name."""
    stacks = {cell.stack.lock_name: cell.stack for cell in cells if cell.stack}
    return tuple(stacks[name] for name in sorted(stacks))


def unused_locks(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Lock files that belong to no cell and no stack."""
    owners = {
        "cell": {cell.id for cell in everything},
        "stack": {stack.lock_name for stack in stacks_of(everything)},
    }
    for path, kind in lock_files(folder):
        if path.stem not in owners[kind]:
            yield Problem(message=f"no {kind} uses this lock", where=str(path), hint="delete it")


def unused_exceptions(everything: Sequence[Cell], folder: Path) -> Iterator[Problem]:
    """Exceptions of a stack that no lock on it makes use of, once all its locks are there."""
    by_name = {stack.name: stack for stack in stacks_of(everything)}
    for stack in by_name.values():
        locks = _locks_on(stack.name, everything, folder)
        if not stack.exceptions or locks is None:
            continue
        cap = stack_request(stack).cap
        used = {
            wheel.name
            for lock in locks
            for wheel in lock.wheels
            if cap and cap.covers(wheel.name) and not cap.fits(wheel.version)
        }
        for entry in stack.exceptions:
            if entry.package not in used:
                yield Problem(
                    message=f"the exception for {entry.package} is dead: nothing on the stack "
                    f"leaves CUDA {stack.cuda} by it",
                    where=f"stack {stack.name}",
                    hint="remove it from the stack's `exceptions`",
                )


def stale_reasons(question: LockRequest, lock: Lock) -> tuple[str, ...]:
    """In what the lock is no answer to the question; empty when it is current."""
    if lock.inputs != question.digest:
        return ("what is asked for has changed since",)
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    return (
        *_unanswered(question.requirements, versions, python=question.python),
        *_broken(question, versions),
    )


def _unanswered(texts: Iterable[str], versions: Mapping[str, str], *, python: str) -> Iterator[str]:
    environment = {"python_version": python, "sys_platform": "linux", "platform_system": "Linux"}
    for text in texts:
        requirement = parse_requirement(text, where="")
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        locked = versions.get(canonicalize_name(requirement.name))
        if locked is None:
            yield f"{text} is asked for and not locked"
        elif not requirement.specifier.contains(locked, prereleases=True):
            yield f"{text} is asked for and {locked} is locked"


def _broken(question: LockRequest, versions: Mapping[str, str]) -> Iterator[str]:
    """Constraints and caps that a lock breaks: it was edited by hand."""
    for text in question.constraints:
        requirement = parse_requirement(text, where=question.where)
        locked = versions.get(canonicalize_name(requirement.name))
        if locked and not requirement.specifier.contains(locked, prereleases=True):
            yield f"the stack holds {text} and {locked} is locked"
    cap = question.cap
    for name, version in versions.items():
        if cap and cap.refuses(name, version):
            yield f"{name} {version} is locked and not of CUDA {cap.cuda}"


def _stack_problems(stack: Stack, folder: Path) -> tuple[Problem, ...]:
    name = f"stack {stack.lock_name}"
    try:
        question, lock = stack_request(stack), read_stack_lock(stack.lock_name, folder)
    except BadInput as error:
        return error.problems
    hint = "run `dlimg lock`"
    if lock is None:
        return (Problem(message="there is no lock", where=name, hint=hint),)
    reasons = stale_reasons(question, lock)
    if not reasons and mark_stack(stack, lock, folder) != lock:
        reasons = ("it does not mark the shared wheels",)
    return tuple(
        Problem(message=f"the lock is stale: {reason}", where=name, hint=hint) for reason in reasons
    )


def _cell_problems(cell: Cell, folder: Path) -> tuple[Problem, ...]:
    try:
        stack_lock = read_stack_lock(cell.stack.lock_name, folder) if cell.stack else None
        question, lock = cell_request(cell, stack_lock), read_lock(cell.id, folder)
    except BadInput as error:
        return error.problems
    hint = f"run `dlimg lock {cell.id}`"
    if lock is None:
        if question.wants_folders:
            return ()
        return (Problem(message="there is no lock", where=cell.id, hint=hint),)
    reasons = stale_reasons(question, lock)
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
