"""The nouns of framework releases: what each has wheels for, on which index and machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dlimg.choose.facts_nouns import Origin

X86_64: Final = "x86_64"
AARCH64: Final = "aarch64"
PYPI: Final = "pypi"
VENDOR: Final = "vendor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
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


class Release(NamedTuple):
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
    builds: tuple[Build, ...] = ()

    @property
    def source(self) -> str:
        return self.origin.source

    def has_cuda(self, cuda: str) -> bool:
        return cuda in self.cuda or major(cuda) in self.cuda

    def architectures_for(self, cuda: str) -> tuple[str, ...]:
        """Those of the wheels for this CUDA; none where nobody has looked."""
        return self.architectures.get(cuda) or self.architectures.get(major(cuda), ())

    def builds_for(self, cuda: str, machine: str = X86_64) -> tuple[Build, ...]:
        """Builds for this CUDA (empty: without any), the package index's first."""
        return tuple(
            one
            for one in self.builds
            if one.machine == machine and (one.cuda == cuda or (cuda and one.cuda == major(cuda)))
        )


def major(version: str) -> str:
    return version.split(".", maxsplit=1)[0]


class Floor(NamedTuple):
    """The oldest release and CUDA that have code for GPUs from this compute capability on."""

    framework: str
    capability_from: str
    min_version: str
    min_cuda: str
    origin: Origin
