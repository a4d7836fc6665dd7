"""The nouns: frozen values that the rooms hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

CPU: Final = "cpu"
GZIP: Final = "gzip"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})


class Flavour(StrEnum):
    """What an image is for beyond running the framework."""

    RUNTIME = "runtime"
    COMPILE = "compile"
    DEVEL = "devel"
    WORKSPACE = "workspace"


# Names of the last release, which this one still reads.
OLD_FLAVOURS: Final[Mapping[str, Flavour]] = MappingProxyType({"notebook": Flavour.WORKSPACE})


class BaseSource(StrEnum):
    """Where the operating system's root file system came from."""

    REGISTRY = "registry"
    BOOTSTRAP = "bootstrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """A distribution's release: `image` is what FROM names, `suite` what a bootstrap installs.

    `digest` is the one that the registry's image is pinned to, or empty; `glibc` such as `2.41`.
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
        """What stands after FROM: the image, with its digest where it is pinned."""
        return f"{self.image}@{self.digest}" if self.digest else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class StackException:
    """A CUDA part that may leave the stack's minor version, and why."""

    package: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One CUDA minor with one cuDNN: the exact `nvidia-*` pins that families on it share.

    `lock_name` is the name of its lock, which also tells the leader: `cuda13.0-torch2.14.1`.
    """

    name: str
    lock_name: str
    cuda: str
    leader: str
    python: str
    platform: str
    cudnn: str = ""
    exceptions: tuple[StackException, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """A variable that an image sets; `why` is empty where the layout's own code says it."""

    name: str
    value: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """What images and checks need to know about a framework, from its framework.yaml.

    `folder` is its folder under `images/`, and `module` the name of its Python module; both are
    empty for a family without one. `fixed_packages` are name prefixes of packages that users'
    pip must not replace, `provides` pairs of a package and the one that it stands for, `cuda_env`
    variables of CUDA images; with `needs_compiler` it compiles by a C++ compiler.
    """

    folder: str = ""
    module: str = ""
    fixed_packages: tuple[str, ...] = ()
    provides: tuple[tuple[str, str], ...] = ()
    cuda_env: tuple[EnvVar, ...] = ()
    needs_compiler: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One resolved corner of the matrix.

    `required_checks` are names or patterns (`runtime_*`) of checks; none named is all that apply.
    `architectures` are those that the framework has GPU code for (`sm_90`, `compute_120` as PTX);
    none named is none for a CPU image, and unknown for a CUDA image.
    `env` are the variables that the matrix states, `source` and `licenses` labels that it gives.
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
    notes: tuple[str, ...] = ()
    required_checks: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    source: str = ""
    licenses: str = ""
    framework: Framework = Framework()

    @property
    def id(self) -> str:
        """The cell's one name, for files, tables and messages; never parsed back."""
        suffix = "" if self.flavour is Flavour.RUNTIME else f"-{self.flavour}"
        where = f"py{self.python}-{self.os.name}"
        return f"{self.family}-{self.version}-{self.accelerator}-{where}{suffix}"

    @property
    def is_cuda(self) -> bool:
        return self.stack is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A corner that cannot exist, or is not wanted, with the reason and its source.

    `rule`, and the stage `at` which it would fail, are a rule's; empty where we do not want it.
    """

    id: str
    reason: str
    source: str
    rule: str = ""
    at: Literal["install", "image", "runtime"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel of a lock: `size` in bytes; `local` when it came from an extra wheel folder.

    `shared` marks a CUDA wheel that all frameworks on its stack install.
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    local: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The exact wheels of a cell or stack; `inputs` is the digest of what was asked for."""

    name: str
    inputs: str
    python: str
    platform: str
    wheels: tuple[Wheel, ...]

    def version_of(self, *names: str) -> str:
        """The version of the first of these packages that is locked, or an empty text."""
        versions = {wheel.name: wheel.version for wheel in self.wheels}
        return next((versions[name] for name in names if name in versions), "")

    @property
    def local(self) -> bool:
        """Whether a wheel came from an extra folder; such a lock is not committed."""
        return any(wheel.local for wheel in self.wheels)

    @property
    def size(self) -> int:
        """Bytes of all wheels, as downloaded."""
        return sum(wheel.size for wheel in self.wheels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A cell with its Dockerfile, labels and tag; `aliases` are further moving tags.

    `layers_obstacle` says why the image cannot be assembled from layers; it is empty where it can.
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
    """A root file system at hand: `identity` says what is in it, `reference` how bake finds it."""

    os: str
    source: BaseSource
    identity: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """An image about to be made from a base: its content key, and every name it will get.

    `packages` is the digest of what its operating system has installed; it and the key are empty
    until that is known. `compression` is that of its layers: `gzip`, or `zstd` with its level,
    such as `zstd3`.
    """

    image: Image
    base: Base
    key: str
    packages: str = ""
    compression: str = GZIP

    @property
    def reference(self) -> str:
        """The immutable name: the tag with the first 12 digits of the content key, once known."""
        if not self.key:
            return ""
        return f"{self.image.repository}:{self.image.tag}-{self.key[:12]}"

    @property
    def moving_reference(self) -> str:
        return f"{self.image.repository}:{self.image.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """An image in the engine: `digest` is the engine's id, `size` bytes on disk."""

    planned: PlannedImage
    digest: str
    size: int
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailure:
    """A cell that did not build: the step that failed and the end of its log."""

    planned: PlannedImage
    step: str
    log: tuple[str, ...]
    seconds: float


class CheckStatus(StrEnum):
    """The outcome of a check; not-run is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A script that proves one thing inside an image; `needs` holds e.g. `gpu`.

    `container` is the kind that it runs in, where that is not the ordinary one; `flaky` is why it
    may fail by no fault of the image, and then it is tried once more. An image whose `required`
    checks did not all run has not passed.
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
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check said: `figures` is its JSON line, `output` the end of what it printed.

    `first_reason` is why the first of two attempts failed; empty where there was only one.
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
    """The machine that checks ran on, without its name; `memory` in bytes, 0 where unknown."""

    system: str = ""
    kernel: str = ""
    architecture: str = ""
    processor: str = ""
    cores: int = 0
    memory: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All verdicts for one image digest on one device (`none` when no GPU was given).

    `bare` names the family whose scripts ran on a machine without an engine: then there is no
    digest. `vanished` are checks that the cell's last evidence had and that are no longer there.
    `revision` is the commit of the project whose checks these are, where git knows it, and
    `dirty` whether its files were changed since.
    """

    digest: str
    cell: str
    device: str
    day: str
    dlimg: str
    engine: str
    verdicts: tuple[Verdict, ...]
    host: Host = Host()
    bare: str = ""
    vanished: tuple[str, ...] = ()
    revision: str = ""
    dirty: bool = False
