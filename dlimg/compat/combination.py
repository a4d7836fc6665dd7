"""One combination of everything that must fit together, as far as it was said."""

from typing import Final, Literal, NamedTuple

from dlimg.compat.parse_names import FRAMEWORKS
from dlimg.document.versions import minor
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, Distribution, FrameworkRelease, GpuFact, ReleaseBuild
from dlimg.model import Cell, Lock


class Combination(NamedTuple):
    """A framework's release and build, and what it is to run on; what is None or empty is open.

    `package` is the word for it in the question (`tensorflow-gpu`), empty for the framework's own.
    `cuda` is a minor, empty for a build without; `cudnn` may be the beginning of a version. A
    `driver` may be a bare branch (`550`): then it stands for the newest of it. `platform` is what
    wheels may ask for. `wheels` are locked: they outrank what the facts say. `compat` tells
    whether a package for forward compatibility of the driver can be added to the image.
    """

    framework: str
    version: str
    package: str = ""
    release: FrameworkRelease | None = None
    build: ReleaseBuild | None = None
    cuda: str = ""
    cudnn: str = ""
    python: str = ""
    distribution: Distribution | None = None
    gpu: GpuFact | None = None
    driver: str = ""
    machine: str = X86_64
    platform: str = ""
    flavour: str = ""
    wheels: Lock | None = None
    compat: Literal["possible", "absent"] = "possible"

    @property
    def name(self) -> str:
        """`torch 2.6.0`."""
        return f"{self.package or self.framework} {self.version}"


_CUDA: Final = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
_CUDNN: Final = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cudnn-cu11")


def combination_of(
    cell: Cell, facts: Facts, lock: Lock | None = None, gpu: GpuFact | None = None, driver: str = ""
) -> Combination:
    """The cell on this GPU and driver; what its lock says outranks the facts.

    Its image has no package for forward compatibility of the driver.
    """
    framework = FRAMEWORKS.get(cell.package, cell.package)
    release = facts.releases.get(framework, {}).get(cell.version)
    cuda = cell.stack.cuda if cell.stack else ""
    if lock and cuda:
        cuda = minor(lock.version_of(*_CUDA)) or cuda
    return Combination(
        framework=framework,
        version=cell.version,
        package=cell.package if cell.package != framework else "",
        release=release,
        build=_build(release, cuda),
        cuda=cuda,
        cudnn=lock.version_of(*_CUDNN) if lock else cell.stack.cudnn if cell.stack else "",
        python=lock.python if lock else cell.python,
        distribution=facts.distributions.get(cell.os.distribution),
        gpu=gpu,
        driver=driver,
        machine=cell.platform.partition("-")[0],
        platform=cell.platform,
        flavour=cell.flavour.value,
        wheels=lock,
        compat="absent",
    )


def _build(release: FrameworkRelease | None, cuda: str) -> ReleaseBuild | None:
    """The package index's build for this CUDA: the one that is installed.

    A build without CUDA may be from anywhere: its version says `+cpu`.
    """
    found = release.builds_for(cuda) if release else ()
    return next((one for one in found if one.index == PYPI or not cuda), None)
