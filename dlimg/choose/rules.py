"""Could it exist? Small pure functions over facts; each answers with a reason, or with nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from dlimg.choose.facts import Distribution, Facts
from dlimg.choose.matrix import Family, Matrix, StackChoice
from dlimg.model import CPU, Flavour


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a corner cannot exist, and who says so."""

    message: str
    source: str


def python_wheels(facts: Facts, family: Family, version: str, python: str) -> Reason | None:
    """No wheel of this release for this Python. A release without a row is not judged."""
    release = facts.releases.get(family.framework, {}).get(version)
    if release is None or python in release.pythons:
        return None
    message = f"{family.framework} {version} has no wheel for Python {python}"
    return Reason(message=f"{message} (it has {', '.join(release.pythons)})", source=release.source)


def cuda_build(
    facts: Facts, family: Family, version: str, stack: StackChoice | None
) -> Reason | None:
    """No wheel of this release for the stack's CUDA."""
    release = facts.releases.get(family.framework, {}).get(version)
    if stack is None or release is None or release.has_cuda(stack.cuda):
        return None
    built = ", ".join(release.cuda)
    message = f"{family.framework} {version} is built for CUDA {built}, not {stack.cuda}"
    return Reason(message=message, source=release.source)


def python_at_hand(facts: Facts, distribution: Distribution, python: str) -> Reason | None:
    """Neither the distribution nor uv has this Python."""
    if python == distribution.python or python in facts.managed:
        return None
    message = f"{distribution.distribution} ships Python {distribution.python}, uv has no {python}"
    return Reason(message=message, source=facts.managed_source)


def compiler_wheel(facts: Facts, flavour: str, stack: StackChoice | None) -> Reason | None:
    """The devel flavour takes nvcc from a wheel, which not every CUDA has."""
    if flavour != Flavour.DEVEL or stack is None:
        return None
    fact = facts.cuda.get(stack.cuda)
    if fact is None or fact.nvcc_wheel:
        return None
    return Reason(message=f"CUDA {stack.cuda} has no wheel with nvcc", source=fact.nvcc_source)


def glibc_floor(distribution: Distribution, platform: str) -> Reason | None:
    """The wheels' platform asks for a newer glibc than the distribution has."""
    _, _, floor = platform.partition("manylinux_")
    if not floor:
        return None
    needed = tuple(int(part) for part in floor.split("_"))
    there = tuple(int(part) for part in distribution.glibc.split("."))
    if there >= needed:
        return None
    name = distribution.distribution
    message = f"{name} has glibc {distribution.glibc}, the wheels need {floor.replace('_', '.')}"
    return Reason(message=message, source=distribution.source)


class Judge:
    """All rules for one family; each pair of values is judged once, however many cells share it."""

    def __init__(self, matrix: Matrix, facts: Facts, family: Family) -> None:
        self.family = family
        self.facts = facts
        axes = family.axes
        stacks = {name: self._stack(matrix, name) for name in axes["accelerator"]}
        systems = {name: matrix.operating_systems[name].distribution for name in axes["os"]}
        self.by_python: dict[tuple[str, str], Reason | None] = {
            (version, python): python_wheels(facts, family, version, python)
            for version in axes["version"]
            for python in axes["python"]
        }
        self.by_cuda = {
            (version, name): cuda_build(facts, family, version, stack)
            for version in axes["version"]
            for name, stack in stacks.items()
        }
        self.by_system = {
            (name, python): glibc_floor(facts.distributions[distribution], matrix.platform)
            or python_at_hand(facts, facts.distributions[distribution], python)
            for name, distribution in systems.items()
            for python in axes["python"]
        }
        self.by_flavour = {
            (flavour, name): compiler_wheel(facts, flavour, stack)
            for flavour in axes["flavour"]
            for name, stack in stacks.items()
        }

    @staticmethod
    def _stack(matrix: Matrix, accelerator: str) -> StackChoice | None:
        return None if accelerator == CPU else matrix.stacks[accelerator]

    def verdict(self, corner: Mapping[str, str]) -> Reason | None:
        """The first reason why this corner cannot exist, or None."""
        return (
            self.by_python[corner["version"], corner["python"]]
            or self.by_cuda[corner["version"], corner["accelerator"]]
            or self.by_system[corner["os"], corner["python"]]
            or self.by_flavour[corner["flavour"], corner["accelerator"]]
        )
