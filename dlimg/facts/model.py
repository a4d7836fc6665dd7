"""The nouns of the facts: what the outside world allows. Every one knows its `origin`.

A text is empty, and a tuple has nothing in it, where nobody has looked or there is nothing to say.
Versions and days are text as in the file; a day may be a month (`2026-06`) or a year. They are
tuples with names, made by keyword: as many dataclasses would cost every command 15 ms to import.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dlimg.model import NOTHING


class Origin(NamedTuple):
    """Where a row is from and how sure it is.

    `where` is its file and line, to correct it. An uncertain row, or a field among the `doubts`,
    may make somebody warn; it never forbids. `sources` and `notes` are those of single fields.
    """

    source: str
    checked: str
    where: str = ""
    certain: bool = True
    doubts: frozenset[str] = frozenset()
    sources: Mapping[str, str] = NOTHING
    notes: Mapping[str, str] = NOTHING
    note: str = ""

    def sure_of(self, *names: str) -> bool:
        """Whether the row, and each of these fields, was confirmed."""
        asked = {one for name in names for one in (name, _group(name))}
        return self.certain and self.doubts.isdisjoint(asked)

    def source_of(self, name: str) -> str:
        """The field's own source or its group's; the row's where it has none."""
        return self.sources.get(name) or self.sources.get(_group(name)) or self.source


def _group(name: str) -> str:
    """The fields `image_state` and `image_os` may have one source and one doubt for both."""
    return name.partition("_")[0]


class Distribution(NamedTuple):
    """A distribution's code name, its own Python and its glibc; the days that its support ends.

    `extended_eol` ends what `extended` names: `LTS` is for everybody, `ESM` for subscribers.
    `libc` is `glibc` or `musl`; only the first has a number, where it is known.
    """

    distribution: str
    codename: str
    python: str
    glibc: str
    origin: Origin
    libc: str = "glibc"
    released: str = ""
    eol: str = ""
    extended: str = ""
    extended_eol: str = ""

    @property
    def source(self) -> str:
        return self.origin.source


class CudaFact(NamedTuple):
    """A CUDA minor: the drivers that run it, the GPUs it compiles for, its nvidia/cuda images.

    `min_driver` is the oldest that runs it within its major (before CUDA 11: at all), `drivers`
    those of its own updates, oldest first: from there on PTX works, too. `sm_max` is empty where
    it is not known. `image_state` is `supported`, `exists`, `ended` (exists, without support),
    `deleted` or empty; `image_seen` the month that says so. The image `image_tag` starts on a
    driver whose CUDA is `image_requires` or newer, and on the branches `image_lets_through`.
    """

    cuda: str
    min_driver: str
    nvcc_wheel: bool
    origin: Origin
    released: str = ""
    drivers: Mapping[str, str] = NOTHING
    sm_min: str = ""
    sm_max: str = ""
    images: tuple[str, ...] = ()
    image_os: tuple[str, ...] = ()
    image_state: str = ""
    image_seen: str = ""
    image_tag: str = ""
    image_requires: str = ""
    image_lets_through: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return self.origin.source

    @property
    def nvcc_source(self) -> str:
        return self.origin.source_of("nvcc_wheel")

    @property
    def native_driver(self) -> str:
        """The driver of its first release: no older one knows this CUDA by itself."""
        return next(iter(self.drivers.values()), "")


class GpuFact(NamedTuple):
    """A GPU: its compute capability (`8.9`), architecture, and the CUDA and drivers it works with.

    `kind` is `datacenter`, `workstation`, `consumer`, `jetson`, or empty for a bare `sm_89`.
    `first_cuda` compiles for it; after `last_cuda` and `last_driver` it was dropped (empty: not
    yet); `first_driver` is derived from `first_cuda`. `machine` is empty where it fits any host.
    """

    name: str
    capability: str
    architecture: str
    origin: Origin
    aliases: tuple[str, ...] = ()
    kind: str = ""
    first_cuda: str = ""
    last_cuda: str = ""
    first_driver: str = ""
    last_driver: str = ""
    machine: str = ""
    mig: bool = False

    @property
    def sm(self) -> str:
        return f"sm_{self.capability.replace('.', '')}"


class DriverBranch(NamedTuple):
    """A driver branch (`580`): kind (`LTSB`, `PB`, `NFB`), its last month, the CUDA major it runs.

    Sources may disagree about `eol`: then it is the earlier day, and `eol_latest` the later. A
    branch may have `ended` without a day that is known.
    """

    branch: str
    kind: str
    origin: Origin
    eol: str = ""
    eol_latest: str = ""
    ended: bool = False
    cuda_major: str = ""


class GpuKind(NamedTuple):
    """Whether GPUs of this kind run a newer CUDA than their driver's, by cuda-compat."""

    kind: str
    forward: bool
    origin: Origin


class TestedBuild(NamedTuple):
    """A row of TensorFlow's table of tested builds; whether the plain name is a CUDA build."""

    minor: str
    version: str
    python: str
    cuda: str
    cudnn: str
    origin: Origin
    compiler: str = ""
    plain_is_cuda: bool = False


class CudaMajor(NamedTuple):
    """A CUDA major within which drivers and builds mix: the oldest driver for any minor of it."""

    cuda_major: str
    min_driver: str
    origin: Origin


class CudnnFact(NamedTuple):
    """A cuDNN release: the CUDAs it is for, the oldest compute capability it has code for.

    `and_newer`: what is said holds for every later release, too.
    """

    cudnn: str
    cuda: tuple[str, ...]
    origin: Origin
    sm_min: str = ""
    and_newer: bool = False


class PythonFact(NamedTuple):
    """A Python minor: its days, and the first and newest build that uv manages, if there is any."""

    python: str
    origin: Origin
    released: str = ""
    eol: str = ""
    latest: str = ""
    managed_from: str = ""
    managed: str = ""
    distributions: tuple[str, ...] = ()
    obtain: str = ""


class LegacyEnvironment(NamedTuple):
    """An environment of an old tutorial or platform, and what of it can still be had.

    `packages` are its framework as requirements of the package index (`tensorflow-gpu==1.0.1`);
    `wheel` and `base_image` begin with yes, no or partly, or say what is left of them.
    """

    name: str
    platform: str
    says: str
    origin: Origin
    packages: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    cuda: str = ""
    cudnn: str = ""
    driver: str = ""
    os: str = ""
    wheel: str = ""
    base_image: str = ""
    obtain_python: Mapping[str, str] = NOTHING


class Statement(NamedTuple):
    """A fact in words, under a name that a rule can cite: `cubin-major`, `minor-not-ptx`."""

    name: str
    text: str
    origin: Origin


X86_64: Final = "x86_64"
AARCH64: Final = "aarch64"
PYPI: Final = "pypi"
VENDOR: Final = "vendor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBuild:
    """One build of a release: what a wheel of this index, machine and CUDA holds and asks for.

    `cuda` is a minor (`13.2`), a major (`12`: any minor of it), or empty for a build without.
    `variant` is the index's own word (`cu132`, `cuda12`, `and-cuda`); `package` what is installed.
    `built_for` is the CUDA that compiled it, to the last digit known. `pins` are its requirements:
    a bare version is pinned exactly, anything else is a specifier. `architectures` has `sm_` for
    machine code and `compute_` for PTX; none: nobody has looked. `ptx_known` is false where the
    way of looking shows no PTX.
    """

    index: str
    machine: str
    cuda: str
    variant: str
    package: str
    pythons: tuple[str, ...] = ()
    built_for: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()
    ptx_known: bool = True
    architectures_origin: Origin
    origin: Origin

    @property
    def cudnn(self) -> str:
        """The cuDNN that it pins, or the range that it takes; empty where it asks for none."""
        found = (text for name, text in self.pins.items() if name.startswith("nvidia-cudnn-"))
        return next(found, "")


class FrameworkRelease(NamedTuple):
    """One framework release: Pythons and CUDA versions that its wheels exist for.

    `cuda` holds minors (`13.2`) or majors (`12`: any minor of it) of the package index's x86_64
    wheels; `companions` the versions that pair with it, `companion_notes` why there is none.
    `architectures` has, for what `cuda` holds, the GPUs that the wheels have code for, where
    somebody has looked. `builds` has all that is known, of other indexes and machines too.
    """

    framework: str
    version: str
    pythons: tuple[str, ...]
    cuda: tuple[str, ...]
    companions: Mapping[str, tuple[str, ...]]
    companion_notes: Mapping[str, str]
    architectures: Mapping[str, tuple[str, ...]]
    origin: Origin
    released: str = ""
    yanked: bool = False
    free_threaded: tuple[str, ...] = ()
    requires_python: str = ""
    platform: str = ""
    cpu_package: str = ""
    builds: tuple[ReleaseBuild, ...] = ()

    @property
    def source(self) -> str:
        return self.origin.source

    def has_cuda(self, cuda: str) -> bool:
        return cuda in self.cuda or major(cuda) in self.cuda

    def architectures_for(self, cuda: str) -> tuple[str, ...]:
        """Those of the wheels for this CUDA; none where nobody has looked."""
        return self.architectures.get(cuda) or self.architectures.get(major(cuda), ())

    def builds_for(self, cuda: str, machine: str = X86_64) -> tuple[ReleaseBuild, ...]:
        """Builds for this CUDA (empty: without any), the package index's first."""
        return tuple(
            one
            for one in self.builds
            if one.machine == machine and (one.cuda == cuda or (cuda and one.cuda == major(cuda)))
        )


def major(version: str) -> str:
    return version.split(".", maxsplit=1)[0]


class CodeFloor(NamedTuple):
    """The oldest release and CUDA that have code for GPUs from this compute capability on."""

    framework: str
    capability_from: str
    min_version: str
    min_cuda: str
    origin: Origin
