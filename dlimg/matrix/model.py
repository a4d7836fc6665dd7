"""The choices in a matrix file as values, before facts are applied."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from dlimg.additions import CheckException, PathException, ProjectFile
from dlimg.errors import Problem
from dlimg.model import DEFAULT_USER, EnvVar, ImageUser, StackException

AXES: Final = ("version", "accelerator", "python", "os", "flavour")
# An exclude may also choose by what these derived values of a cell are.
FAMILY: Final = "family"
PYTHON_SOURCE: Final = "python_source"
PYTHON_SOURCES: Final = ("distribution", "uv")
# The cuDNN of a combination: a version of its stack's list, `leader` for the one that the stack's
# leader takes, `none` on a CPU.
CUDNN: Final = "cudnn"
LEADER: Final = "leader"
NO_CUDNN: Final = "none"
# The keys by which selectors choose.
SELECTABLE: Final = (*AXES, CUDNN)
# The framework of a family without facts.
NO_FACTS: Final = "none"
# What a flavour needs to be what its name says, by kind of accelerator; CUDA 12 has no wheel of
# nvcc.
USUAL_PACKAGES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "workspace": {"any": ("jupyterlab", "notebook")},
        "devel": {
            "cuda13": (
                "nvidia-cuda-nvcc",
                "nvidia-cuda-crt",
                "nvidia-nvvm",
                "nvidia-cuda-cccl",
            )
        },
    }
)
# The placeholder for the framework's version.
VERSION: Final = "{version}"

AxisValues = Mapping[str, str]
"""One value for each axis and `cudnn`; `family` and `python_source` where excludes are applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSelector:
    """Combinations by the values of some axes; `line` is its line in the matrix."""

    line: int
    values: Mapping[str, tuple[str, ...]]

    def fits(self, axis_values: AxisValues) -> bool:
        return all(axis_values[axis] in allowed for axis, allowed in self.values.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedVariable:
    """A variable that the images of some combinations set."""

    variable: EnvVar
    match: CellSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFile:
    """A file for the images of some combinations."""

    file: ProjectFile
    match: CellSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedCheckException:
    """An exception from a check for the images of some combinations."""

    exception: CheckException
    match: CellSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPathException:
    """A path that the wheels of some combinations may fill differently."""

    exception: PathException
    match: CellSelector


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedAdditions:
    """The additions of a family. `apt` and `ports` are by `any`, a kind, a flavour or a system.

    `build` are requirements of packages whose source distributions are built to wheels.
    `lines` has the line of each of these keys, such as `apt workspace`.
    """

    apt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: tuple[StatedFile, ...] = ()
    build: tuple[str, ...] = ()
    check_exceptions: tuple[StatedCheckException, ...] = ()
    path_exceptions: tuple[StatedPathException, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)


NO_STATED_ADDITIONS: Final = StatedAdditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class CudnnOverride:
    """Combinations that get their cuDNN although the framework pins another, and why."""

    match: CellSelector
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """Combinations that are not wanted, and the reason; those that fit an exception stay."""

    match: CellSelector
    why: str
    exceptions: tuple[CellSelector, ...] = ()

    def fits(self, axis_values: AxisValues) -> bool:
        return self.match.fits(axis_values) and not any(self.keeping(axis_values))

    def keeping(self, axis_values: AxisValues) -> Iterator[CellSelector]:
        """Yield the exceptions because of which this combination, which matches, stays."""
        if self.match.fits(axis_values):
            for exception in self.exceptions:
                if exception.fits(axis_values):
                    yield exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One framework's images: axes, packages, excludes, aliases.

    `packages` and `paired_packages` map an accelerator's kind (`cpu`, `cuda12`, `cuda13`) to
    packages, `packages` a flavour as well; `{version}` in a package stands for the framework's
    version. An axis `python` without values has the Pythons of the distributions. `leaders` maps
    a stack to the version of its leader that these images follow. `lines` has the line of each
    key and axis. Besides the axes, `axes` has the values of `cudnn` that its stacks offer.
    `platform` is another than the matrix's if its wheels need a newer glibc, or empty. `user` is
    the matrix's, apart from what the family states.
    """

    name: str
    line: int
    lines: Mapping[str, int]
    framework: str
    axes: Mapping[str, tuple[str, ...]]
    packages: Mapping[str, tuple[str, ...]]
    paired_packages: Mapping[str, tuple[str, ...]]
    defaults: Mapping[str, str]
    exclude: tuple[Exclude, ...]
    aliases: Mapping[str, CellSelector]
    env: tuple[StatedVariable, ...] = ()
    leaders: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[CudnnOverride, ...] = ()
    platform: str = ""
    additions: StatedAdditions = NO_STATED_ADDITIONS
    user: ImageUser = DEFAULT_USER


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystemChoice:
    """An operating system: its distribution in the facts and the image after FROM."""

    name: str
    line: int
    distribution: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StackChoice:
    """A stack as the matrix has it; with `{version}` in the leader, one for each version.

    `cudnn` are versions, or `leader` for the one that the leader takes.
    """

    name: str
    line: int
    python_line: int
    cuda: str
    cudnn: tuple[str, ...]
    leader: str
    python: str
    exceptions: tuple[StackException, ...]

    @property
    def follows_version(self) -> bool:
        return VERSION in self.leader


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexChoice:
    """A named package index; `packages` are the routed ones by kind of accelerator or stack."""

    name: str
    line: int
    url: str
    packages: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredCheck:
    """The name or pattern of checks that an image must pass, with its line."""

    line: int
    name: str


class PromisedGpu(NamedTuple):
    """A GPU that the images are meant for, by its name in the matrix."""

    line: int
    name: str


class IgnoredFinding(NamedTuple):
    """Findings that `dlimg lint` is to ignore; `about` is a pattern for their subject."""

    line: int
    id: str
    about: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The contents of a matrix file. `flavours` maps flavour -> accelerator kind -> packages.

    `exclude` holds for all families. `required` maps `any`, `cpu`, `cuda`, a flavour or a family
    to checks. `compression` is that of layers, as in `PlannedImage`, and empty unless the file
    states one. `source_url` and `licenses` are labels.

    `problems` are errors in the file; `unsound` names the families that could not be read. These,
    like unsound stacks, systems and groups, are left out. `notices` are old keys that were read.
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
    ignored: tuple[IgnoredFinding, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    indexes: tuple[IndexChoice, ...] = ()
    compression: str = ""
    source_url: str = ""
    licenses: str = ""
    problems: tuple[Problem, ...] = ()
    notices: tuple[Problem, ...] = ()
    unsound: frozenset[str] = frozenset()

    def platform_of(self, family: Family) -> str:
        """Return what the wheels of a family may ask of the system."""
        return family.platform or self.platform

    @property
    def arch(self) -> str:
        """The CPU architecture of all cells: `x86_64` or `aarch64`."""
        return self.platform.partition("-")[0]
