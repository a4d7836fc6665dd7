"""The values that packages pass to each other: cells, locks, images, checks, evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from dlimg.additions import NO_ADDITIONS, Additions
from dlimg.errors import Problem

CPU: Final = "cpu"
GZIP: Final = "gzip"
# Of the layers of images where neither the command line nor the matrix states a compression.
DEFAULT_COMPRESSION: Final = "zstd3"
# By CUDA major, the newest first; a lock has at most one.
CUDNN_PACKAGES: Final = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11")
# The time of every file that a build makes: 1980-01-02 UTC. A zip file has no earlier year than
# 1980, and one day later that holds in every time zone.
EPOCH: Final = 315_619_200
EMPTY_MAPPING: Final[Mapping[str, str]] = MappingProxyType({})
# The group `users` of Debian and Ubuntu.
USERS_GROUP: Final = 100


# OCI's names of the CPU architectures that wheels are made for.
OCI_ARCHITECTURES: Final[Mapping[str, str]] = MappingProxyType(
    {"x86_64": "amd64", "aarch64": "arm64"}
)


class Flavour(StrEnum):
    """The purpose of an image: to run a framework, to compile for it, to develop with it."""

    RUNTIME = "runtime"
    COMPILE = "compile"
    DEVEL = "devel"
    WORKSPACE = "workspace"


# Names that the last release used; they are still accepted.
OLD_FLAVOURS: Final[Mapping[str, Flavour]] = MappingProxyType({"notebook": Flavour.WORKSPACE})


class BaseSource(StrEnum):
    """The source of an operating system's root file system."""

    REGISTRY = "registry"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """A release of a distribution.

    `image` is the registry's image, pinned to `digest` if that is not empty; `suite` is what
    a bootstrap installs; `glibc` is a version such as `2.41`.
    """

    name: str
    distribution: str
    vendor: str
    suite: str
    image: str
    python: str
    digest: str = ""
    glibc: str = ""

    @property
    def base_name(self) -> str:
        """The image after FROM, with its digest if it is pinned."""
        return f"{self.image}@{self.digest}" if self.digest else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedIndex:
    """A package index of the matrix, and the packages that come from it and nowhere else.

    `packages` are those of one accelerator; `url` is without credentials.
    """

    name: str
    url: str
    packages: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackException:
    """A CUDA package that may differ from the stack's CUDA minor version, and why."""

    package: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A CUDA minor version with a cuDNN version, whose `nvidia-*` pins families share.

    `lock_name` is the name of its lock, with the leader in it: `cuda13.0-torch2.14.1`. `cudnn`
    is empty for whatever the leader takes, and `other_cudnn` is true if it is not the leader's.
    `bounds` are specifiers that the leader needs and does not declare. `indexes` are those that
    its packages are routed to.
    """

    name: str
    lock_name: str
    cuda: str
    leader: str
    python: str
    platform: str
    cudnn: str = ""
    other_cudnn: bool = False
    bounds: tuple[str, ...] = ()
    exceptions: tuple[StackException, ...] = ()
    indexes: tuple[NamedIndex, ...] = ()

    @property
    def cudnn_part(self) -> str:
        """The part of names for a cuDNN that is not the leader's: `-cudnn9.20`, or empty."""
        return f"-cudnn{self.cudnn}" if self.other_cudnn else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """A variable that an image sets; `why` is the reason, or empty for the layout's own."""

    name: str
    value: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverFloor:
    """The oldest driver that runs a cell's CUDA, and the source of that fact."""

    version: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfLife:
    """The last day of security fixes for a part of an image, such as `Debian 13`."""

    part: str
    day: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUser:
    """The user that an image runs as: its account's name, numbers and home."""

    name: str = "user"
    number: int = 1000
    group: int = USERS_GROUP
    home: str = "/home/user"

    @property
    def numbers(self) -> str:
        """`1000:100`, which a cluster compares with root's without reading the image."""
        return f"{self.number}:{self.group}"

    @property
    def overlay(self) -> str:
        """The environment that this user installs packages into."""
        return f"{self.home}/env"

    @property
    def own_group(self) -> str:
        """The name of a group that is made for the user; empty for the distribution's `users`."""
        return "" if self.group == USERS_GROUP else self.name


DEFAULT_USER: Final = ImageUser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A framework's properties for images and checks, from its framework.yaml.

    `folder` is its folder under `images/`, and `module` the name of its Python module; both are
    empty for a family without one. `facts` is the name by which families of the matrix name it as
    their `framework`, if that is not the folder's. `fixed_packages` are name prefixes of packages
    that users' pip must not replace. `provides` are pairs of a package and the one that it
    replaces.
    `cuda_env` are variables of CUDA images. `needs_compiler` is true for a framework that runs a
    C++ compiler. `trains` is false for one without tensors and gradients: checks that need a
    framework are left out, and its own checks take their place.
    `variables` are prefixes of the variables that it reads. `image_checks` are scripts for
    `dlimg-check` inside its images, by name; those named `gpu` are for CUDA images.
    `image_checks_of` is the folder of the framework whose scripts it shares, or empty.
    """

    folder: str = ""
    facts: str = ""
    module: str = ""
    fixed_packages: tuple[str, ...] = ()
    provides: tuple[tuple[str, str], ...] = ()
    cuda_env: tuple[EnvVar, ...] = ()
    variables: tuple[str, ...] = ()
    needs_compiler: bool = False
    trains: bool = True
    image_checks: tuple[tuple[str, str], ...] = ()
    image_checks_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One image of the matrix: a family's version on an accelerator, a Python and a system.

    `required_checks` are names or patterns (`runtime_*`) of checks; empty means all that apply.
    `architectures` are the GPU architectures that the framework has code for (`sm_90`, or
    `compute_120` for PTX); for a CUDA image, empty means unknown.
    `bounds` are specifiers that its release needs and does not declare: `numpy<2`.
    `env`, `source` and `licenses` are variables and labels from the matrix. `cudnn_override` is
    the reason for a cuDNN that the framework's own pin excludes, or empty. `paired_packages` are
    names, `additions` the project's own system packages, ports, files and exceptions. `indexes`
    are those that its packages are routed to. `driver_floor` is None for a CPU or an unknown CUDA;
    `ends_of_life` has the known days, the earliest first. `user` is the account that the image
    runs as.
    """

    family: str
    package: str
    version: str
    accelerator: str
    stack: Stack | None
    python: str
    managed_python: str
    os: OperatingSystem
    flavour: Flavour
    platform: str
    requirements: tuple[str, ...]
    bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    required_checks: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    source: str = ""
    licenses: str = ""
    framework: Framework = Framework()
    cudnn_override: str = ""
    paired_packages: tuple[str, ...] = ()
    additions: Additions = NO_ADDITIONS
    indexes: tuple[NamedIndex, ...] = ()
    driver_floor: DriverFloor | None = None
    ends_of_life: tuple[EndOfLife, ...] = ()
    user: ImageUser = DEFAULT_USER

    @property
    def id(self) -> str:
        """The cell's name in files, tables and messages; it is never parsed."""
        suffix = "" if self.flavour is Flavour.RUNTIME else f"-{self.flavour}"
        accelerator = f"{self.accelerator}{self.stack.cudnn_part if self.stack else ''}"
        python_os = f"py{self.python}-{self.os.name}"
        return f"{self.family}-{self.version}-{accelerator}-{python_os}{suffix}"

    @property
    def is_cuda(self) -> bool:
        return self.stack is not None

    @property
    def architecture(self) -> str:
        """The CPU architecture of its image in OCI's words: `amd64` or `arm64`."""
        return OCI_ARCHITECTURES[self.platform.partition("-")[0]]

    @property
    def oci_platform(self) -> str:
        """The platform of its image in OCI's words: `linux/amd64` or `linux/arm64`."""
        return f"linux/{self.architecture}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedCell:
    """A cell that cannot exist or is excluded, with the reason and its source.

    `rule` is the rule that refuses the cell, and `at` the stage at which it would fail; both are
    empty for a cell that the matrix excludes. `framework` is that of the facts; `cuda` is empty on
    a CPU.
    """

    id: str
    reason: str
    source: str
    rule: str = ""
    at: Literal["install", "image", "runtime"] | None = None
    framework: str = ""
    version: str = ""
    cuda: str = ""
    python: str = ""
    distribution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel of a lock; `size` is in bytes.

    `local` marks a wheel from an extra folder, `shared` a CUDA wheel that all frameworks on its
    stack install. `index` names the index of the matrix that has it; empty for the default one.
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    local: bool = False
    shared: bool = False
    index: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPath:
    """A path in site-packages that several wheels fill differently, and why that is no fault.

    The image has the file of the wheel `owner`, the first by name; it replaces those of others.
    """

    path: str
    owner: str
    replaced: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The exact wheels of a cell or stack; `inputs` is the digest of the request."""

    name: str
    inputs: str
    python: str
    platform: str
    wheels: tuple[Wheel, ...]
    shared_paths: tuple[SharedPath, ...] = ()

    def version_of(self, *names: str) -> str:
        """Return the version of the first of these packages that is locked, or an empty text."""
        versions = {wheel.name: wheel.version for wheel in self.wheels}
        return next((versions[name] for name in names if name in versions), "")

    @property
    def local(self) -> bool:
        """Return whether any wheel came from an extra folder; such a lock is not committed."""
        return any(wheel.local for wheel in self.wheels)

    @property
    def size(self) -> int:
        """The size of all wheels in bytes, as downloaded."""
        return sum(wheel.size for wheel in self.wheels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A cell with its Dockerfile, labels and tag; `aliases` are further moving tags.

    `layers_obstacle` is the reason why the image cannot be assembled from layers, if any.
    """

    cell: Cell
    lock: Lock
    dockerfile: str
    labels: Mapping[str, str]
    repository: str
    tag: str
    aliases: tuple[str, ...] = ()
    layers_obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A root file system: `identity` is a digest of its content, `reference` its name for bake."""

    os: str
    source: BaseSource
    identity: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image to build on a base.

    `packages` is the digest of its distribution packages; it and the content key `key` are empty
    until the packages are known. `compression` is that of its layers: `gzip`, or `zstd` with a
    level, such as `zstd3`.
    """

    image: Image
    base: Base
    key: str
    packages: str = ""
    compression: str = DEFAULT_COMPRESSION

    @property
    def reference(self) -> str:
        """The immutable name: the tag with 12 digits of the content key; empty without a key."""
        if not self.key:
            return ""
        return f"{self.image.repository}:{self.image.tag}-{self.key[:12]}"

    @property
    def moving_reference(self) -> str:
        return f"{self.image.repository}:{self.image.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image that was built: `digest` is its id in the engine, `size` its bytes on disk."""

    planned: PlannedImage
    digest: str
    size: int
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailure:
    """An image that did not build: the failed step and the end of its log."""

    planned: PlannedImage
    step: str
    log: tuple[str, ...]
    seconds: float


class CheckStatus(StrEnum):
    """The outcome of a check; `not-run` never counts as passed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSelection:
    """The cells that a command is for: patterns of ids, or a group of the matrix, or all."""

    patterns: tuple[str, ...] = ()
    group: str = ""

    @property
    def is_all(self) -> bool:
        return not (self.patterns or self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A script that proves one property of an image; `needs` holds, for example, `gpu`.

    `container` is the kind of container that it needs, if not the default. `flaky` is the reason
    why it may fail for causes outside the image; such a check is tried twice. `alone` is the
    reason why no other check may run beside it. An image passes only if all its `required` checks
    ran.
    """

    name: str
    path: str
    script: str
    sha256: str
    proves: str
    needs: frozenset[str] = frozenset()
    seconds: int = 300
    container: str = ""
    flaky: str = ""
    alone: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result of a check: `figures` is its JSON line, `output` the end of its output.

    `first_reason` is why the first of two attempts failed; empty after a single attempt.
    """

    check: str
    sha256: str
    status: CheckStatus
    reason: str
    seconds: float
    required: bool = True
    figures: Mapping[str, object] = field(default_factory=dict)
    output: str = ""
    needs: frozenset[str] = frozenset()
    attempts: int = 1
    first_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host that checks ran on, without its name; `memory` in bytes, 0 if unknown."""

    system: str = ""
    kernel: str = ""
    arch: str = ""
    processor: str = ""
    cores: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All verdicts for one image digest on one device (`none` without a GPU).

    `on_host` is the family whose checks ran on a host without an engine; then the digest is empty.
    `vanished` are checks in the cell's last evidence that no longer exist. `revision` is the
    project's git commit, and `dirty` is true with uncommitted changes.
    """

    digest: str
    cell: str
    device: str
    day: str
    dlimg: str
    engine: str
    verdicts: tuple[Verdict, ...]
    host: Host = Host()
    on_host: str = ""
    vanished: tuple[str, ...] = ()
    revision: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedGpu:
    """A GPU; `capability` is such as `8.9`, empty if the driver did not say."""

    name: str
    capability: str

    @property
    def architecture(self) -> str:
        """`sm_89`, as compilers call it."""
        return f"sm_{self.capability.replace('.', '')}" if self.capability else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalMachine:
    """The local machine; `driver` is empty without one, `cuda` the newest that it supports.

    `arch` is the CPU architecture (`x86_64`), empty if unknown. `findings` are problems for the
    user, each with what to do next.
    """

    gpus: tuple[DetectedGpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    arch: str = ""
    findings: tuple[Problem, ...] = ()

    @property
    def kinds(self) -> tuple[DetectedGpu, ...]:
        """Its GPUs, those of one kind once."""
        return tuple(dict.fromkeys(self.gpus))
