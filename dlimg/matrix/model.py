"""What a matrix file says, as values: our choices, before the facts have been asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dlimg.errors import Problem
from dlimg.model import GZIP, EnvVar, StackException

AXES: Final = ("version", "accelerator", "python", "os", "flavour")
# The framework of a family that no facts speak of.
NO_FACTS: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSelector:
    """Corners by the values of some axes; `line` is where it stands in the matrix."""

    line: int
    values: Mapping[str, tuple[str, ...]]

    def fits(self, corner: Mapping[str, str]) -> bool:
        return all(corner[axis] in allowed for axis, allowed in self.values.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedVariable:
    """A variable of the images of some corners."""

    variable: EnvVar
    match: CellSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """Corners that could exist and that we do not want, and why."""

    match: CellSelector
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One framework's images: its axes, what is installed, what is not wanted, extra names.

    `packages`, `companions` map an accelerator's kind (`cpu`, `cuda12`, `cuda13`) to packages;
    `{version}` in a package stands for the framework's version. `lines` has the line of each key
    and axis.
    """

    name: str
    line: int
    lines: Mapping[str, int]
    framework: str
    axes: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, tuple[str, ...]]
    companions: Mapping[str, tuple[str, ...]]
    defaults: Mapping[str, str]
    exclude: tuple[Exclude, ...]
    aliases: Mapping[str, CellSelector]
    env: tuple[StatedVariable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystemChoice:
    """An operating system by its row in the facts and the image that FROM names."""

    name: str
    line: int
    distribution: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChoice:
    """A stack as the matrix asks for it."""

    name: str
    line: int
    python_line: int
    cuda: str
    cudnn: str
    leader: str
    python: str
    exceptions: tuple[StackException, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredCheck:
    """The name or pattern of checks that an image must pass, and the line where it stands."""

    line: int
    name: str


class PromisedGpu(NamedTuple):
    """A GPU that the images are meant for, as the matrix calls it."""

    line: int
    name: str


class AcceptedFinding(NamedTuple):
    """Findings of `dlimg lint` that are known and stay; `about` is a pattern for their subject."""

    line: int
    id: str
    about: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Everything a matrix file says. `flavours` maps flavour -> accelerator kind -> packages.

    `required` maps `any`, `cpu`, `cuda`, a flavour or a family to checks.

    `compression` is that of layers, as `Planned` has it. `source_url` and `licenses` are labels.

    `problems` is what is wrong with it; then `unsound` names the families about which nothing
    further can be said, and these, like unsound stacks, systems and groups, are left out.
    """

    source: str
    registry: str
    platform: str
    operating_systems: Mapping[str, OperatingSystemChoice]
    stacks: Mapping[str, StackChoice]
    flavours: Mapping[str, Mapping[str, tuple[str, ...]]]
    families: Mapping[str, Family]
    groups: Mapping[str, tuple[CellSelector, ...]]
    required: Mapping[str, tuple[RequiredCheck, ...]] = field(default_factory=dict)
    gpus: tuple[PromisedGpu, ...] = ()
    accepted: tuple[AcceptedFinding, ...] = ()
    compression: str = GZIP
    source_url: str = ""
    licenses: str = ""
    problems: tuple[Problem, ...] = ()
    unsound: frozenset[str] = frozenset()
