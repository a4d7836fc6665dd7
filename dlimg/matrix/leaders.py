"""The leaders of stacks: with `leader: torch=={version}` a stack for each version of torch."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from packaging.version import Version

from dlimg.compat.rules_bounds import bound_texts
from dlimg.errors import Problem, nearest
from dlimg.facts.load import Facts
from dlimg.matrix.cudnn import is_chosen, is_leaders, pinning_build
from dlimg.matrix.indexes import indexes_for
from dlimg.matrix.model import (
    CUDNN,
    LEADER,
    VERSION,
    AxisValues,
    Family,
    Matrix,
    StackChoice,
)
from dlimg.model import CPU, Stack

_EXACT: Final = re.compile(r"[^=<>!~;]+==\s*(?P<version>[0-9][^\s,;*]*)\s*(?:;.*)?")


def package_of(requirement: str) -> str:
    """Return the package name at the beginning of a requirement (PEP 508)."""
    return re.split(r"[\[<>=!~;( ]", requirement, maxsplit=1)[0]


def accelerator_kind(matrix: Matrix, accelerator: str) -> str:
    """Return `cpu`, or `cuda` with the major version of the stack's CUDA, such as `cuda13`."""
    if accelerator == CPU:
        return CPU
    return f"cuda{matrix.stacks[accelerator].cuda.split('.')[0]}"


class StackResolver:
    """Stacks of cells. The family that a leader belongs to follows its own version.

    Other families follow the newest leader on the stack, or the one that they name in `leaders`.
    """

    def __init__(
        self, matrix: Matrix, facts: Facts, cells: Mapping[str, Sequence[AxisValues]]
    ) -> None:
        """Find the versions of leaders; `cells` holds the axis values of the cells by family."""
        self.matrix = matrix
        self.facts = facts
        self.stacks: dict[tuple[str, str, str], Stack] = {}
        self.versions = {
            name: tuple(sorted(set(self._leading_versions(choice, cells)), key=Version))
            for name, choice in matrix.stacks.items()
            if choice.follows_version
        }

    def _leading_versions(
        self, choice: StackChoice, cells: Mapping[str, Sequence[AxisValues]]
    ) -> Iterator[str]:
        for family in self.matrix.families.values():
            if self._leads(family, choice):
                for axis_values in cells[family.name]:
                    if axis_values["accelerator"] == choice.name:
                        yield axis_values["version"]

    def _leads(self, family: Family, choice: StackChoice) -> bool:
        """Return whether the framework of this family is the stack's leader."""
        packages = family.packages.get(accelerator_kind(self.matrix, choice.name), ())
        return bool(packages) and package_of(packages[0]) == package_of(choice.leader)

    def stack(self, family: Family, axis_values: AxisValues) -> Stack | None:
        """Return the stack of a cell, None on a CPU."""
        name = axis_values["accelerator"]
        if name == CPU:
            return None
        choice = self.matrix.stacks[name]
        version = self._leader_version(family, choice, axis_values["version"])
        key = (name, version, axis_values[CUDNN])
        if key not in self.stacks:
            self.stacks[key] = self._stack(choice, version, axis_values[CUDNN])
        return self.stacks[key]

    def repeats_leaders(self, axis_values: AxisValues, stack: Stack | None) -> bool:
        """Return whether the stack's list has the leader's cuDNN twice, and this is the version."""
        if stack is None or not stack.cudnn or stack.other_cudnn:
            return False
        return LEADER in self.matrix.stacks[axis_values["accelerator"]].cudnn

    def _leader_version(self, family: Family, choice: StackChoice, version: str) -> str:
        if not choice.follows_version:
            return ""
        if self._leads(family, choice):
            return version
        return family.leaders.get(choice.name) or next(reversed(self.versions[choice.name]), "")

    def _stack(self, choice: StackChoice, version: str, cudnn: str) -> Stack:
        leader = choice.leader.replace(VERSION, version)
        exact = _EXACT.fullmatch(leader)
        leading = exact["version"] if exact else ""
        package = package_of(leader)
        framework = self.facts.framework_names.get(package, package)
        build = pinning_build(self.facts, self.matrix, framework, leading, choice.cuda)
        is_other = not is_leaders(choice, cudnn, build.cudnn if build else "")
        return Stack(
            name=choice.name,
            lock_name=f"{choice.name}-{package}{leading}{f'-cudnn{cudnn}' if is_other else ''}",
            cuda=choice.cuda,
            cudnn=cudnn if is_chosen(cudnn) else "",
            other_cudnn=is_other,
            leader=leader,
            python=choice.python,
            platform=self.matrix.platform,
            bounds=bound_texts(self.facts, framework, leading),
            exceptions=choice.exceptions,
            indexes=indexes_for(
                self.matrix, choice.name, accelerator_kind(self.matrix, choice.name)
            ),
        )

    def problems(self) -> Iterator[Problem]:
        """Yield stacks without a leader, and leaders of families that no stack has."""
        used = {name for name, _, _ in self.stacks}
        for name, versions in self.versions.items():
            choice = self.matrix.stacks[name]
            if name in used and not versions:
                package = package_of(choice.leader)
                yield Problem(
                    message=f"stack {name}: no cell gives its leader {choice.leader} a version",
                    where=f"{self.matrix.source}:{choice.line}",
                    hint=f"write the version, or put a family with {package} on the stack",
                )
        for family in self.matrix.families.values():
            yield from self._leader_problems(family)

    def _leader_problems(self, family: Family) -> Iterator[Problem]:
        for name, version in family.leaders.items():
            message = hint = ""
            if name not in self.versions:
                message = f"no stack {name} has a leader with {VERSION}"
                hint = nearest(name, self.versions)
            elif name not in family.axes["accelerator"]:
                message = f"{name} is not among its accelerators"
                hint = "remove it"
            elif self._leads(family, self.matrix.stacks[name]):
                message = f"it leads the stack {name} itself, each cell with its own version"
                hint = "remove it"
            elif version not in self.versions[name]:
                message = f"no cell on {name} has the leader's version {version}"
                hint = nearest(version, self.versions[name])
            if message:
                yield Problem(
                    message=f"the leaders of family {family.name}: {message}",
                    where=f"{self.matrix.source}:{family.lines['leaders']}",
                    hint=hint,
                )
