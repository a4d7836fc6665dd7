"""What is asked for: a stack or a cell comes in, a `LockRequest` with its digest comes out."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from dlimg.errors import BadInput
from dlimg.model import Cell, Lock, Stack, Wheel

# The parts that NVIDIA numbers by CUDA release; libraries such as cuBLAS have their own numbers.
NUMBERED_BY_CUDA: Final = ("nvidia-cuda-", "nvidia-nvjitlink", "nvidia-nvvm", "cuda-")
PINNED_BY_STACK: Final = ("nvidia-", "cuda-")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperBound:
    """The rule that holds a stack's CUDA parts to one minor, but for the exempt ones."""

    cuda: str
    exempt: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Whether NVIDIA numbers this package by CUDA release, exempt or not."""
        return name.startswith(NUMBERED_BY_CUDA)

    def fits(self, version: str) -> bool:
        """Whether this version belongs to the cap's CUDA minor."""
        return _release(version)[:2] == _release(self.cuda)[:2]

    def refuses(self, name: str, version: str) -> bool:
        return self.covers(name) and name not in self.exempt and not self.fits(version)

    def constraint(self, name: str) -> str:
        return f"{name}=={self.cuda}.*"

    @property
    def text(self) -> str:
        """The rule itself, as it enters the digest."""
        names = ", ".join(f"{prefix}*" for prefix in NUMBERED_BY_CUDA)
        exempt = f" except {', '.join(sorted(self.exempt))}" if self.exempt else ""
        return f"{names} =={self.cuda}.*{exempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """Everything that decides a lock; `name` and `where` say who asks, not in the digest."""

    name: str
    where: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    cap: UpperBound | None
    python: str
    platform: str

    @property
    def digest(self) -> str:
        """The sha256 of what is asked for, in canonical JSON; a lock keeps it as `inputs`."""
        asked = {
            "requirements": sorted(self.requirements),
            "constraints": sorted(self.constraints),
            "cap": self.cap.text if self.cap else "",
            "python": self.python,
            "platform": self.platform,
        }
        canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    @property
    def wants_folders(self) -> bool:
        """Whether a requirement pins a local version, as only extra wheel folders hold them."""
        return any(has_local_version(text) for text in self.requirements)


def stack_request(stack: Stack) -> LockRequest:
    """What a stack asks for: its leader, the cuDNN it is held to, its own CUDA minor.

    Raises BadInput for a leader that is no requirement.
    """
    parse_requirement(stack.leader, where=f"stack {stack.lock_name}")
    major = stack.cuda.partition(".")[0]
    cudnn = (f"nvidia-cudnn-cu{major}=={stack.cudnn}.*",) if stack.cudnn else ()
    return LockRequest(
        name=stack.lock_name,
        where=f"stack {stack.lock_name}",
        requirements=(stack.leader,),
        constraints=cudnn,
        cap=_cap(stack),
        python=stack.python,
        platform=stack.platform,
    )


def cell_request(cell: Cell, stack_lock: Lock | None) -> LockRequest:
    """What a cell asks for, under the pins of its stack's lock when it has a stack.

    Raises BadInput for a text that is no requirement, and for a stack without its lock.
    """
    for text in cell.requirements:
        parse_requirement(text, where=cell.id)
    if cell.stack and stack_lock is None:
        raise BadInput(
            f"stack {cell.stack.lock_name} has no lock",
            where=cell.id,
            hint=f"run `dlimg lock {cell.id}`",
        )
    return LockRequest(
        name=cell.id,
        where=cell.id,
        requirements=cell.requirements,
        constraints=pinned_versions(stack_lock.wheels) if cell.stack and stack_lock else (),
        cap=_cap(cell.stack) if cell.stack else None,
        python=cell.python,
        platform=cell.platform,
    )


def pinned_versions(wheels: Iterable[Wheel]) -> tuple[str, ...]:
    """The exact versions that a stack's lock imposes on every cell on the stack."""
    return tuple(
        f"{wheel.name}=={wheel.version}"
        for wheel in wheels
        if wheel.name.startswith(PINNED_BY_STACK)
    )


def parse_requirement(text: str, *, where: str) -> Requirement:
    """The requirement, parsed; raises BadInput for anything else, addresses included."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"`{text}` is not a requirement: {reason}", where=where) from error
    if requirement.url:
        raise BadInput(
            f"`{text}` names an address, and a lock has none",
            where=where,
            hint="name a version, and put the wheel into a folder given by --find-links",
        )
    return requirement


def has_local_version(text: str) -> bool:
    """Whether this requirement pins a version like `2.13.0+cpu`."""
    specifiers = parse_requirement(text, where="").specifier
    return any("+" in specifier.version for specifier in specifiers)


def _cap(stack: Stack) -> UpperBound:
    return UpperBound(cuda=stack.cuda, exempt=tuple(entry.package for entry in stack.exceptions))


def _release(version: str) -> tuple[int, ...]:
    try:
        return Version(version).release
    except InvalidVersion:
        return ()
