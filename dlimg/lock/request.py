"""Requests for locks: the requirements and constraints of a stack or a cell, with a digest."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from dlimg.additions import PathException
from dlimg.errors import BadInput
from dlimg.model import CUDNN_PACKAGES, Cell, Lock, NamedIndex, Stack, Wheel

# Packages that NVIDIA numbers by CUDA release; libraries such as cuBLAS have numbers of their own.
NUMBERED_BY_CUDA: Final = ("nvidia-cuda-", "nvidia-nvjitlink", "nvidia-nvvm", "cuda-")
PINNED_BY_STACK: Final = ("nvidia-", "cuda-")


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaMinorRule:
    """The rule that CUDA packages of a stack, except exempt ones, have its CUDA minor."""

    cuda: str
    exempt: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        """Return whether NVIDIA numbers this package by CUDA release, exempt or not."""
        return name.startswith(NUMBERED_BY_CUDA)

    def fits(self, version: str) -> bool:
        """Return whether this version belongs to the CUDA minor."""
        return _release(version)[:2] == _release(self.cuda)[:2]

    def refuses(self, name: str, version: str) -> bool:
        return self.covers(name) and name not in self.exempt and not self.fits(version)

    def constraint(self, name: str) -> str:
        return f"{name}=={self.cuda}.*"

    @property
    def text(self) -> str:
        """The rule as text, which is part of the digest."""
        names = ", ".join(f"{prefix}*" for prefix in NUMBERED_BY_CUDA)
        exempt = f" except {', '.join(sorted(self.exempt))}" if self.exempt else ""
        return f"{names} =={self.cuda}.*{exempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """The input of a lock; `name` and `where`, for messages, are not part of the digest.

    `overrides` replace what any package requires of the packages that they name. `indexes` are
    not part of the digest: a lock says of each wheel which index it is from. Neither is `system`,
    the suite of a cell's operating system, which wheels built on it are for, nor are
    `path_exceptions`: the lock names the paths that it took.
    """

    name: str
    where: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    cuda_rule: CudaMinorRule | None
    python: str
    platform: str
    overrides: tuple[str, ...] = ()
    indexes: tuple[NamedIndex, ...] = ()
    system: str = ""
    path_exceptions: tuple[PathException, ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of the request in canonical JSON; a lock has it as `inputs`."""
        fields = {
            "requirements": sorted(self.requirements),
            "constraints": sorted(self.constraints),
            "cap": self.cuda_rule.text if self.cuda_rule else "",
            "python": self.python,
            "platform": self.platform,
        }
        if self.overrides:
            fields["overrides"] = sorted(self.overrides)
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    @property
    def wants_folders(self) -> bool:
        """Return whether a requirement pins a local version that only wheel folders have."""
        return any(
            has_local_version(text) and not self.index_of(package_name(text))
            for text in self.requirements
        )

    def index_of(self, package: str) -> str:
        """Return the name of the index that this package is routed to, or an empty text."""
        return next((index.name for index in self.indexes if package in index.packages), "")


def stack_request(stack: Stack) -> LockRequest:
    """Return the request of a stack: its leader, its cuDNN, its CUDA minor.

    A cuDNN that is not the leader's replaces whatever the leader requires: the stack's other
    CUDA wheels stay the leader's. Raises BadInput for a leader that is not a requirement.
    """
    parse_requirement(stack.leader, where=f"stack {stack.lock_name}")
    major = stack.cuda.partition(".")[0]
    cudnn = (f"nvidia-cudnn-cu{major}=={stack.cudnn}.*",) if stack.cudnn else ()
    return LockRequest(
        name=stack.lock_name,
        where=f"stack {stack.lock_name}",
        requirements=(stack.leader,),
        constraints=(*(() if stack.other_cudnn else cudnn), *stack.bounds),
        overrides=cudnn if stack.other_cudnn else (),
        cuda_rule=_cuda_rule(stack),
        python=stack.python,
        platform=stack.platform,
        indexes=stack.indexes,
    )


def cell_request(cell: Cell, stack_lock: Lock | None) -> LockRequest:
    """Return the request of a cell, constrained by the pins of its stack's lock if it has one.

    Raises BadInput for an invalid requirement, and for a stack without its lock.
    """
    for text in cell.requirements:
        parse_requirement(text, where=cell.id)
    if cell.stack and stack_lock is None:
        raise BadInput(
            f"stack {cell.stack.lock_name} has no lock",
            where=cell.id,
            hint=f"run `dlimg lock {cell.id}`",
        )
    pins = pinned_versions(stack_lock.wheels) if cell.stack and stack_lock else ()
    forced = tuple(pin for pin in pins if cell.cudnn_override and is_cudnn(pin))
    return LockRequest(
        name=cell.id,
        where=cell.id,
        requirements=cell.requirements,
        constraints=(*(pin for pin in pins if pin not in forced), *cell.bounds),
        overrides=forced,
        cuda_rule=_cuda_rule(cell.stack) if cell.stack else None,
        python=cell.python,
        platform=cell.platform,
        indexes=cell.indexes,
        system=cell.os.suite,
        path_exceptions=cell.additions.path_exceptions,
    )


def pinned_versions(wheels: Iterable[Wheel]) -> tuple[str, ...]:
    """Return the exact versions that a stack's lock imposes on its cells."""
    return tuple(
        f"{wheel.name}=={wheel.version}"
        for wheel in wheels
        if wheel.name.startswith(PINNED_BY_STACK)
    )


def is_cudnn(requirement: str) -> bool:
    """Return whether a pin is one of cuDNN."""
    return requirement.partition("==")[0] in CUDNN_PACKAGES


def parse_requirement(text: str, *, where: str) -> Requirement:
    """Return the parsed requirement; raises BadInput for anything else, and for a URL."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"`{text}` is not a requirement: {reason}", where=where) from error
    if requirement.url:
        raise BadInput(
            f"`{text}` names a URL, and a lock has none",
            where=where,
            hint="name a version, and put the wheel into a folder given by --find-links",
        )
    return requirement


def package_name(text: str) -> str:
    """Return the normalized name of the package that a requirement is for."""
    return canonicalize_name(parse_requirement(text, where="").name)


def has_local_version(text: str) -> bool:
    """Return whether this requirement pins a local version such as `2.13.0+cpu`."""
    specifiers = parse_requirement(text, where="").specifier
    return any("+" in specifier.version for specifier in specifiers)


def _cuda_rule(stack: Stack) -> CudaMinorRule:
    return CudaMinorRule(cuda=stack.cuda, exempt=tuple(entry.package for entry in stack.exceptions))


def _release(version: str) -> tuple[int, ...]:
    try:
        return Version(version).release
    except InvalidVersion:
        return ()
