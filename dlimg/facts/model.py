"""Facts about the outside world. Each class describes one kind of row in the YAML files.

A class's annotations are its rows' fields, for the parser and for the JSON schema: `Annotated`
adds the pattern of a text, `Literal` a closed set, a field without a default is required.
A text is empty and a tuple has no members if nothing is known. Versions and days are text as
in the file; a day may be a month (`2026-06`) or a year.

Rows are compared by identity, so that they are fast keys of a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from dlimg.document.patterns import Pattern
from dlimg.document.versions import major
from dlimg.model import EMPTY_MAPPING

X86_64: Final = "x86_64"
AARCH64: Final = "aarch64"
PYPI: Final = "pypi"
VENDOR: Final = "vendor"

_DAY: Final = "write e.g. 2026-11-21"
DAY: Final = Pattern(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?", "a day, a month or a year", _DAY)
WHOLE_DAY: Final = Pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a day", _DAY)
DIGITS: Final = Pattern(r"[0-9]+(?:\.[0-9]+)*", "a version", "write e.g. 13.2 or 550.54.15")
RELEASED: Final = Pattern(
    r"[0-9]+(?:\.[0-9]+)*(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?",
    "a version",
    "write it as the package index does, e.g. 2.15.0 or 3.0rc1",
)
GPU_CODE: Final = Pattern(
    r"(?:sm|compute)_[0-9]{2,3}", "an architecture", "write e.g. sm_90, or compute_90 for PTX"
)
CAPABILITY: Final = Pattern(r"[0-9]{1,2}\.[0-9]", "a compute capability", "write e.g. 8.9")
SM: Final = Pattern(r"[0-9]{2,3}", "a compute capability without its dot", "write e.g. 89")
NAME: Final = Pattern(r"[a-z0-9-]+", "a name", "use small letters and dashes")

Day: TypeAlias = Annotated[str, DAY]
Digits: TypeAlias = Annotated[str, DIGITS]
ReleaseVersion: TypeAlias = Annotated[str, RELEASED]
Code: TypeAlias = Annotated[str, GPU_CODE]
Capability: TypeAlias = Annotated[str, CAPABILITY]
Sm: TypeAlias = Annotated[str, SM]
Arch: TypeAlias = Literal["", "x86_64", "aarch64"]
Texts: TypeAlias = tuple[str, ...]
GpuClass: TypeAlias = Literal["", "datacenter", "workstation", "consumer", "jetson"]

# A field that is called otherwise in the YAML, and one that is not in the YAML.
KEY: Final = "key"
DERIVED: Final = "derived"


def _key(name: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(metadata={KEY: name})


def _derived(default: Any) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={DERIVED: True})


class Origin(NamedTuple):
    """The source of a row and how sure it is.

    `where` is its file and line, to correct it. An uncertain row, or a field among the `doubts`,
    may lead to a warning, never to a refusal. `sources` and `notes` are those of single fields.
    """

    source: str
    checked: str
    where: str = ""
    certain: bool = True
    doubts: frozenset[str] = frozenset()
    sources: Mapping[str, str] = EMPTY_MAPPING
    notes: Mapping[str, str] = EMPTY_MAPPING
    note: str = ""

    def sure_of(self, *names: str) -> bool:
        """Return whether the row and each of these fields was confirmed."""
        fields = {key for name in names for key in (name, _group(name))}
        return self.certain and self.doubts.isdisjoint(fields)

    def source_of(self, name: str) -> str:
        """Return the field's own source or its group's; the row's if it has none."""
        return self.sources.get(name) or self.sources.get(_group(name)) or self.source

    def of(self, name: str) -> "Origin":
        """Return this origin narrowed to one field."""
        return self._replace(source=self.source_of(name), certain=self.sure_of(name))


def _group(name: str) -> str:
    """Return `image` for `image_state`; fields with one prefix may share source and doubt."""
    return name.partition("_")[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameworkFact:
    """A framework: its names, and how its packages install CUDA.

    `extra` is the extra that installs the CUDA libraries, with `{cuda}` for the CUDA of the build;
    it is empty if the package itself depends on them. `unpinned_cuda` is the origin of the
    libraries if a build pins no CUDA packages: `bundled` in the wheel, or the `system`.
    `plain_runs_on_cpu`: the package without an extra is the build without CUDA. `numpy2_since` is
    the first release that works with NumPy 2. `catalogue_from` is the oldest release that the
    catalogue tries; empty for none.
    """

    name: Annotated[str, NAME]
    aliases: Texts = ()
    extra: str = ""
    unpinned_cuda: Literal["bundled", "system"]
    plain_runs_on_cpu: bool = False
    catalogue_from: Digits = ""
    vendor_index: str = ""
    numpy2_since: Annotated[str, RELEASED] = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameworkPackage:
    """Another package of a framework, for builds with CUDA or without.

    `last_version` is its last release with wheels; `instead` what to install now. `arch` is the
    only architecture that it has wheels for; empty for those of the framework.
    """

    framework: str = _derived("")
    package: str
    builds: Literal["cuda", "cpu"]
    arch: Arch = ""
    last_version: Annotated[str, RELEASED] = ""
    instead: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReleaseBuild:
    """One build of a release: the wheel of one index, CPU architecture and CUDA.

    `cuda` is a minor (`13.2`), a major (`12`: any minor of it), or empty for a build without CUDA.
    `variant` is the index's own word (`cu132`, `cuda12`, `and-cuda`), `package` the package to
    install. `built_for` is the CUDA that compiled it, as exactly as known. `pins` are its
    requirements: a bare version is pinned exactly, anything else is a specifier. `architectures`
    has `sm_` for machine code and `compute_` for PTX; empty means unknown. `ptx_known` is false if
    the source cannot show PTX. `uses_system_cuda`: its CUDA libraries must be in the base image.
    """

    index: str
    arch: str
    cuda: str
    variant: str
    package: str
    pythons: Texts = ()
    built_for: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    uses_system_cuda: bool = False
    architectures: Texts = ()
    ptx_known: bool = True
    architectures_origin: Origin
    origin: Origin

    @property
    def cudnn(self) -> str:
        """The cuDNN version or range that the release requires; empty if it requires none."""
        pins = (pin for name, pin in self.pins.items() if name.startswith("nvidia-cudnn-"))
        return next(pins, "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameworkRelease:
    """One framework release, with the Pythons and CUDA versions that have wheels of it.

    `cuda` holds minors (`13.2`) or majors (`12`: any minor of it) of the package index's x86_64
    wheels. `paired_packages` are the versions of other packages that fit it. `library` is the
    requirement of its library package, and `plugin` the version of its plugin by CUDA.
    `architectures` has the GPU code of the wheels by CUDA, if known; `ptx_known` is false if the
    source cannot show PTX. `variants` and `aarch64_variants` are names of the builds on the
    vendor's index; `aarch64_cuda` is empty for wheels without CUDA, None without any wheel.
    `builds` are all known builds, also those of other indexes and architectures.
    """

    framework: str = _derived("")
    version: ReleaseVersion
    released: Day = ""
    yanked: bool = False
    requires_python: str = ""
    library: str = ""
    pythons: tuple[Digits, ...]
    free_threaded: Texts = ()
    platform: str = ""
    package: str = ""
    cpu_package: str = ""
    cuda: tuple[Digits, ...]
    built_for_cuda: Digits = ""
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    plugin: Mapping[str, ReleaseVersion] = field(default_factory=dict)
    paired_packages: Mapping[str, tuple[ReleaseVersion, ...]] = field(default_factory=dict)
    architectures: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    ptx_known: bool = True
    aarch64_cuda: tuple[Digits, ...] | None = None
    aarch64_architectures: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    aarch64_ptx_known: bool = True
    variants: Texts = ()
    aarch64_variants: Texts = ()
    builds: tuple[ReleaseBuild, ...] = _derived(())
    origin: Origin

    @property
    def source(self) -> str:
        return self.origin.source

    def paired_note(self, name: str) -> str:
        """Return the reason why no version of a paired package fits, or an empty text."""
        return self.origin.notes.get(name, "")

    def architectures_for(self, cuda: str) -> Texts:
        """Return the GPU code of the wheels for this CUDA; empty if unknown."""
        return self.architectures.get(cuda) or self.architectures.get(major(cuda), ())

    def builds_for(self, cuda: str, arch: str = X86_64) -> tuple[ReleaseBuild, ...]:
        """Return builds for this CUDA (empty: without any), the package index's first."""
        return tuple(
            build
            for build in self.builds
            if build.arch == arch and (build.cuda == cuda or (cuda and build.cuda == major(cuda)))
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnavailablePackage:
    """A version of a package that the package index lacks, or has without a wheel.

    `pythons` are the only Pythons that it has a wheel for; empty for none.
    """

    package: str
    version: ReleaseVersion
    pythons: tuple[Digits, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TestedBuild:
    """A row of a framework's table of tested builds; `plain_is_cuda`: the plain name has CUDA."""

    minor: Digits
    version: ReleaseVersion
    python: str
    cuda: Digits
    cudnn: Digits
    compiler: str = ""
    plain_is_cuda: bool = False
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariantArchitectures:
    """The code in builds of the vendor's own index: one `variant` of several `versions`.

    `arch` is their CPU architecture, x86_64 if it is empty.
    """

    versions: tuple[ReleaseVersion, ...]
    variant: str
    arch: Arch = ""
    architectures: tuple[Code, ...]
    ptx_known: bool = False
    pins: Mapping[str, str] = field(default_factory=dict)
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeFloor:
    """The oldest release and CUDA that have code for GPUs from this compute capability on."""

    capability_from: Capability
    min_version: ReleaseVersion
    min_cuda: Digits
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DependencyBound:
    """A bound of a dependency that releases need and do not declare; both are specifiers."""

    package: Annotated[str, NAME]
    versions: str
    bound: str
    why: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CudaFact:
    """A CUDA minor: the drivers that run it, the GPUs it compiles for, its nvidia/cuda images.

    `min_driver` is the oldest driver that runs it by minor-version compatibility (before CUDA 11:
    at all). `drivers` are those of its own updates, oldest first; from the first of them on, PTX
    works, too. `sm_max` is empty if unknown. `image_state` is `supported`, `exists`, `ended`
    (exists, without support), `deleted` or empty; `image_seen` is the month of that observation.
    The image `image_tag` also starts on the driver branches `image_lets_through`.
    """

    cuda: Digits
    released: Day = ""
    min_driver: Digits
    drivers: Mapping[str, Digits] = field(default_factory=dict)
    sm_min: Sm = ""
    sm_max: Sm = ""
    sm_added: tuple[Sm, ...] = ()
    sm_removed: tuple[Sm, ...] = ()
    nvcc_wheel: bool = False
    images: Texts = ()
    image_os: Texts = ()
    image_state: Literal["", "supported", "exists", "ended", "deleted"] = ""
    image_seen: Day = ""
    image_tag: Digits = ""
    image_lets_through: tuple[Digits, ...] = ()
    origin: Origin

    @property
    def source(self) -> str:
        return self.origin.source

    @property
    def nvcc_source(self) -> str:
        return self.origin.source_of("nvcc_wheel")

    @property
    def native_driver(self) -> str:
        """The driver of its first release: no older one supports this CUDA natively."""
        return next(iter(self.drivers.values()), "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CudaMajor:
    """A CUDA major within which drivers and builds mix: the oldest driver for any minor of it."""

    cuda_major: Digits
    min_driver: Digits
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CudnnFact:
    """A cuDNN release: the CUDAs it is for, the oldest compute capability it has code for.

    `and_newer`: the row holds for every later release, too.
    """

    cudnn: Digits
    and_newer: bool = False
    cuda: tuple[Digits, ...]
    sm_min: Sm = ""
    min_driver: Mapping[str, Digits] = field(default_factory=dict)
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DriverBranch:
    """A driver branch (`580`): its kind, the month in which its support ends, its CUDA major.

    No rule reads it; `dlimg facts drivers` shows it.
    """

    branch: Digits
    kind: Literal["LTSB", "PB", "NFB"]
    eol: Day = ""
    cuda_major: Digits = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForwardCompatibility:
    """A kind of GPU, and whether cuda-compat lets it run a newer CUDA than its driver's."""

    kind: GpuClass
    forward: bool
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GpuFact:
    """A GPU: its compute capability (`8.9`), architecture, and the CUDA and drivers it works with.

    `kind` is empty for a bare `sm_89`. `first_cuda` compiles for it; after `last_cuda` and
    `last_driver` it was dropped (empty: not yet); `first_driver` is derived from `first_cuda`.
    `arch` is the CPU architecture of the only hosts that it comes with.
    """

    name: str = _key("gpu")
    aliases: Texts = ()
    capability: Capability
    architecture: str
    kind: GpuClass
    first_cuda: Digits = ""
    last_cuda: Digits = ""
    first_driver: Digits = ""
    last_driver: Digits = ""
    arch: Arch = ""
    origin: Origin

    @property
    def sm(self) -> str:
        return f"sm_{self.capability.replace('.', '')}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherAccelerator:
    """Accelerators of another maker than NVIDIA, so that a question can be told what it names.

    `names` are regular expressions of names as `name_key` writes them, matched in full. `instead`
    is what their owner can use.
    """

    name: str = _key("accelerator")
    maker: str
    kind: str
    names: Texts
    instead: str = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PythonFact:
    """A Python minor: its release and end of life, and the newest build that uv has, if any."""

    python: Digits
    released: Day = ""
    eol: Day = ""
    latest: Digits = ""
    managed_from: Digits = ""
    managed: Digits = ""
    distributions: Texts = ()
    obtain: str = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distribution:
    """A distribution: its code name, its own Python, its C library, and the ends of its support.

    `extended_eol` ends the `extended` support: LTS is free, ESM is for subscribers. `libc` is
    `glibc` or `musl`; `glibc` is the version of the former, if known.
    """

    distribution: str
    codename: str = ""
    python: Digits = ""
    libc: Literal["glibc", "musl"] = "glibc"
    glibc: Digits = ""
    released: Day = ""
    eol: Day = ""
    extended: Literal["", "LTS", "ESM"] = ""
    extended_eol: Day = ""
    origin: Origin

    @property
    def source(self) -> str:
        return self.origin.source


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LegacyEnvironment:
    """An environment of an old tutorial or platform, and the parts of it that can still be had.

    `framework` and `version` are empty for other software. `packages` are its frameworks as
    requirements of the package index (`tensorflow-gpu==1.0.1`). `wheel` and `base_image` are
    descriptions; `wheel_state` and `base_image_state` are the states that follow from them, or
    empty.
    """

    name: str = _key("environment")
    platform: str
    says: str
    framework: str = ""
    version: ReleaseVersion = ""
    packages: Texts = ()
    pythons: tuple[Digits, ...] = ()
    cuda: str = ""
    cudnn: str = ""
    driver: str = ""
    os: str = ""
    wheel: str = ""
    wheel_state: Literal["", "available", "partly", "missing"] = ""
    base_image: str = ""
    base_image_state: Literal["", "exists", "deleted"] = ""
    obtain_python: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    docs: str = ""
    service: str = ""
    numpy: Digits = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statement:
    """A fact in words, under a name that a rule can cite: `cubin-major`, `minor-not-ptx`."""

    name: Annotated[str, NAME]
    text: str = _key("says")
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A list of rows in a file; no two rows of a file have the same values in `key`.

    Extra keys of a group (`image_source`) belong to each of its fields (`image_state`).
    """

    row: type
    key: Texts
    groups: Texts = ()


FRAMEWORK: Final = Section(row=FrameworkFact, key=("name",))
SECTIONS: Final[Mapping[str, Section]] = {
    "packages": Section(row=FrameworkPackage, key=("package",)),
    "releases": Section(row=FrameworkRelease, key=("version",)),
    "unavailable": Section(row=UnavailablePackage, key=("package", "version")),
    "tested": Section(row=TestedBuild, key=("minor",)),
    "variants": Section(row=VariantArchitectures, key=("versions", "variant", "arch")),
    "floors": Section(row=CodeFloor, key=("capability_from",)),
    "bounds": Section(row=DependencyBound, key=("package", "versions")),
    "cuda": Section(row=CudaFact, key=("cuda",), groups=("sm", "image")),
    "majors": Section(row=CudaMajor, key=("cuda_major",)),
    "cudnn": Section(row=CudnnFact, key=("cudnn",)),
    "drivers": Section(row=DriverBranch, key=("branch",)),
    "forward": Section(row=ForwardCompatibility, key=("kind",)),
    "gpus": Section(row=GpuFact, key=("gpu",)),
    "accelerators": Section(row=OtherAccelerator, key=("accelerator",)),
    "pythons": Section(row=PythonFact, key=("python",)),
    "distributions": Section(row=Distribution, key=("distribution",)),
    "environments": Section(row=LegacyEnvironment, key=("environment",)),
    "statements": Section(row=Statement, key=("name",)),
}
